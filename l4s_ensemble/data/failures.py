"""Counts of errors by slope, elevation, brightness and distance to an edge, over all tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.bands import TRUE_COLOUR
from l4s_ensemble.data.store import (
    BLOCK_TILES,
    open_store,
    positions_of,
    sensor_of,
    tasks_of,
    units,
)
from l4s_ensemble.metrics.failures import SLOPE_DEG, TILE_EDGE_PX, FailureCounts, quintiles
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.run.tasks import in_processes

EDGE_TILES = 64
"""Tiles that quintiles of pixels are taken from, spread evenly over all."""


def failures(store: Path, scores: Path, threshold: float, *, jobs: int = 1) -> dict[str, Any]:
    """Count the errors of a score file by properties of the pixels.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    scores : Path
        An ``oof.zarr``, of logits; all its tiles are counted.
    threshold : float
        A pixel is predicted landslide at this probability or above.
    jobs : int
        Worker processes.

    Returns
    -------
    dict
        See `l4s_ensemble.metrics.summary.Failures`.
    """
    dataset, scored = _opened(store, scores)
    ids, sensor = scored["patch"].values, sensor_of(dataset)
    edges = _edges(dataset, ids)
    counts = FailureCounts(edges)
    tasks = [(store, scores, some, threshold, edges) for some in tasks_of(ids)]
    for part in in_processes(_count, tasks, jobs):
        counts.merge(part)
    # Tiles of a relative sensor were all brought to one median.
    found = counts.summary(by_tile=sensor.radiometry == "absolute")
    return {"threshold": threshold, "pixel_m": sensor.pixel_m, **found}


@lru_cache(maxsize=2)
def _opened(store: Path, scores: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """Open a store and scores, once for all tasks of a process."""
    return open_store(store), open_scores(scores)


def _count(
    store: Path,
    scores: Path,
    ids: NDArray[np.int64],
    threshold: float,
    edges: Mapping[str, Sequence[float]],
) -> FailureCounts:
    dataset, scored = _opened(store, scores)
    counts = FailureCounts(edges)
    for start in range(0, len(ids), BLOCK_TILES):
        some = ids[start : start + BLOCK_TILES]
        at = positions_of(dataset, some)
        logit = scored["logit"].isel(patch=positions_of(scored, some)).values
        predicted = sigmoid(logit).astype(np.float64) >= threshold
        reference, images = dataset["mask"].isel(patch=at).values > 0, _images(dataset, at)
        for i, own in enumerate(reference):
            counts.add_tile(own, predicted[i], {k: v[i] for k, v in images.items()})
    return counts


def _images(dataset: xr.Dataset, positions: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Slope, elevation and brightness of tiles, each (tile, y, x), as far as there are bands."""
    sensor, image = sensor_of(dataset), units(dataset, positions)
    at = {name: i for i, name in enumerate(sensor.band_names)}
    terrain = (("slope_deg", "slope"), ("dem_m", "dem"))
    found = {key: image[:, at[band]] for key, band in terrain if band in at}
    visible = [at[b] for b in TRUE_COLOUR if b in at] or [at[b] for b in sensor.spectral]
    if visible:
        found["brightness"] = image[:, visible].mean(axis=1)
    return found


def _edges(dataset: xr.Dataset, ids: NDArray[np.int64]) -> dict[str, Sequence[float]]:
    """Bins of every image; slope has fixed ones, of the others the quintiles of some tiles."""
    some = ids[np.unique(np.linspace(0, len(ids) - 1, min(EDGE_TILES, len(ids))).astype(int))]
    seen: dict[str, list[NDArray[np.float32]]] = {}
    for i in range(0, len(some), BLOCK_TILES):
        positions = positions_of(dataset, some[i : i + BLOCK_TILES])
        for key, value in _images(dataset, positions).items():
            seen.setdefault(key, []).append(value[:, ::2, ::2].ravel())
    edges: dict[str, Sequence[float]] = {
        key: SLOPE_DEG if key == "slope_deg" else quintiles(np.concatenate(values))
        for key, values in seen.items()
    }
    return edges | {"tile_edge_px": TILE_EDGE_PX}
