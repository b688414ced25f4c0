"""What two cuts are worth: bare by its NDVI and steep by its slope, the oldest rule there is.

The summary's ``rule`` is a dict. Where the sensor lacks a band it holds ``lacks`` (their names)
alone; else ``lacks`` is empty and there are::

    folds               list of {fold, ndvi_below, slope_from_deg, f1_train, f1}
    f1                  out of fold, pooled over the tiles
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.scored import BLOCK_TILES, tasks_of
from l4s_ensemble.features.indices import contrast
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.run.tasks import in_processes

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

BANDS = ("B8", "B4", "slope")
NDVI_STEP, NDVI_BINS = 0.025, 80
"""Candidates of the cut: from -1 to 1."""
SLOPE_STEP_DEG, SLOPE_BINS = 1.0, 60
"""Candidates of the cut: from 0 degrees."""

Histogram = NDArray[np.uint16]
"""Pixels of a tile by class (other, landslide), bin of NDVI and bin of slope."""


def ndvi_slope(
    store: Path, folds: Folds, ids: NDArray[np.int64], *, jobs: int = 1
) -> dict[str, Any]:
    """Choose both cuts on the training tiles of each fold and score them on its held tiles.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    folds : Folds
    ids : int64 array, shape (tile,)
        Tiles that are fitted on and scored out of fold.

    Returns
    -------
    dict
        See the module.
    """
    from l4s_ensemble.data.store import open_store, sensor_of

    known = sensor_of(open_store(store)).band_names
    lacks = [name for name in BANDS if name not in known]
    if lacks:
        return {"lacks": lacks}
    tasks = [(store, some) for some in tasks_of(ids)]
    tiles = np.concatenate(list(in_processes(histograms_of, tasks, jobs)))
    fold = folds.of(ids, "fold")
    counted = np.zeros((len(ids), 4), np.int64)
    rows = []
    for k in range(folds.n_folds):
        train, held = np.isin(ids, folds.train_ids(k)), fold == k
        below, above, f1_train = best_cuts(tiles[train])
        counted[held] = count_called(tiles[held], below, above)
        rows.append(
            {
                "fold": k,
                "ndvi_below": round(-1 + below * NDVI_STEP, 3),
                "slope_from_deg": above * SLOPE_STEP_DEG,
                "f1_train": f1_train,
                "f1": float(f1_pooled(Counts(*counted[held].T).pooled())),
            }
        )
    return {"lacks": [], "folds": rows, "f1": float(f1_pooled(Counts(*counted.T).pooled()))}


def histograms_of(store: Path, ids: NDArray[np.int64]) -> Histogram:
    """Count the pixels of some tiles, shape (tile, class, NDVI, slope)."""
    from l4s_ensemble.data.store import open_store, positions_of, sensor_of, units

    dataset = open_store(store)
    names = sensor_of(dataset).band_names
    at = [names.index(name) for name in BANDS]
    positions = positions_of(dataset, ids)
    cells = 2 * NDVI_BINS * SLOPE_BINS
    out = np.zeros((len(ids), cells), np.uint16)
    for start in range(0, len(ids), BLOCK_TILES):
        some = positions[start : start + BLOCK_TILES]
        near, red, slope = np.moveaxis(units(dataset, some)[:, at], 1, 0)
        ndvi = contrast(np.maximum(near, 0), np.maximum(red, 0))
        cell = _bin((ndvi + 1) / NDVI_STEP, NDVI_BINS) * SLOPE_BINS
        cell += _bin(slope / SLOPE_STEP_DEG, SLOPE_BINS)
        cell += NDVI_BINS * SLOPE_BINS * (dataset["mask"].isel(patch=some).values == 1)
        for i, one in enumerate(cell.reshape(len(some), -1), start=start):
            out[i] = np.bincount(one, minlength=cells)
    return out.reshape(len(ids), 2, NDVI_BINS, SLOPE_BINS)


def best_cuts(tiles: Histogram) -> tuple[int, int, float]:
    """Choose the pair of cuts with the highest pooled F1.

    Returns
    -------
    below, above : int
        Pixels with a bin of NDVI lower than the first and a bin of slope from the second on are
        called.
    f1 : float
    """
    other, landslide = tiles.sum(axis=0, dtype=np.int64)
    tp, fp = _called(landslide), _called(other)
    f1 = 2 * tp / np.maximum(tp + fp + landslide.sum(), 1)
    below, above = np.unravel_index(int(f1.argmax()), f1.shape)
    return int(below), int(above), float(f1.max())


def count_called(tiles: Histogram, below: int, above: int) -> NDArray[np.int64]:
    """Count each tile at a pair of cuts, shape (tile, 4): TP, FP, FN, TN."""
    whole = tiles.sum(axis=(2, 3), dtype=np.int64)
    called = tiles[:, :, :below, above:].sum(axis=(2, 3), dtype=np.int64)
    fp, tp = called.T
    return np.stack([tp, fp, whole[:, 1] - tp, whole[:, 0] - fp], axis=1)


def _called(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels that every pair of cuts calls, shape (NDVI bin + 1, slope bin)."""
    steep = cells[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.concatenate([np.zeros_like(steep[:1]), steep.cumsum(axis=0)])


def _bin(value: NDArray[np.float32], bins: int) -> NDArray[np.int64]:
    return np.clip(np.floor(value), 0, bins - 1).astype(np.int64)
