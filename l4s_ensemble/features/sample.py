"""A seeded sample of pixels with their features, for statistics and the report."""

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
    """How many pixels of each class to draw from each patch."""

    landslide: NDArray[np.int64]  # (patch,)
    other: NDArray[np.int64]  # (patch,)
    weight_landslide: float  # pixels of the whole that a drawn one stands for
    weight_other: float


@dataclass(frozen=True)
class Rows:
    """Sampled pixels."""

    values: NDArray[np.float32]  # (row, feature)
    reference: NDArray[np.uint8]  # (row,): 1 = landslide
    patch: NDArray[np.int64]  # (row,)
    pixel: NDArray[np.int32]  # (row,): position in the flattened patch


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

    Raises
    ------
    DataError
        If there is no pixel to draw from.
    """
    others = patch_pixels - landslide_pixels
    total, rest = int(landslide_pixels.sum()), int(others.sum())
    if total + rest == 0:
        raise DataError("no patch to sample features from", fix="check data.holdout and the masks")
    positives = min(total, max(rows // 2, rows - rest))
    negatives = min(rest, rows - positives)
    draw = np.random.default_rng([seed, _KEY]).multivariate_hypergeometric
    return Quota(
        draw(landslide_pixels, positives, method="marginals"),
        draw(others, negatives, method="marginals"),
        total / positives if positives else 0.0,
        rest / negatives if negatives else 0.0,
    )


def sample(
    source: FeatureSource, positions: NDArray[np.int64], quota: Quota, seed: int, jobs: int
) -> Rows:
    """Draw pixels of patches with masks and compute their features.

    The draw depends on the seed and the patch's id only, not on `jobs`.

    Parameters
    ----------
    positions : int64 array, shape (patch,)
        Positions along ``patch``, aligned with the quota.
    """
    drawn = np.flatnonzero(quota.landslide + quota.other)
    tasks = [
        (source, positions[some], quota.landslide[some], quota.other[some], seed)
        for some in (drawn[i : i + BLOCK_PATCHES] for i in range(0, len(drawn), BLOCK_PATCHES))
    ]
    made = in_processes(_rows_of, tasks, jobs)
    return _joined(list(track(made, f"features: blocks of {BLOCK_PATCHES} patches", len(tasks))))


def _rows_of(
    source: FeatureSource,
    positions: NDArray[np.int64],
    landslide: NDArray[np.int64],
    other: NDArray[np.int64],
    seed: int,
) -> Rows:
    dataset, drawn = source.dataset(), []
    tiles = zip(positions.tolist(), landslide, other, source.each(positions), strict=True)
    for at, positives, negatives, tile in tiles:
        patch = int(dataset["patch"].values[at])
        mask = dataset["mask"].isel(patch=at).values.ravel() > 0
        rng = np.random.default_rng([seed, _KEY, patch])
        parts = ((mask, positives), (~mask, negatives))
        chosen = np.concatenate([rng.choice(np.flatnonzero(m), int(n), False) for m, n in parts])
        chosen.sort()
        values = tile.reshape(len(tile), -1)[:, chosen].T
        ids = np.full(len(chosen), patch, np.int64)
        drawn.append(Rows(values, mask[chosen].astype(np.uint8), ids, chosen.astype(np.int32)))
    return _joined(drawn)


def _joined(parts: list[Rows]) -> Rows:
    return Rows(*(np.concatenate(p) for p in zip(*(vars(r).values() for r in parts), strict=True)))
