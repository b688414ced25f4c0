"""Search for settings of the boosters, over the run's spatial folds.

A trial fits every fold on the rows that the pixel stage sampled, and scores the rows of the tiles
that the fold holds out; each row counts as many pixels as it stands for, so that F1 is that of
whole tiles. The search is Optuna's and stands in a file: the same command goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import Config, PixelConfig
from l4s_ensemble.data.store import STORE, open_store
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.features.registry import plan_from_file
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.fit import FitJob, at_most, fit_job
from l4s_ensemble.pixel.model import FEATURES_FILE, PixelModel
from l4s_ensemble.pixel.sampling import plan_pixels
from l4s_ensemble.pixel.train import tiles_to_fit
from l4s_ensemble.run.execute import locked, read_manifest
from l4s_ensemble.run.files import write_text
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import load_folds

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("l4s_ensemble")

OPTIMISTIC = (
    "these scores are optimistic: the same tiles chose the settings. Judge them on tiles set aside "
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
        ``trials`` (best first: ``number, own, f1, settings``), ``tiles``,
        ``preset``.

    Raises
    ------
    ConfigError
        If Optuna is not installed, or no trial was finished.
    RunError
        If another process works in the run folder.
    """
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = run / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(run):
        job = _job(run, config)
        rng = np.random.default_rng([config.seed, _STREAM])
        tiles = job.plan.tile[rng.random(len(job.plan.tile)) < share]
        mark = read_manifest(run / "pixel")["fingerprint"][:12]
        study = optuna.create_study(
            study_name=f"pixel-{mark}-{share:g}",
            storage=f"sqlite:///{(folder / 'pixel.db').resolve()}",
            direction="maximize",
            load_if_exists=True,
        )
        done = len(_finished(study))
        study.sampler = optuna.samplers.TPESampler(seed=config.seed + done)
        if not done:
            own = {name: getattr(config.pixel, name) for name in SPACE}
            study.enqueue_trial(
                {n: min(max(own[n], low), high) for n, (low, high) in SPACE.items()}
            )

        def f1_of(trial: optuna.Trial) -> float:
            f1 = score(job, _suggested(trial), tiles, jobs)
            log.info("tune: trial %d, F1 %.4f", trial.number + 1, f1)
            return f1

        if done < trials:
            study.optimize(f1_of, n_trials=trials - done, timeout=timeout_s)
        found = [
            {
                "number": trial.number + 1,
                "own": "fixed_params" in trial.system_attrs,
                "f1": trial.value,
                "settings": dict(trial.params),
            }
            for trial in sorted(_finished(study), key=lambda t: -(t.value or 0.0))
        ]
    if not found:
        raise ConfigError("no trial was finished", where="--timeout", fix="give it more time")
    preset = out if out is not None else folder / "pixel.yaml"
    _write_preset(preset, config, found[0], len(tiles))
    return {"trials": found, "tiles": len(tiles), "preset": str(preset)}


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


def score(
    job: FitJob, settings: Mapping[str, Any], tiles: NDArray[np.int64], jobs: int = 1
) -> float:
    """Fit all folds with other settings on some tiles; F1 of each fold's held-out ones.

    It is the best over thresholds, pooled over folds.
    """
    from sklearn.metrics import precision_recall_curve

    job = replace(job, config=PixelConfig.model_validate({**job.config.model_dump(), **settings}))
    folds = range(job.folds.n_folds)
    at_once = max(1, min(jobs, len(folds), at_most(len(job.plan), len(job.model.features))))
    tasks = [(job, k, tiles, max(1, jobs // at_once)) for k in folds]
    parts = list(in_processes(_scored_fold, tasks, at_once))
    y, p, weight = (np.concatenate(a) for a in zip(*parts, strict=True))
    precision, recall, _ = precision_recall_curve(y, p, sample_weight=weight)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())


def _scored_fold(
    job: FitJob, k: int, tiles: NDArray[np.int64], threads: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Class, probability and weight of the rows in the tiles that fold `k` holds out."""
    import lightgbm as lgb

    texts = job.boost(np.intersect1d(job.folds.train_ids(k), tiles), k, threads)
    at = job.plan.rows_of(np.intersect1d(job.folds.held_ids(k), tiles))
    rows = np.load(job.rows, mmap_mode="r")[at]
    logit = [
        lgb.Booster(model_str=text).predict(rows, raw_score=True, num_threads=threads)
        for text in texts
    ]
    p = np.asarray(sigmoid(np.mean(logit, axis=0)), dtype=np.float64)
    return job.plan.landslide[at], p, job.plan.weights_of(job.plan.tile)[at]


def _job(run: Path, config: Config) -> FitJob:
    """Read what the pixel stage of a run was fitted on."""
    folds, folder = load_folds(run / "scenes"), run / "pixel"
    ids, masks = tiles_to_fit(open_store(run / "data" / "train" / STORE), folds)
    plan = plan_pixels(ids, masks, config.pixel, config.seed)
    features = plan_from_file(folder / FEATURES_FILE)
    model = PixelModel.load(folder)
    return fit_job(folds, plan, folder / "rows.npy", model, config.pixel, features)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


def _suggested(trial: optuna.Trial) -> dict[str, Any]:
    return {
        name: trial.suggest_int(name, int(low), int(high), log=True)
        if isinstance(low, int)
        else trial.suggest_float(name, low, high, log=True)
        for name, (low, high) in SPACE.items()
    }


def _write_preset(path: Path, config: Config, best: Mapping[str, Any], tiles: int) -> None:
    import yaml

    found = {**config.pixel.model_dump(), **best["settings"]}
    values = config.model_copy(
        update={
            "name": path.stem,
            "pixel": PixelConfig.model_validate(found),
            "data": config.data.model_copy(update={"root": None}),
        }
    ).model_dump(mode="json", exclude_defaults=True)
    head = (
        f"# Found by `l4s-ensemble tune pixel`: F1 {best['f1']:.4f} out of fold on {tiles} tiles.\n"
        "# Optimistic: the same tiles chose it. Judge it on tiles set aside.\n"
    )
    write_text(path, head + yaml.safe_dump(values, sort_keys=False))
