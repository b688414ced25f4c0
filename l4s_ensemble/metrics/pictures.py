"""Slope, elevation and brightness of pixels, as far as the sensor has them, and bins of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.by_block import BLOCK_TILES

if TYPE_CHECKING:
    import xarray as xr

EDGE_TILES = 64
"""Tiles that quintiles of pixels are taken from, spread evenly over all."""

SLOPE_DEG = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, np.inf)
TILE_EDGE_PX = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)
VISIBLE = ("B4", "B3", "B2")

TITLES = {
    "slope_deg": ("slope", "degree"),
    "dem_m": ("elevation", "metre"),
    "brightness": ("brightness of the pixel, mean of red, green and blue", "unit of the bands"),
    "tile_brightness": ("brightness of the tile, its median", "unit of the bands"),
    "tile_edge_px": ("distance to the edge of the tile", "pixel"),
}
"""What each key means, and its unit."""


def pictures_of(
    dataset: xr.Dataset, positions: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Slope, elevation and brightness of tiles, each (tile, y, x), as far as there are bands."""
    from l4s_ensemble.data.store import sensor_of, units

    sensor = sensor_of(dataset)
    image = units(dataset, positions)
    at = {name: i for i, name in enumerate(sensor.band_names)}
    found = {key: image[:, at[b]] for key, b in (("slope_deg", "slope"), ("dem_m", "dem"))
             if b in at}  # fmt: skip
    light = [at[b] for b in VISIBLE if b in at] or [at[b] for b in sensor.spectral]
    if light:
        found["brightness"] = image[:, light].mean(axis=1)
    return found


def to_tile_edge(height: int, width: int) -> NDArray[np.int64]:
    """Distance of each pixel to the edge of its tile, shape (y, x); 0 on the outermost row."""
    y, x = np.arange(height)[:, None], np.arange(width)
    return np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))


def edges_of(dataset: xr.Dataset, ids: NDArray[np.int64]) -> dict[str, Sequence[float]]:
    """Bins of every picture and of ``tile_edge_px``: lower bounds, and the last upper one.

    Slope has fixed bins; of the others the quintiles of some tiles are taken.
    """
    from l4s_ensemble.data.store import positions_of

    some = ids[np.unique(np.linspace(0, len(ids) - 1, min(EDGE_TILES, len(ids))).astype(int))]
    seen: dict[str, list[NDArray[np.float32]]] = {}
    for i in range(0, len(some), BLOCK_TILES):
        positions = positions_of(dataset, some[i : i + BLOCK_TILES])
        for key, value in pictures_of(dataset, positions).items():
            seen.setdefault(key, []).append(value[:, ::2, ::2].ravel())
    edges: dict[str, Sequence[float]] = {}
    for key, values in seen.items():
        edges[key] = SLOPE_DEG if key == "slope_deg" else quintiles(np.concatenate(values))
    edges["tile_edge_px"] = TILE_EDGE_PX
    return edges


def quintiles(value: NDArray[Any]) -> list[float]:
    """Five bins with as many values each, open at both ends; fewer where values are equal."""
    inner = np.unique(np.quantile(value.astype(np.float64), [0.2, 0.4, 0.6, 0.8]))
    return [-np.inf, *inner.tolist(), np.inf]


def count_kinds(
    value: NDArray[Any], edges: Sequence[float], kind: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count pixels by bin of a value and by kind 0 to 3, shape (bin, 4)."""
    bins = len(edges) - 1
    place = np.searchsorted(np.asarray(edges)[1:-1], value.ravel(), "right")
    counted = np.bincount(4 * place + kind.ravel(), minlength=4 * bins)
    return counted.reshape(bins, 4).astype(np.int64)


def finite(value: float | None) -> float | None:
    """Bound of a bin for a summary: None where there is none."""
    return None if value is None or np.isinf(value) else float(value)
