"""A seeded sample of pixels with their features: what the statistics and the report stand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

BLOCK_PATCHES = 8
"""Patches of one task. Their features are computed one patch at a time."""

_KEY = 0xFEA7
"""Keeps these random numbers apart from others with the same seed."""


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


def rows_of(
    source: FeatureSource,
    positions: NDArray[np.int64],
    landslide: NDArray[np.int64],
    other: NDArray[np.int64],
    seed: int,
) -> Rows:
    """Draw pixels of some patches and compute their features.

    The draw depends on the seed and the patch's id only, not on how patches are grouped.

    Parameters
    ----------
    source : FeatureSource
    positions : int64 array, shape (n,)
        Positions in the store.
    landslide, other : int64 array, shape (n,)
        How many pixels to draw from each.
    seed : int
    """
    dataset, drawn = source.dataset(), []
    for at, positives, negatives in zip(positions.tolist(), landslide, other, strict=True):
        patch = int(dataset["patch"].values[at])
        mask = dataset["mask"].isel(patch=at).values.ravel() > 0
        rng = np.random.default_rng([seed, _KEY, patch])
        chosen = np.concatenate(
            [
                rng.choice(np.flatnonzero(mask), int(positives), replace=False),
                rng.choice(np.flatnonzero(~mask), int(negatives), replace=False),
            ]
        )
        chosen.sort()
        made = source.tiles([at])[0]
        values = made.reshape(len(made), -1)[:, chosen].T
        ids = np.full(len(chosen), patch, np.int64)
        drawn.append(Rows(values, mask[chosen].astype(np.uint8), ids, chosen.astype(np.int32)))
    return _joined(drawn)


def _joined(parts: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.truth for p in parts]),
        np.concatenate([p.patch for p in parts]),
        np.concatenate([p.pixel for p in parts]),
    )


def sample(
    source: FeatureSource, positions: NDArray[np.int64], quota: Quota, seed: int, jobs: int
) -> Rows:
    """Draw pixels of many patches in parallel; the result does not depend on `jobs`.

    Parameters
    ----------
    source : FeatureSource
    positions : int64 array, shape (patch,)
        Positions along ``patch``, aligned with the quota.
    quota : Quota
    seed, jobs : int
    """
    drawn = np.flatnonzero(quota.landslide + quota.other)
    tasks = [
        (source, positions[some], quota.landslide[some], quota.other[some], seed)
        for some in (drawn[i : i + BLOCK_PATCHES] for i in range(0, len(drawn), BLOCK_PATCHES))
    ]
    made = in_processes(rows_of, tasks, jobs)
    return _joined(list(track(made, f"features: blocks of {BLOCK_PATCHES} patches", len(tasks))))
