"""Fit the boosters of a fold and write them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.model import PixelModel, booster_file
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.files import read_json, write_json, write_text
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

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
_STREAM = 1703
_SECOND = 1 << 20
"""Number of the second view's booster, beyond those of any bag."""


def parameters(
    config: PixelConfig, seed: int, threads: int, expected: Sequence[int] = ()
) -> dict[str, Any]:
    """Return LightGBM's parameters: the same model on every run and for any number of threads.

    Parameters
    ----------
    config : PixelConfig
    seed : int
    threads : int
    expected : sequence of {-1, 0, 1}, optional
        Direction in which a landslide moves each column (`Feature.expected`); only read where
        ``constraints`` asks for physics.
    """
    out: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_child_samples,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.bagging_fraction,
        "bagging_freq": 1 if config.bagging_fraction < 1 else 0,
        "lambda_l2": config.l2,
        "max_bin": config.max_bin,
        "seed": seed,
        "deterministic": True,
        # Else LightGBM times both ways and picks one: not the same on every run.
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }
    if config.constraints == "physics" and any(expected):
        out["monotone_constraints"] = [int(sign) for sign in expected]
        # Forbids no more splits than the order needs; the basic method does, and is no faster.
        out["monotone_constraints_method"] = "intermediate"
    return out


def other_seed(settings: dict[str, Any], number: int) -> dict[str, Any]:
    """Give the parameters of the booster `number` of a bag: other rows and columns, the same bins.

    Number 0 is the booster that is fitted without a bag.
    """
    if number == 0:
        return settings
    drawn = np.random.default_rng([settings["seed"], _STREAM, number]).integers(1, 2**31 - 1, 2)
    return settings | {"bagging_seed": int(drawn[0]), "feature_fraction_seed": int(drawn[1])}


class _RowsOnDisk(lgb.Sequence):  # type: ignore[misc]
    """Some rows of a memory-mapped file, as LightGBM asks for them: only their bins are held."""

    batch_size = 8192

    def __init__(self, rows: Path, at: NDArray[np.int64]) -> None:
        self._rows, self._at = np.load(rows, mmap_mode="r"), at

    def __getitem__(self, index: int | slice | list[int]) -> NDArray[np.float64]:
        return np.asarray(self._rows[self._at[index]], dtype=np.float64)

    def __len__(self) -> int:
        return len(self._at)


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
        """Give the parameters of each booster whose mean logit is the classifier's.

        One booster on all columns learns the colours of its own scene by heart. Of two, the first
        may only follow the directions that physics expects, and the second only reads columns in
        which the level of the scene cancels: what either learnt by heart, the other has not.
        """
        config = self.config
        two = config.views == "two" or (config.views == "auto" and self.relative)
        kept = [i for i, cancels in enumerate(self.relational) if cancels]
        if not two or not kept or len(kept) == len(self.relational):
            return [parameters(config, seed, threads, self.expected)]
        ruled = config.model_copy(update={"constraints": "physics"})
        free = config.model_copy(update={"constraints": "none"})
        second = other_seed(parameters(free, seed, threads), _SECOND)
        return [
            parameters(ruled, seed, threads, self.expected),
            second | {"interaction_constraints": [kept]},
        ]

    def boost(self, ids: NDArray[np.int64], k: int, threads: int) -> list[str]:
        """Fit the boosters of fold `k` on the rows in the tiles `ids`; LightGBM's texts."""
        views = self.views(self.model.seed + k, threads)
        chosen, weight = self.plan.rows_of(ids), self.plan.weights_of(ids)
        data = lgb.Dataset(
            _RowsOnDisk(self.rows, chosen),
            label=self.plan.landslide[chosen],
            # Mean 1: then the regularisation means the same whatever share of pixels was drawn.
            weight=weight / weight.mean(),
            feature_name=list(self.model.features),
            params=views[0],
        )
        return [
            lgb.train(
                other_seed(view, n), data, num_boost_round=self.config.trees
            ).model_to_string()
            for n in range(self.config.seeds)
            for view in views
        ]


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
    at_once = max(1, min(jobs, len(todo), at_most(len(job.plan), len(model.features))))
    tasks = [(job, k, max(1, jobs // at_once)) for k in todo]
    for _ in track(in_processes(fit_fold, tasks, at_once), "pixel: fitting folds", len(todo)):
        pass
    return [read_json(_note(model, k)) for k in range(n)]


def at_most(rows: int, features: int) -> int:
    """How many fits of so many rows go side by side within `MEMORY_BYTES`; at least one."""
    return max(1, int(MEMORY_BYTES // (_PROCESS_BYTES + BYTES_PER_VALUE * rows * features)))


def fit_fold(job: FitJob, k: int, threads: int = 1) -> Mapping[str, Any]:
    """Fit the boosters of fold `k` on its training tiles, and write them.

    Held-out tiles choose nothing about the model that scores them.

    Returns
    -------
    mapping
        ``fold, trained`` (ids), ``rows, positives, prevalence`` (of the weighted rows), ``trees``
        (of one booster), ``seeds``, ``views``, ``seconds_fit``; also written to
        ``fold_<k>.json``.
    """
    started = time.monotonic()
    ids = np.intersect1d(job.folds.train_ids(k), job.plan.tile).astype(np.int64)
    texts = job.boost(ids, k, threads)
    chosen = job.plan.rows_of(ids)
    y = job.plan.landslide[chosen]
    info = {
        "fold": k,
        "trained": ids,
        "rows": len(chosen),
        "positives": int(y.sum()),
        "prevalence": float(np.average(y, weights=job.plan.weights_of(ids))),
        "trees": job.config.trees,
        "seeds": job.config.seeds,
        "views": len(texts) // job.config.seeds,
        "seconds_fit": time.monotonic() - started,
    }
    write_json(_note(job.model, k), info)
    for n, text in reversed(list(enumerate(texts))):
        write_text(job.model.folder / booster_file(k, n), text)
    return info


def _note(model: PixelModel, k: int) -> Path:
    return (model.folder / booster_file(k)).with_suffix(".json")


def _is_fitted(model: PixelModel, k: int) -> bool:
    # Its first booster is written last.
    return _note(model, k).is_file() and (model.folder / booster_file(k)).is_file()
