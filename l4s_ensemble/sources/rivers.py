"""River beds of a made-up scene, drawn on 10 m cells along the flow of the terrain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.compiled import compiled
from l4s_ensemble.sources.noise import fractal
from l4s_ensemble.sources.terrain import CELL_M, Terrain

PIXELS_PER_CELL = CELL_M / 10.0
LEAST_KM2 = 0.35
"""Channels that drain less are hidden under trees."""

Floats = NDArray[np.float32]


def draw_beds(
    terrain: Terrain, shape: tuple[int, int], river_km2: float, rng: np.random.Generator
) -> Floats:
    """Share of gravel in each 10 m cell (y, x), 0 to 1.

    Widths follow the square root of the drained area, roughly (hydraulic geometry, Leopold &
    Maddock 1953), and swell and shrink along the river.
    """
    from scipy import ndimage

    bed = np.zeros(shape, np.float32)
    swell = np.exp(0.5 * fractal(terrain.dem_m.shape, 1.2, rng, longest=60)).astype(np.float32)
    _draw_network(bed, terrain.receiver, terrain.order, terrain.drained_km2, swell)
    line = ndimage.gaussian_filter1d(terrain.trunk_px, 12.0, axis=0)[::3]
    drained = river_km2 * (0.8 + 0.4 * np.linspace(0, 1, len(line)))
    width = 0.45 * drained**0.45
    cells = np.clip(np.rint(line).astype(int), 0, np.array(swell.shape) - 1)
    radius = 0.5 * width * swell[cells[:, 0], cells[:, 1]] ** 1.2
    _draw_line(bed, (line + 0.5) * PIXELS_PER_CELL - 0.5, radius.astype(np.float32))
    return bed


@compiled
def _segment(
    bed: Floats, y0: float, x0: float, y1: float, x1: float, radius: float, most: float
) -> None:
    """Paint the cells within `radius` of a segment, with soft edges, keeping the larger share."""
    ny, nx = bed.shape
    reach = radius + 1.0
    dy, dx = y1 - y0, x1 - x0
    square = dy * dy + dx * dx
    for y in range(max(0, int(min(y0, y1) - reach)), min(ny, int(max(y0, y1) + reach) + 2)):
        for x in range(max(0, int(min(x0, x1) - reach)), min(nx, int(max(x0, x1) + reach) + 2)):
            t = 0.0
            if square > 0:
                t = min(1.0, max(0.0, ((y - y0) * dy + (x - x0) * dx) / square))
            away = np.sqrt((y - y0 - t * dy) ** 2 + (x - x0 - t * dx) ** 2)
            share = min(most, max(0.0, radius + 0.5 - away))
            if share > bed[y, x]:
                bed[y, x] = share


@compiled
def _draw_line(bed: Floats, points: NDArray[np.float64], radius: Floats) -> None:
    for i in range(len(points) - 1):
        _segment(
            bed, points[i, 0], points[i, 1], points[i + 1, 0], points[i + 1, 1], radius[i], 1.0
        )


@compiled
def _draw_network(
    bed: Floats,
    receiver: NDArray[np.int32],
    order: NDArray[np.int32],
    drained_km2: Floats,
    swell: Floats,
) -> None:
    """Smooth the paths of the flow, which know eight directions only, and paint them."""
    nx = drained_km2.shape[1]
    area, wide = drained_km2.ravel(), swell.ravel()
    py = np.empty(area.size, np.float32)
    px = np.empty(area.size, np.float32)
    for i in range(area.size):
        py[i], px[i] = i // nx, i % nx
    for _ in range(4):
        qy, qx = py.copy(), px.copy()
        weight = np.ones(area.size, np.float32)
        for i in order:
            r = receiver[i]
            if r != i and area[i] >= LEAST_KM2:
                qy[i] += py[r]
                qx[i] += px[r]
                weight[i] += 1
                if area[i] > 0.5 * area[r]:
                    qy[r] += py[i]
                    qx[r] += px[i]
                    weight[r] += 1
        py, px = qy / weight, qx / weight
    for i in order:
        r = receiver[i]
        if r == i or area[i] < LEAST_KM2:
            continue
        width = 0.75 * area[i] ** 0.42 * wide[i]
        most = min(1.0, 0.25 + 0.6 * width * min(1.0, wide[i]))
        _segment(
            bed,
            (py[i] + 0.5) * PIXELS_PER_CELL - 0.5,
            (px[i] + 0.5) * PIXELS_PER_CELL - 0.5,
            (py[r] + 0.5) * PIXELS_PER_CELL - 0.5,
            (px[r] + 0.5) * PIXELS_PER_CELL - 0.5,
            0.5 * width,
            most,
        )
