"""Baseline of two thresholds: low NDVI and steep slope.

A pixel is predicted landslide with an NDVI below the first and a slope from the second on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.store import (
    BLOCK_TILES,
    open_store,
    positions_of,
    sensor_of,
    tasks_of,
    units,
)
from l4s_ensemble.features.indices import contrast
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds

BANDS = ("B8", "B4", "slope")
NDVI_STEP, NDVI_BINS = 0.025, 80
"""Candidates of the threshold: from -1 to 1."""
SLOPE_STEP_DEG, SLOPE_BINS = 1.0, 60
"""Candidates of the threshold: from 0 degrees."""

Histogram = NDArray[np.uint16]
"""Pixels by tile, class (other, landslide), bin of NDVI and bin of slope."""


def ndvi_slope(
    store: Path, folds: Folds, ids: NDArray[np.int64], *, jobs: int = 1
) -> dict[str, Any]:
    """Choose both thresholds on the training tiles of each fold and score its held-out tiles.

    `store` is a ``patches.zarr`` with masks, `ids` the tiles that are fitted on and scored, shape
    (tile,). The fields are those of `l4s_ensemble.pixel.summary.Rule`.
    """
    known = sensor_of(open_store(store)).band_names
    if lacks := [name for name in BANDS if name not in known]:
        return {"lacks": lacks, "folds": [], "f1": None}
    tasks = [(store, some) for some in tasks_of(ids)]
    tiles = np.concatenate(list(in_processes(histograms_of, tasks, jobs)))
    fold, counted, rows = folds.of(ids, "fold"), np.zeros((len(ids), 4), np.int64), []
    for k in range(folds.n_folds):
        held_out = fold == k
        below, start, f1_train = best_thresholds(tiles[np.isin(ids, folds.train_ids(k))])
        counted[held_out] = count_predicted(tiles[held_out], below, start)
        rows.append(
            {
                "fold": k,
                "ndvi_below": round(-1 + below * NDVI_STEP, 3),
                "slope_from_deg": start * SLOPE_STEP_DEG,
                "f1_train": f1_train,
                "f1": float(f1_pooled(Counts(*counted[held_out].T).pooled())),
            }
        )
    return {"lacks": [], "folds": rows, "f1": float(f1_pooled(Counts(*counted.T).pooled()))}


def histograms_of(store: Path, ids: NDArray[np.int64]) -> Histogram:
    """Count the pixels of some tiles."""
    dataset = open_store(store)
    at = [sensor_of(dataset).band_names.index(name) for name in BANDS]
    positions, out = positions_of(dataset, ids), []
    shape = (2, NDVI_BINS, SLOPE_BINS)
    for start in range(0, len(ids), BLOCK_TILES):
        some = positions[start : start + BLOCK_TILES]
        near, red, slope = np.moveaxis(units(dataset, some)[:, at], 1, 0)
        ndvi = contrast(np.maximum(near, 0), np.maximum(red, 0))
        landslide = (dataset["mask"].isel(patch=some).values == 1).astype(np.int64)
        bins = (
            landslide,
            _bin((ndvi + 1) / NDVI_STEP, NDVI_BINS),
            _bin(slope / SLOPE_STEP_DEG, SLOPE_BINS),
        )
        cell = np.ravel_multi_index(bins, shape).reshape(len(some), -1)
        out += [np.bincount(one, minlength=np.prod(shape)).astype(np.uint16) for one in cell]
    return np.stack(out).reshape(-1, *shape)


def best_thresholds(tiles: Histogram) -> tuple[int, int, float]:
    """Choose the pair of thresholds with the highest pooled F1.

    Returns
    -------
    below, start : int
        Bins of NDVI lower than the first, and of slope from the second on, are predicted.
    f1 : float
    """
    other, landslide = tiles.sum(axis=0, dtype=np.int64)
    tp, fp = _predicted(landslide), _predicted(other)
    f1 = 2 * tp / np.maximum(tp + fp + landslide.sum(), 1)
    below, start = np.unravel_index(int(f1.argmax()), f1.shape)
    return int(below), int(start), float(f1.max())


def count_predicted(tiles: Histogram, below: int, start: int) -> NDArray[np.int64]:
    """Count each tile at a pair of thresholds, shape (tile, 4): TP, FP, FN, TN."""
    other, landslide = tiles.sum(axis=(2, 3), dtype=np.int64).T
    fp, tp = tiles[:, :, :below, start:].sum(axis=(2, 3), dtype=np.int64).T
    return np.stack([tp, fp, landslide - tp, other - fp], axis=1)


def _predicted(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels predicted by every pair of thresholds, shape (NDVI bin + 1, slope bin)."""
    steep = cells[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.concatenate([np.zeros_like(steep[:1]), steep.cumsum(axis=0)])


def _bin(value: NDArray[np.float32], bins: int) -> NDArray[np.int64]:
    return np.clip(np.floor(value), 0, bins - 1).astype(np.int64)
