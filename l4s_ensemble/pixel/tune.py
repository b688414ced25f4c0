"""Search for settings of the pixel classifier, over the run's spatial folds.

A trial fits every fold on the rows that the pixel stage sampled, and scores the rows of the tiles
that the fold holds out; each row counts as many pixels as it stands for, so that F1 is that of
whole tiles. The search is Optuna's and stands in a file: the same command continues it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import precision_recall_curve

from l4s_ensemble.config import Config, PixelConfig
from l4s_ensemble.data.store import STORE, open_store
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.fit import at_most, classifier_of, for_fold, tiles_to_fit
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan, plan_pixels
from l4s_ensemble.run.execute import locked, read_manifest
from l4s_ensemble.run.files import write_text
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds, load_folds

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("l4s_ensemble")

OPTIMISTIC = (
    "these scores are optimistic: the same tiles chose the settings. Judge them on tiles held out "
    "(data.holdout)"
)

SPACE: dict[str, tuple[float, float]] = {
    "learning_rate": (0.02, 0.2),
    "trees": (60, 600),
    "leaves": (15, 255),
    "min_child_samples": (20, 1000),
    "feature_fraction": (0.2, 1.0),
    "l2": (0.1, 100.0),
}
"""What is varied and between which values, on a logarithmic scale."""

_STREAM = 1706


def held_out_f1(
    classifier: PixelClassifier,
    rows: Path,
    pixels: PixelPlan,
    folds: Folds,
    tiles: NDArray[np.int64],
    jobs: int = 1,
) -> float:
    """Best F1 over thresholds of the tiles that each fold holds out, pooled over the folds.

    Classifiers are fitted and scored on the tiles with ids `tiles` only; for the others see
    `l4s_ensemble.pixel.fit.fit_folds`.
    """
    at_once = max(1, min(jobs, folds.n_folds, at_most(rows)))
    tasks = []
    for k in range(folds.n_folds):
        parts = (np.intersect1d(ids, tiles) for ids in (folds.train_ids(k), folds.held_out_ids(k)))
        tasks.append((for_fold(classifier, k, max(1, jobs // at_once)), rows, pixels, *parts))
    found = in_processes(_held_out, tasks, at_once)
    y, p, weight = (np.concatenate(part) for part in zip(*found, strict=True))
    precision, recall, _ = precision_recall_curve(y, p, sample_weight=weight)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())


def _held_out(
    classifier: PixelClassifier,
    rows: Path,
    pixels: PixelPlan,
    train: NDArray[np.int64],
    held: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64]]:
    """Class, probability and weight of the rows in held-out tiles."""
    x, y, own = np.load(rows, mmap_mode="r"), pixels.landslide, np.isin(pixels.patch, held)
    classifier.fit(x, y, pixels.weights_of(train))
    p = sigmoid(classifier.predict_logit(x[own]))
    return y[own], p, pixels.weights_of(pixels.tile)[own]


def tune(
    run: Path,
    config: Config,
    *,
    trials: int,
    timeout_s: float | None = None,
    share: float = 0.25,
    out: Path | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Search until so many trials are finished, and write the best as a preset.

    Parameters
    ----------
    run : Path
        A run folder whose pixel stage is up to date. Gets ``tune/pixel.db``.
    config : Config
        What the search does not vary; its own settings, brought into `SPACE`, are the first trial.
    trials : int
        Finished trials in all, those of earlier processes included.
    timeout_s : float, optional
        No trial is begun later than this.
    share : float
        Of the tiles, in (0, 1].
    out : Path, optional
        The preset to write; ``tune/pixel.yaml`` without it.
    jobs : int

    Returns
    -------
    dict
        ``trials`` (best first: ``number, own, f1, settings``), ``tiles``, ``preset``.

    Raises
    ------
    ConfigError
        If Optuna is not installed, or no trial was finished.
    RunError
        If another process works in the run folder.
    """
    optuna = require_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = run / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(run):
        folds, model = load_folds(run / "scenes"), PixelModel.load(run / "pixel")
        ids, masks = tiles_to_fit(open_store(run / "data" / "train" / STORE), folds)
        pixels = plan_pixels(ids, masks, config.pixel, config.seed)
        tiles = ids[np.random.default_rng([config.seed, _STREAM]).random(len(ids)) < share]
        own = classifier_of(config.pixel, model.plan, model.sensor, model.seed)
        data = (run / "pixel" / "rows.npy", pixels, folds, tiles, jobs)
        study = optuna.create_study(
            study_name=f"pixel-{read_manifest(run / 'pixel')['fingerprint'][:12]}-{share:g}",
            storage=f"sqlite:///{(folder / 'pixel.db').resolve()}",
            direction="maximize",
            load_if_exists=True,
        )
        done = len(_finished(study))
        study.sampler = optuna.samplers.TPESampler(seed=config.seed + done)
        if not done:
            first = ((name, getattr(own, name), *SPACE[name]) for name in SPACE)
            study.enqueue_trial({n: min(max(value, low), high) for n, value, low, high in first})
        if done < trials:
            study.optimize(
                lambda trial: held_out_f1(clone(own).set_params(**_suggested(trial)), *data),
                n_trials=trials - done,
                timeout=timeout_s,
                callbacks=[lambda _, t: log.info("tune: trial %d, F1 %.4f", t.number + 1, t.value)],
            )
        found = _finished(study)
    if not found:
        raise ConfigError("no trial was finished", where="--timeout", fix="give it more time")
    preset = folder / "pixel.yaml" if out is None else out
    _write_preset(preset, config, found[0], len(tiles))
    return {"trials": found, "tiles": len(tiles), "preset": str(preset)}


def require_optuna() -> Any:
    """Import Optuna; ConfigError if it is not installed."""
    try:
        import optuna
    except ImportError:
        fix = "pip install 'l4s_ensemble[tune]'"
        raise ConfigError("a search needs Optuna, which is not installed", fix=fix) from None
    return optuna


def _finished(study: optuna.Study) -> list[dict[str, Any]]:
    """Finished trials, the best first."""
    found = [
        {
            "number": trial.number + 1,
            "own": "fixed_params" in trial.system_attrs,
            "f1": trial.value or 0.0,
            "settings": dict(trial.params),
        }
        for trial in study.trials
        if trial.state.name == "COMPLETE"
    ]
    return sorted(found, key=lambda one: -one["f1"])


def _suggested(trial: optuna.Trial) -> dict[str, Any]:
    whole, real = trial.suggest_int, trial.suggest_float
    asks: dict[str, Any] = {n: whole if isinstance(SPACE[n][0], int) else real for n in SPACE}
    return {name: asks[name](name, *SPACE[name], log=True) for name in SPACE}


def _write_preset(path: Path, config: Config, best: Mapping[str, Any], tiles: int) -> None:
    changed = {
        "name": path.stem,
        "pixel": PixelConfig.model_validate(config.pixel.model_dump() | best["settings"]),
        "data": config.data.model_copy(update={"root": None}),
    }
    values = config.model_copy(update=changed).model_dump(mode="json", exclude_defaults=True)
    head = (
        f"# Found by `l4s-ensemble tune pixel`: F1 {best['f1']:.4f} out of fold on {tiles} tiles.\n"
        "# Optimistic: the same tiles chose it. Judge it on tiles held out.\n"
    )
    write_text(path, head + yaml.safe_dump(values, sort_keys=False))
