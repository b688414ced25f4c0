"""A seeded sample of pixels with their features: what the statistics and the report stand on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.features.registry import FeaturePlan
from l4s_ensemble.run.progress import track

if TYPE_CHECKING:
    import xarray as xr

BLOCK_PATCHES = 8
"""Patches of one task. Their features are computed one patch at a time."""

_KEY = 0xFEA7
"""Keeps this room's random numbers apart from other rooms' with the same seed."""


@dataclass(frozen=True)
class Quota:
    """How many pixels of each class to draw from each patch.

    Attributes
    ----------
    landslide, other : int64 array, shape (patch,)
    weight_landslide, weight_other : float
        How many pixels of the whole one drawn pixel stands for.
    """

    landslide: NDArray[np.int64]
    other: NDArray[np.int64]
    weight_landslide: float
    weight_other: float


def share_out(
    landslide_pixels: NDArray[np.int64], patch_pixels: int, rows: int, seed: int
) -> Quota:
    """Share a number of rows out over patches: half landslide where there are enough.

    Every pixel of a class has the same chance.

    Parameters
    ----------
    landslide_pixels : int64 array, shape (patch,)
        Landslide pixels of each patch.
    patch_pixels : int
        Pixels of a patch.
    rows : int
        Pixels wanted; all there are if fewer.
    seed : int

    Raises
    ------
    DataError
        If there is no pixel to draw from.
    """
    rng = np.random.default_rng([seed, _KEY])
    others = patch_pixels - landslide_pixels
    total, rest = int(landslide_pixels.sum()), int(others.sum())
    if total + rest == 0:
        raise DataError("no patch to sample features from", fix="check data.holdout and the masks")
    positives = min(total, max(rows // 2, rows - rest))
    negatives = min(rest, rows - positives)
    draw = rng.multivariate_hypergeometric
    return Quota(
        draw(landslide_pixels, positives, method="marginals"),
        draw(others, negatives, method="marginals"),
        total / positives if positives else 0.0,
        rest / negatives if negatives else 0.0,
    )


@dataclass(frozen=True)
class Task:
    """Some patches of a store, and how many pixels to draw from each.

    Attributes
    ----------
    store : Path
    positions : int64 array, shape (n,)
    landslide, other : int64 array, shape (n,)
    seed : int
    """

    store: Path
    positions: NDArray[np.int64]
    landslide: NDArray[np.int64]
    other: NDArray[np.int64]
    seed: int


@dataclass(frozen=True)
class Rows:
    """Sampled pixels.

    Attributes
    ----------
    values : float32 array, shape (row, feature)
    truth : uint8 array, shape (row,)
    patch : int64 array, shape (row,)
    pixel : int32 array, shape (row,)
        Position in the flattened patch.
    """

    values: NDArray[np.float32]
    truth: NDArray[np.uint8]
    patch: NDArray[np.int64]
    pixel: NDArray[np.int32]


@lru_cache(maxsize=2)
def _opened(store: Path) -> xr.Dataset:
    from l4s_ensemble.data.store import open_store

    return open_store(store)


def rows_of(task: Task, plan: FeaturePlan) -> Rows:
    """Draw the pixels of a task and compute their features.

    The draw depends on the seed and the patch's id only, not on how patches are grouped.
    """
    from l4s_ensemble.data.store import sensor_of, units
    from l4s_ensemble.features.build import compute

    dataset = _opened(task.store)
    sensor = sensor_of(dataset)
    values, truth, patches, pixels = [], [], [], []
    for position, positives, negatives in zip(
        task.positions, task.landslide, task.other, strict=True
    ):
        at = int(position)
        patch = int(dataset["patch"].values[at])
        mask = dataset["mask"].isel(patch=at).values.ravel() > 0
        rng = np.random.default_rng([task.seed, _KEY, patch])
        chosen = np.concatenate(
            [
                rng.choice(np.flatnonzero(mask), int(positives), replace=False),
                rng.choice(np.flatnonzero(~mask), int(negatives), replace=False),
            ]
        )
        chosen.sort()
        picture = compute(units(dataset, slice(at, at + 1))[0], sensor, plan)
        values.append(picture.reshape(len(picture), -1)[:, chosen].T)
        truth.append(mask[chosen].astype(np.uint8))
        patches.append(np.full(len(chosen), patch, np.int64))
        pixels.append(chosen.astype(np.int32))
    return Rows(
        np.concatenate(values),
        np.concatenate(truth),
        np.concatenate(patches),
        np.concatenate(pixels),
    )


def sample(
    store: Path,
    positions: NDArray[np.int64],
    quota: Quota,
    plan: FeaturePlan,
    seed: int,
    jobs: int,
) -> Rows:
    """Draw pixels of many patches in parallel; the result does not depend on `jobs`.

    Parameters
    ----------
    store : Path
        A store of patches.
    positions : int64 array, shape (patch,)
        Positions along ``patch``, aligned with the quota.
    quota : Quota
    plan : FeaturePlan
    seed, jobs : int
    """
    drawn = np.flatnonzero(quota.landslide + quota.other)
    tasks = [
        Task(store, positions[some], quota.landslide[some], quota.other[some], seed)
        for some in (drawn[i : i + BLOCK_PATCHES] for i in range(0, len(drawn), BLOCK_PATCHES))
    ]
    made = _run(tasks, plan, jobs)
    parts = list(track(made, f"features: blocks of {BLOCK_PATCHES} patches", len(tasks)))
    return Rows(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.truth for p in parts]),
        np.concatenate([p.patch for p in parts]),
        np.concatenate([p.pixel for p in parts]),
    )


def _run(tasks: Sequence[Task], plan: FeaturePlan, jobs: int) -> Iterator[Rows]:
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield rows_of(task, plan)
        return
    from joblib import Parallel, delayed

    run = Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="3*n_jobs", batch_size=1)
    yield from run(delayed(rows_of)(task, plan) for task in tasks)
