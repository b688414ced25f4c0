"""Landslides of a synthetic scene: start, path, and mapped outline.

A landslide starts on a steep, hollow slope in the struck area, runs down the gradient, and is
wider than its path by a profile and a rough edge. Sizes and elongation are drawn from the real
masks. The map differs from the ground: edges by a pixel or two, some landslides missed, some
run-outs left out, some drawn over what has grown green again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from l4s_ensemble.data.bands import PIXEL_M
from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.fields import Floats, fractal
from l4s_ensemble.sources.terrain import Terrain

MAPPED = 0.86
"""Share of the landslides that the mapper saw."""
ROUGH = 0.36
"""Roughness of the outline, relative to the radius."""
EDGE_PX = 1.1
"""Standard deviation of the mapped edge about the true one, pixels."""
LEAST_PX = 6
"""Smaller specks are on no map."""


def make_landslides(
    ground: Terrain, climate: Climate, sizes: dict[str, Any], rng: np.random.Generator
) -> tuple[Floats, NDArray[np.uint8]]:
    """Draw landslides one after the other until the map shows the share that the climate asks for.

    `sizes` is the part ``landslides`` of the measured tables.

    Returns
    -------
    bare : ndarray of float32, shape (y, x)
        Share of bare ground, 0 to 1, of all landslides, mapped or not.
    mapped : ndarray of uint8, shape (y, x)
        1 where the map shows a landslide.
    """
    from scipy import ndimage

    shape = ground.dem_m.shape
    smooth = ndimage.gaussian_filter(ground.dem_m, 2.0)
    down, right = (-g for g in np.gradient(smooth, np.float32(PIXEL_M)))
    total = np.cumsum(_chance(ground, climate, rng).ravel(), dtype=np.float64)
    form = fractal(shape, 1.2, rng, longest=24, shortest=4)
    pen = fractal(shape, 1.0, rng, longest=12, shortest=2)
    low, middle, high = sizes["elongation_q10_50_90"]
    bare, mapped = np.zeros(shape, np.float32), np.zeros(shape, bool)
    left = climate.landslide_share * mapped.size
    for _ in range(64 + mapped.size // 20):
        if left <= 0:
            break
        area = 0.72 * np.interp(rng.random(), sizes["size_quantile"], sizes["size_px"])
        stretch = np.exp(np.log(high / low) / 2.56 * rng.standard_normal())
        length = np.sqrt(1.27 * area * np.clip(2 * middle * stretch, 1.05, 9))
        start = np.unravel_index(np.searchsorted(total, rng.random() * total[-1]), shape)
        path = _run(down, right, start, length, 1.27 * area / length, rng)
        if not len(path):
            continue
        fresh = np.clip(climate.freshness + 0.16 * rng.standard_normal(), 0.25, 1.0)
        seen = rng.random() < MAPPED
        if not seen and rng.random() < 0.5:
            fresh *= 0.6
        partly = rng.uniform(0.45, 0.9) if rng.random() < 0.3 else 1.0
        window, gap = _gap(path, shape, form)
        share = fresh * np.clip(0.7 - gap, 0, 1) * (gap < 0.4)
        bare[window] = np.maximum(bare[window], share)
        if seen:
            drawn = _gap(path[: max(1, int(len(path) * partly))], shape, form, window)[1]
            new = ~mapped[window] & (drawn + EDGE_PX * pen[window] < 0.15)
            mapped[window] |= new
            left -= int(new.sum())
    labels, number = ndimage.label(mapped, np.ones((3, 3)))
    mapped &= (np.bincount(labels.ravel(), minlength=number + 1) >= LEAST_PX)[labels]
    bare *= np.clip(1 + 0.22 * fractal(shape, 0.8, rng, longest=12), 0, None)
    return np.clip(bare, 0, 1).astype(np.float32), mapped.astype(np.uint8)


def _chance(ground: Terrain, climate: Climate, rng: np.random.Generator) -> Floats:
    """Relative chance of a start: steep and hollow, by the river, in the struck area."""
    from scipy import ndimage

    field = fractal(ground.dem_m.shape, 1.4, rng, longest=500)
    struck = np.quantile(field[::4, ::4], 1 - climate.landslide_extent)
    cluster = np.where(field > struck, np.exp(0.8 * (field - struck)), 0.0)
    steep = ndimage.gaussian_filter(ground.slope_deg, 4.0)
    chance = expit((steep - np.quantile(steep[::4, ::4], 0.90)) / 2.0) * cluster
    chance *= 0.25 + expit(2 * ground.hollow) + 0.8 * np.exp(-ground.above_river_m / 40)
    return np.asarray(chance, np.float32)


def _run(
    down: Floats, right: Floats, start: Any, length: float, width: float, rng: np.random.Generator
) -> Floats:
    """Climb a part of the length, then follow the gradient down with some inertia.

    Returns
    -------
    ndarray of float32, shape (point, 3)
        Row, column and radius in pixels, a pixel apart.
    """

    def descent(at: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        y, x = (int(np.clip(round(v), 0, n - 1)) for v, n in zip(at, down.shape, strict=True))
        step = np.array([down[y, x], right[y, x]], np.float64)
        fall = float(np.hypot(*step)) + 1e-6
        return step / fall, fall

    at = np.array(start, np.float64)
    for _ in range(int(rng.uniform(0.35, 0.65) * length)):
        step, fall = descent(at)
        if fall < 0.45:
            break
        at -= step
    bulge = 0.6 * rng.random()
    steps = max(2, int(length))
    velocity, points = np.zeros(2), []
    for n in range(steps):
        step, fall = descent(at)
        inside = (at > -0.5).all() and (at < np.array(down.shape) - 0.5).all()
        if not inside or (n > 3 and fall < 0.40):
            break
        t = n / steps
        ends = min(1.0, 0.55 + 4.0 * t) * min(1.0, 0.55 + 4.0 * (1 - t))
        points.append((*at, max(0.55, 0.5 * width * (1.05 + bulge - 1.1 * bulge * t) * ends)))
        velocity = 0.6 * velocity + 0.4 * step if n else step
        at = at + velocity / (np.hypot(*velocity) + 1e-6)
    return np.array(points, np.float32).reshape(-1, 3)


def _gap(
    path: Floats, shape: tuple[int, ...], form: Floats, window: tuple[slice, slice] | None = None
) -> tuple[tuple[slice, slice], Floats]:
    """A window around a path and the distance of its pixels from the rough edge, inside below 0."""
    reach = 1.9 * path[:, 2].max() + 3
    if window is None:
        low = np.maximum(path[:, :2].min(0) - reach, 0).astype(int)
        high = np.minimum(path[:, :2].max(0) + reach + 1, shape).astype(int)
        window = (slice(low[0], high[0]), slice(low[1], high[1]))
    y, x = np.mgrid[window].astype(np.float32)
    rough = 1 + np.float32(ROUGH) * form[window]
    gap = np.full(y.shape, np.inf, np.float32)
    for row, column, radius in path[:: 1 if path[:, 2].max() < 4 else 2]:
        np.minimum(gap, np.hypot(y - row, x - column) - radius * rough, out=gap)
    return window, gap
