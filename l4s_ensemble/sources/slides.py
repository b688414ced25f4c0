"""Landslides of a made-up scene: where they start, how they run, what the mapper drew.

A slide starts on a steep, hollow slope in the struck area, runs down the gradient, and is wider
than its path by a profile and a rough edge. Sizes and elongation are drawn from the real masks.
The map differs from the ground: edges by a pixel or two, some slides missed, some run-outs left
out, some drawn over what has grown green again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.compiled import compiled
from l4s_ensemble.sources.noise import Floats, enlarge, fractal, sigmoid

MAPPED = 0.86
"""Share of the slides that the mapper saw."""
ROUGH = 0.36
"""Roughness of the outline, relative to the radius."""
EDGE_PX = 1.1
"""Standard deviation of the mapped edge about the true one, pixels."""


@dataclass(frozen=True)
class Slides:
    """Landslides on 10 m cells (y, x).

    Attributes
    ----------
    bare : ndarray of float32
        Share of bare ground, 0 to 1, of all slides, mapped or not.
    mapped : ndarray of uint8
        1 where the map shows a landslide.
    """

    bare: Floats
    mapped: NDArray[np.uint8]


def make_slides(
    dem_m: Floats,
    hollow: Floats,
    above_river_m: Floats,
    inside: NDArray[np.bool_],
    climate: Climate,
    sizes: dict[str, Any],
    rng: np.random.Generator,
) -> Slides:
    """Make the slides of a scene.

    Parameters
    ----------
    dem_m, hollow, above_river_m : ndarray of float32, shape (y, x)
        Elevation; curvature, positive in hollows, unit variance; height above the channel.
    inside : ndarray of bool, shape (y, x)
        The part that ends up in tiles: the wanted share of pixels is counted there.
    sizes : dict
        The ``slides`` part of the measured table.
    """
    from scipy import ndimage

    shape = dem_m.shape
    gy, gx = (np.asarray(g) for g in np.gradient(dem_m, np.float32(10.0)))
    slope_deg = np.degrees(np.arctan(np.hypot(gy, gx)))
    small = (shape[0] // 12 + 1, shape[1] // 12 + 1)
    field = fractal(small, 1.4, rng, longest=60)
    struck = np.quantile(field, 1 - climate.slide_extent)
    cluster = np.where(field > struck, np.exp(0.8 * (field - struck)), 0.0)
    cluster = enlarge(cluster.astype(np.float32), shape, 1 / 12)
    steep = ndimage.gaussian_filter(slope_deg, 4.0)
    chance = sigmoid((steep - np.quantile(steep[::4, ::4], 0.90)) / 2.0) * cluster
    chance *= 0.25 + sigmoid(2 * hollow) + 0.8 * np.exp(-above_river_m / 40)
    total = np.cumsum(chance.ravel(), dtype=np.float64)
    wanted = int(climate.slide_share * inside.sum())
    number = 64 + 3 * wanted // 60
    starts = np.searchsorted(total, rng.random(number) * total[-1]).astype(np.int64)
    u = rng.random(number)
    area = np.interp(u, sizes["size_quantile"], sizes["size_px"])
    tail = u > 0.97
    area[tail] = np.minimum(6000, area[tail] * np.exp(0.3 * rng.standard_normal(int(tail.sum()))))
    low, middle, high = sizes["elongation_q10_50_90"]
    spread = np.log(high / low) / 2.56
    area *= 0.72
    stretch = np.clip(2.0 * middle * np.exp(spread * rng.standard_normal(number)), 1.05, 9)
    fresh = np.clip(climate.freshness + 0.16 * rng.standard_normal(number), 0.25, 1.0)
    seen = rng.random(number) < MAPPED
    old = ~seen & (rng.random(number) < 0.5)
    fresh[old] *= 0.6
    partly = np.where(rng.random(number) < 0.3, rng.uniform(0.45, 0.9, number), 1.0)
    half = (shape[0] // 2 + 1, shape[1] // 2 + 1)
    form = enlarge(fractal(half, 1.2, rng, longest=12, shortest=2), shape, 0.5)
    pen = enlarge(fractal(half, 1.0, rng, longest=6, shortest=1), shape, 0.5)
    bare = np.zeros(shape, np.float32)
    mapped = np.zeros(shape, np.uint8)
    _run_all(
        bare, mapped, gy, gx, inside, wanted, starts, area.astype(np.float32),
        stretch.astype(np.float32), fresh.astype(np.float32), seen, partly.astype(np.float32),
        form, pen, rng,
    )  # fmt: skip
    _drop_specks(mapped)
    patchy = enlarge(fractal(half, 0.8, rng, longest=6), shape, 0.5)
    bare = np.clip(bare * (1 + np.float32(0.22) * patchy), 0, 1) * (bare > 0)
    return Slides(bare.astype(np.float32), mapped)


@compiled
def _run_all(
    bare: Floats, mapped: NDArray[np.uint8], gy: Floats, gx: Floats, inside: NDArray[np.bool_],
    wanted: int, starts: NDArray[np.int64], area: Floats, stretch: Floats, fresh: Floats,
    seen: NDArray[np.bool_], partly: Floats, form: Floats, pen: Floats, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Paint slides one after the other until the map shows the `wanted` pixels."""
    nx = gy.shape[1]
    done = 0
    path = np.empty((4096, 3), np.float32)
    for i in range(len(starts)):
        if done >= wanted:
            break
        length = np.sqrt(area[i] * stretch[i] * 1.27)
        width = 1.27 * area[i] / length
        heads = 1
        if area[i] > 120:
            heads += int(min(5.0, 1.0 + area[i] / 300.0) * rng.random() + 0.5)
        y, x = starts[i] // nx, starts[i] % nx
        for head in range(heads):
            part = 1.0 if head == 0 else 0.4 + 0.5 * rng.random()
            y0, x0 = float(y), float(x)
            if head > 0:
                y0 += 0.6 * width * rng.normal()
                x0 += 0.6 * width * rng.normal()
            share = 1.0 / np.sqrt(heads)
            points = _descend(path, gy, gx, y0, x0, length * part, width * share, rng)
            done += _paint(
                bare, mapped, inside, path[:points], fresh[i], seen[i], partly[i], form, pen
            )


@compiled
def _descend(
    path: Floats, gy: Floats, gx: Floats, y: float, x: float, length: float, width: float,
    rng: np.random.Generator,
) -> int:  # fmt: skip
    """Climb a part of the length, then follow the gradient down with some inertia.

    Fills `path` with (y, x, radius) and returns its size.
    """
    ny, nx = gy.shape
    for _ in range(int((0.35 + 0.3 * rng.random()) * length)):
        iy, ix = int(y + 0.5), int(x + 0.5)
        if iy < 1 or iy >= ny - 1 or ix < 1 or ix >= nx - 1:
            break
        fall = np.sqrt(gy[iy, ix] ** 2 + gx[iy, ix] ** 2) + 1e-6
        if fall < 0.45:
            break
        y += gy[iy, ix] / fall
        x += gx[iy, ix] / fall
    points = 0
    vy, vx = 0.0, 0.0
    bulge = 0.6 * rng.random()
    steps = max(2, int(length))
    for step in range(min(steps, path.shape[0])):
        iy, ix = int(y + 0.5), int(x + 0.5)
        if iy < 0 or iy >= ny or ix < 0 or ix >= nx:
            break
        fall = np.sqrt(gy[iy, ix] ** 2 + gx[iy, ix] ** 2) + 1e-6
        if step > 3 and fall < 0.40:
            break
        keep = 0.6 if step > 0 else 0.0
        vy = keep * vy - (1 - keep) * gy[iy, ix] / fall
        vx = keep * vx - (1 - keep) * gx[iy, ix] / fall
        speed = np.sqrt(vy * vy + vx * vx) + 1e-6
        t = step / steps
        profile = (1.05 + bulge) - 1.1 * bulge * t
        ends = min(1.0, 0.55 + 4.0 * t) * min(1.0, 0.55 + 4.0 * (1 - t))
        path[points, 0], path[points, 1] = y, x
        path[points, 2] = max(0.55, 0.5 * width * profile * ends)
        points += 1
        y += vy / speed
        x += vx / speed
    return points


@compiled
def _paint(
    bare: Floats, mapped: NDArray[np.uint8], inside: NDArray[np.bool_], path: Floats,
    fresh: float, seen: bool, partly: float, form: Floats, pen: Floats,
) -> int:  # fmt: skip
    """Paint one path on the ground and, if it was seen, on the map; return new mapped pixels."""
    if len(path) == 0:
        return 0
    ny, nx = bare.shape
    reach = 1.9 * path[:, 2].max() + 3
    drawn = max(1, int(len(path) * partly))
    new = 0
    y_low = max(0, int(path[:, 0].min() - reach))
    y_high = min(ny, int(path[:, 0].max() + reach) + 1)
    x_low = max(0, int(path[:, 1].min() - reach))
    x_high = min(nx, int(path[:, 1].max() + reach) + 1)
    stride = 1 if path[:, 2].max() < 4 else 2
    for y in range(y_low, y_high):
        for x in range(x_low, x_high):
            ground = np.float32(1e9)
            chart = np.float32(1e9)
            for i in range(0, len(path), stride):
                r = path[i, 2]
                dy, dx = y - path[i, 0], x - path[i, 1]
                if abs(dy) > 1.9 * r + 3 or abs(dx) > 1.9 * r + 3:
                    continue
                gap = np.sqrt(dy * dy + dx * dx) - r * (1 + ROUGH * form[y, x])
                if gap < ground:
                    ground = gap
                if i < drawn and gap < chart:
                    chart = gap
            if ground < 0.4:
                share = fresh * min(1.0, 0.7 - float(ground))
                if share > bare[y, x]:
                    bare[y, x] = share
            if seen and mapped[y, x] == 0 and chart + EDGE_PX * pen[y, x] < 0.15:
                mapped[y, x] = 1
                if inside[y, x]:
                    new += 1
    return new


def _drop_specks(mapped: NDArray[np.uint8], least_px: int = 6) -> None:
    """Take single pixels off the map, in place: nobody draws them."""
    from scipy import ndimage

    labels, number = ndimage.label(mapped, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=number + 1)
    small = sizes < least_px
    small[0] = False
    mapped[small[labels]] = 0
