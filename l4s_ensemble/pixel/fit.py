"""Fit the booster of a fold: choose its rows, find how many trees, fit, write."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.boost import boost, dataset
from l4s_ensemble.pixel.mining import mine
from l4s_ensemble.pixel.model import PixelModel, booster_file
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.pixel.settings import views
from l4s_ensemble.run.files import read_json, write_json, write_text
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.inner import watched

if TYPE_CHECKING:
    from l4s_ensemble.features.registry import FeaturePlan
    from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

MEMORY_BYTES = 3 * 1024**3
"""What all fits side by side may hold; with the process that waits for them under 4 GiB."""

BYTES_PER_VALUE = 5
"""Held for each row and column at the peak of a fit: measured, bins twice and a sample of the
values, 4.5 bytes."""

_PROCESS_BYTES = 120 * 1024**2
_STREAM = 1705
_WATCH = {"log_loss": "binary_logloss", "average_precision": "average_precision"}


@dataclass(frozen=True)
class FitJob:
    """What the fit of every fold reads.

    Attributes
    ----------
    folds : Folds
    plan : PixelPlan
    rows : Path
        The features of the planned pixels, as `write_sampled_rows` left them.
    model : PixelModel
        Its folder gets the boosters.
    config : PixelConfig
    expected : tuple of {-1, 0, 1}
        Direction in which a landslide moves each column; read where ``constraints`` asks for it.
    relational : tuple of bool
        Of each column, whether the level of the scene cancels; read where there are two views.
    relative : bool
        Whether the levels of the sensor are relative.
    """

    folds: Folds
    plan: PixelPlan
    rows: Path
    model: PixelModel
    config: PixelConfig
    expected: tuple[int, ...] = ()
    relational: tuple[bool, ...] = ()
    relative: bool = False

    def views(self, seed: int, threads: int) -> list[dict[str, Any]]:
        """Parameters of each booster of a fold; see `l4s_ensemble.pixel.settings.views`."""
        return views(self.config, seed, threads, self.expected, self.relational, self.relative)


def fit_job(
    folds: Folds,
    plan: PixelPlan,
    rows: Path,
    model: PixelModel,
    config: PixelConfig,
    features: FeaturePlan,
) -> FitJob:
    """Make the job of a plan of features: what physics knows of each column comes with it."""
    return FitJob(
        folds, plan, rows, model, config,
        expected=tuple(f.expected for f in features.features),
        relational=tuple(f.relational for f in features.features),
        relative=model.sensor.level == "relative",
    )  # fmt: skip


@dataclass(frozen=True)
class _Sample:
    """Rows that a fold learns from: their plan, and where each stands in the file."""

    plan: PixelPlan
    at: NDArray[np.int64] | None = None

    def data(
        self, job: FitJob, ids: NDArray[np.int64], settings: dict[str, Any],
        reference: lgb.Dataset | None = None,
    ) -> lgb.Dataset:  # fmt: skip
        """Bin the rows in the tiles `ids`."""
        chosen = self.plan.rows_of(ids)
        at = chosen if self.at is None else self.at[chosen]
        return dataset(
            job.rows, at, self.plan.landslide[chosen], self.plan.weights_of(ids),
            job.model.features, settings, reference,
        )  # fmt: skip


def fit_folds(job: FitJob, jobs: int) -> list[Mapping[str, Any]]:
    """Fit all folds, side by side as far as memory allows.

    A process a fold with few threads is much faster than one fold after the other with many:
    threads of one booster wait for each other several times a leaf.

    Returns
    -------
    list of mapping
        What `fit_fold` gives, fold by fold.
    """
    model, n = job.model, job.folds.n_folds
    todo = [k for k in range(n) if not _is_fitted(model, k)]
    if len(todo) < n:
        log.info("pixel: %d of %d folds fitted already", n - len(todo), n)
    # Of a pool with look-alikes a fold learns from a part.
    positives = int(job.plan.landslide.sum())
    rows = min(len(job.plan), round((1 + job.config.negatives_per_positive) * positives))
    at_once = max(1, min(jobs, len(todo), at_most(rows, len(model.features))))
    tasks = [(job, k, max(1, jobs // at_once)) for k in todo]
    for _ in track(in_processes(fit_fold, tasks, at_once), "pixel: fitting folds", len(todo)):
        pass
    return [read_json(_note(model, k)) for k in range(n)]


def at_most(rows: int, features: int) -> int:
    """How many fits of so many rows go side by side within `MEMORY_BYTES`; at least one."""
    return max(1, int(MEMORY_BYTES // (_PROCESS_BYTES + BYTES_PER_VALUE * rows * features)))


def fit_fold(job: FitJob, k: int, threads: int = 1) -> Mapping[str, Any]:
    """Fit the booster of fold `k` and write ``fold_<k>.txt``.

    Returns
    -------
    mapping
        As `booster_text` gives it; also written to ``fold_<k>.json``.
    """
    text, info = booster_text(job, k, threads)
    write_json(_note(job.model, k), info)
    write_text(job.model.folder / booster_file(k), text)
    return info


def booster_text(job: FitJob, k: int, threads: int = 1) -> tuple[str, Mapping[str, Any]]:
    """Fit the booster of fold `k` on those of its training tiles that the plan was offered.

    Held-out tiles choose nothing about the model that scores them. The number of trees is fixed,
    or found on an inner block of the training tiles and then used, as it is, for a fit on all of
    them. (A seventh more tiles would bear a few more trees; too few cost less than too many, and
    no rule for the difference has been shown to hold.)

    Returns
    -------
    text : str
        LightGBM's.
    info : mapping
        ``fold, trained`` (ids), ``rows, positives, prevalence`` (of the weighted rows), ``trees``
        (of one booster), ``seeds``, ``views``, ``early_stop`` and ``mined`` (what was found,
        or None), ``seconds_fit``.
    """
    started = time.monotonic()
    config, seed = job.config, job.model.seed + k
    ids = np.intersect1d(job.folds.train_ids(k), job.plan.tile).astype(np.int64)
    each = job.views(seed, threads)
    settings = each[0]
    sample, mined = _Sample(job.plan), None
    if config.hard_share > 0:
        found = mine(
            job.folds, ids, job.plan, job.rows, job.model.features, config, job.expected, seed,
            threads,
        )  # fmt: skip
        sample, mined = _Sample(found.plan, found.at), found.summary
    stop = _early_stop(job, k, sample, ids, settings) if config.early_stop_rounds else None
    trees = config.trees if stop is None else int(stop["trees"])
    text = boost(sample.data(job, ids, settings), each, trees, config.seeds)
    chosen = sample.plan.rows_of(ids)
    y = sample.plan.landslide[chosen]
    info = {
        "fold": k,
        "trained": ids,
        "rows": len(chosen),
        "positives": int(y.sum()),
        "prevalence": float(np.average(y, weights=sample.plan.weights_of(ids))),
        "trees": trees,
        "seeds": config.seeds,
        "views": len(each),
        "early_stop": stop,
        "mined": mined,
        "seconds_fit": time.monotonic() - started,
    }
    return text, info


def _early_stop(
    job: FitJob, k: int, sample: _Sample, ids: NDArray[np.int64], settings: dict[str, Any]
) -> dict[str, Any] | None:
    """Find the number of trees on an inner block; None where the tiles are too few for one."""
    rng = np.random.default_rng([settings["seed"], _STREAM])
    inner, aside = watched(job.folds, ids, rng)
    for part in (inner, aside):
        y = sample.plan.landslide[sample.plan.rows_of(part)]
        if not 0 < int(y.sum()) < len(y):
            log.warning(
                "pixel fold %d: too few blocks to set one aside for early stopping; %d trees", k,
                job.config.trees,
            )  # fmt: skip
            return None
    settings = {**settings, "metric": _WATCH[job.config.early_stop_on]}
    data = sample.data(job, inner, settings)
    history: dict[str, dict[str, list[float]]] = {}
    booster = lgb.train(
        settings,
        data,
        num_boost_round=job.config.trees,
        valid_sets=[sample.data(job, aside, settings, data)],
        valid_names=["aside"],
        callbacks=[
            lgb.early_stopping(job.config.early_stop_rounds, verbose=False),
            lgb.record_evaluation(history),
        ],
    )
    (score,) = history["aside"].values()
    best = max(1, booster.best_iteration)
    return {
        "trees": best,
        "tried": len(score),
        "watched_tiles": len(aside),
        "inner_tiles": len(inner),
        "on": job.config.early_stop_on,
        "best": score[best - 1],
    }


def _note(model: PixelModel, k: int) -> Path:
    return (model.folder / booster_file(k)).with_suffix(".json")


def _is_fitted(model: PixelModel, k: int) -> bool:
    # The text is written last.
    return _note(model, k).is_file() and (model.folder / booster_file(k)).is_file()
