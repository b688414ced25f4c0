"""Optuna behind a few words: what is varied, one step, what was found, going on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.metrics.histogram import ScoreHistogram

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Span:
    """Values of a setting that are tried: from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


SPACE: dict[str, Span] = {
    "learning_rate": Span(0.02, 0.2, log=True),
    "trees": Span(60, 600, log=True, whole=True),
    "leaves": Span(15, 255, log=True, whole=True),
    "min_child_samples": Span(20, 1000, log=True, whole=True),
    "feature_fraction": Span(0.2, 1.0),
    "bagging_fraction": Span(0.5, 1.0),
    "l2": Span(0.1, 100.0, log=True),
    "max_bin": Span(63, 255, log=True, whole=True),
}
"""What is varied."""

STARTUP_TRIALS = 10
"""Trials at random before the search learns from them."""

_DIGITS = 3
_STREAM = 1707
_OWN = "own"


def require_optuna() -> None:
    """Refuse to go on without Optuna.

    Raises
    ------
    ConfigError
        If it cannot be imported.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "a search needs Optuna, which is not installed",
            fix="pip install 'l4s_ensemble[tune]'",
        ) from None


class Search:
    """A study in a journal file.

    The n-th trial is drawn by a generator of its own from the trials that are finished, so that a
    search that was killed draws what it would have drawn.

    Parameters
    ----------
    journal : Path
        Optuna's journal; made if it is not there. No other process may use it.
    name : str
        Of the study. A journal holds several.
    config : PixelConfig
        Its settings are the first trial.
    seed : int
    """

    def __init__(self, journal: Path, name: str, config: PixelConfig, seed: int) -> None:
        require_optuna()
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        _mend(journal)
        self.name = name
        self._seed = seed
        self._space = space_around(config)
        self._own = {n: _inside(getattr(config, n), span) for n, span in self._space.items()}
        self._study = optuna.create_study(
            study_name=name,
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
            direction="maximize",
            load_if_exists=True,
        )
        # A trial that was under way when its process was killed is tried again.
        for trial in self._study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def finished(self) -> int:
        """Trials that came to an end, those given up included."""
        return len(self._finished())

    def step(
        self,
        folds_of: Callable[[Mapping[str, Any]], Iterable[ScoreHistogram]],
        *,
        prune: bool = False,
    ) -> float | None:
        """Try the next settings.

        Parameters
        ----------
        folds_of : callable
            Takes settings, gives the histogram of each fold.
        prune : bool
            Give up below the median of earlier trials at the same fold.

        Returns
        -------
        float or None
            Best F1 pooled over the folds; None if the trial was given up.
        """
        import optuna
        from optuna.trial import TrialState

        study, done = self._study, self.finished()
        draw = np.random.default_rng([self._seed, _STREAM, done])
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, seed=int(draw.integers(2**31))
        )
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
        if done == 0 and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial(self._own, user_attrs={_OWN: True})
        trial = study.ask()
        started = time.monotonic()
        pooled = ScoreHistogram.empty()
        try:
            for k, part in enumerate(folds_of(self._suggest(trial))):
                pooled.positive += part.positive
                pooled.negative += part.negative
                trial.report(pooled.best().f1, k)
                if prune and trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    return None
        except Exception:
            study.tell(trial, state=TrialState.FAIL)
            raise
        best = pooled.best()
        trial.set_user_attr("average_precision", pooled.average_precision())
        trial.set_user_attr("threshold", best.value)
        trial.set_user_attr("seconds", time.monotonic() - started)
        study.tell(trial, best.f1)
        return best.f1

    def ranked(self) -> list[dict[str, Any]]:
        """Give the whole trials, best F1 first, of equal ones the best average precision.

        Returns
        -------
        list of dict
            ``number`` (among the finished, from 1), ``own``, ``f1, average_precision, threshold,
            seconds, settings``.
        """
        rows = [
            {
                "number": number,
                _OWN: bool(trial.user_attrs.get(_OWN)),
                "f1": trial.value,
                **{n: trial.user_attrs[n] for n in ("average_precision", "threshold", "seconds")},
                "settings": {
                    name: _rounded(trial.params[name], span) for name, span in self._space.items()
                },
            }
            for number, trial in enumerate(self._finished(), start=1)
            if trial.value is not None and "seconds" in trial.user_attrs
        ]
        return sorted(rows, key=lambda r: (-round(r["f1"], 4), -r["average_precision"]))

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        from optuna.trial import TrialState

        return self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))

    def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, span in self._space.items():
            value: float
            if span.whole:
                value = trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
            else:
                value = trial.suggest_float(name, span.low, span.high, log=span.log)
            made[name] = _rounded(value, span)
        return made


def space_around(config: PixelConfig) -> dict[str, Span]:
    """Give the space to search, widened where the config's own settings lie outside of it."""
    out = {}
    for name, span in SPACE.items():
        own = getattr(config, name)
        low = min(span.low, own) if own > 0 else span.low
        out[name] = Span(low, max(span.high, own), span.log, span.whole)
    return out


def _inside(value: float, span: Span) -> float:
    """Zero has no place on a logarithmic scale: the lowest value stands for it."""
    return max(value, span.low)


def _rounded(value: float, span: Span) -> float:
    """What is tried is what a preset can say in a few digits."""
    return int(value) if span.whole else float(f"{value:.{_DIGITS}g}")


def _mend(journal: Path) -> None:
    """Remove what a killed process left: its lock, and half of a last line."""
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if journal.is_file():
        whole = journal.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            with journal.open("r+b") as file:
                file.truncate(end)
