"""What the satellite sees: spectra of the cover in its light, through the air, on its grids.

Bands keep their own cells (10, 20 and 60 m) until the end, when all are resampled by the nearest
cell onto one slightly turned grid, as in the released files: there, neighbouring pixels of a
coarse band are equal, and some rows and columns occur twice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.compiled import compiled
from l4s_ensemble.sources.cover import Cover
from l4s_ensemble.sources.measured import Measured
from l4s_ensemble.sources.noise import Floats, enlarge, fractal

GROUP: dict[str, int] = {
    "B1": 6, "B2": 1, "B3": 1, "B4": 1, "B5": 2, "B6": 2, "B7": 2, "B8": 1, "B9": 6, "B10": 6,
    "B11": 2, "B12": 2,
}  # fmt: skip
"""Edge of a band's own cell, in cells of 10 m."""

SOFT = ("B1", "B2", "B3", "B4", "B8", "B11", "B12")
"""Bands whose cells see a little of their neighbours, as their autocorrelation says."""

_COARSE_PX = 4
_MIDDLE_PX = 3
_WHITE, _GRAIN = 0.9, 0.7
"""Amplitudes of the fine texture: white, which the bands' own cells average, and over 3 cells."""


def look(
    cover: Cover,
    dem_m: Floats,
    light: Floats,
    climate: Climate,
    measured: Measured,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Raw signal in DN of every spectral band on its own cells.

    `dem_m` and `light` are on 10 m cells (y, x), both sizes divisible by 6.
    """
    shape = dem_m.shape
    season = rng.standard_normal(measured.between.shape[2], dtype=np.float32)
    season = np.clip(season, -1.4, 1.4)
    mean = measured.mean + np.float32(0.7) * (measured.between @ season)
    small = (shape[0] // _COARSE_PX + 2, shape[1] // _COARSE_PX + 2)
    middle = (shape[0] // _MIDDLE_PX + 2, shape[1] // _MIDDLE_PX + 2)
    slow = [fractal(small, 0.9, rng, longest=40) for _ in range(measured.coarse.shape[2])]
    grain = [fractal(middle, 0.5, rng, longest=4) for _ in range(measured.fine.shape[2])]
    white = rng.standard_normal((measured.fine.shape[2], *shape), dtype=np.float32)
    white *= np.float32(_WHITE)
    cloud, dimmed = _clouds(shape, climate, rng)
    ten, twenty, sixty = _mix(
        cover.base, cover.over, cover.share, np.log(light * dimmed), mean, measured.coarse,
        measured.fine, measured.shade_exponent, np.stack(slow), np.stack(grain), white,
        cloud, 1.6 * np.exp(measured.mean[measured.code("cloud")]),
        np.array([GROUP[b] for b in measured.bands]),
    )  # fmt: skip
    path, height_km = _path(dem_m, climate, rng), dem_m * np.float32(1e-3)
    raw: dict[str, Floats] = {}
    for i, band in enumerate(measured.bands):
        size = GROUP[band]
        signal = {1: ten, 2: twenty, 6: sixty}[size][_rank(measured.bands, i)]
        if band in SOFT:
            signal = _blur(signal)
        air = measured.path_dn[i] + measured.path_per_km[i] * block_mean(height_km, size)
        raw[band] = signal + np.maximum(air, 0) * block_mean(path, size)
    _vapour_and_cirrus(raw, dem_m, cloud, measured, rng)
    return raw


@compiled
def block_mean(field: Floats, size: int) -> Floats:
    """Mean over blocks of `size` × `size` cells."""
    if size == 1:
        return field
    out = np.zeros((field.shape[0] // size, field.shape[1] // size), np.float32)
    for y in range(out.shape[0] * size):
        for x in range(out.shape[1] * size):
            out[y // size, x // size] += field[y, x]
    out /= np.float32(size * size)
    return out


def _rank(bands: tuple[str, ...], i: int) -> int:
    """Place of band `i` among the bands of its cell size."""
    return sum(GROUP[b] == GROUP[bands[i]] for b in bands[:i])


def _path(dem_m: Floats, climate: Climate, rng: np.random.Generator) -> Floats:
    """Haze relative to the measured path: by scene, and in soft banks that lie low."""
    small = (dem_m.shape[0] // 24 + 2, dem_m.shape[1] // 24 + 2)
    banks = enlarge(fractal(small, 1.6, rng, longest=80), dem_m.shape, 1.0 / 24)
    return np.asarray(climate.haze * (1 + 0.025 * banks), dtype=np.float32)


def _clouds(
    shape: tuple[int, int], climate: Climate, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Opacity of clouds, and the light that their shadows leave."""
    from scipy import ndimage

    if climate.cloud <= 0:
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
    small = (shape[0] // 3 + 2, shape[1] // 3 + 2)
    field = fractal(small, 1.5, rng, longest=60, shortest=2)
    level = float(np.quantile(field, 1 - climate.cloud))
    opacity = np.clip(1.6 * (field - level), 0, 1) * (field > level)
    opacity = enlarge(opacity.astype(np.float32), shape, 1.0 / 3)
    away = rng.uniform(15, 60)
    azimuth = np.radians(climate.sun_azimuth_deg)
    move = (int(np.cos(azimuth) * away), -int(np.sin(azimuth) * away))
    shadow = ndimage.gaussian_filter(np.roll(opacity, move, (0, 1)), 1.5)
    return opacity, (1 - 0.7 * np.clip(1.3 * shadow, 0, 1)).astype(np.float32)


def _vapour_and_cirrus(
    raw: dict[str, Floats],
    dem_m: Floats,
    cloud: Floats,
    measured: Measured,
    rng: np.random.Generator,
) -> None:
    """B9 is B8 through water vapour, B10 sees next to nothing but high ground and clouds."""
    height = block_mean(dem_m, 6) * np.float32(1e-3)
    veil = block_mean(cloud, 6)
    wet = rng.normal(0, 0.04) + np.interp(height, measured.knots_km, measured.log_b9_over_b8)
    wet += 0.25 * np.clip(height - measured.knots_km[-1], -9, 9).clip(0)
    wet += 0.25 * np.clip(height - measured.knots_km[0], -9, 0)
    noise = rng.standard_normal(height.shape)
    raw["B9"] = (_blur(block_mean(raw["B8"], 6)) * np.exp(wet + 0.01 * noise + 0.5 * veil)).astype(
        np.float32
    )
    haze = fractal(height.shape, 1.2, rng, longest=60)
    cirrus = np.log(np.interp(height, measured.knots_km, measured.b10_dn))
    cirrus += np.clip(0.10 * (height - 1), 0.03, 0.3) * haze + 0.02 * noise + 0.8 * veil
    raw["B10"] = np.exp(cirrus).astype(np.float32)


@compiled
def _bilinear(field: Floats, y: int, x: int, cell: int) -> float:
    fy, fx = y / cell, x / cell
    iy, ix = int(fy), int(fx)
    ty, tx = fy - iy, fx - ix
    top = field[iy, ix] * (1 - tx) + field[iy, ix + 1] * tx
    low = field[iy + 1, ix] * (1 - tx) + field[iy + 1, ix + 1] * tx
    return float(top * (1 - ty) + low * ty)


@compiled
def _mix(
    base: NDArray[np.uint8], over: NDArray[np.uint8], share: Floats, log_light: Floats,
    mean: Floats, coarse: Floats, fine: Floats, exponent: Floats, slow: Floats, grain: Floats,
    white: Floats, cloud: Floats, cloud_dn: Floats, size: NDArray[np.int64],
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Signal of each cell, averaged onto the own cells of its band: (10 m), (20 m), (60 m)."""
    ny, nx = base.shape
    bands = mean.shape[1]
    n10, n20, n60 = 0, 0, 0
    place = np.zeros(bands, np.int64)
    for b in range(bands):
        if size[b] == 1:
            place[b] = n10
            n10 += 1
        elif size[b] == 2:
            place[b] = n20
            n20 += 1
        else:
            place[b] = n60
            n60 += 1
    ten = np.zeros((n10, ny, nx), np.float32)
    twenty = np.zeros((n20, ny // 2, nx // 2), np.float32)
    sixty = np.zeros((n60, ny // 6, nx // 6), np.float32)
    zc = np.zeros(coarse.shape[2], np.float32)
    zf = np.zeros(fine.shape[2], np.float32)
    rest = np.float32(_GRAIN)
    for y in range(ny):
        for x in range(nx):
            for k in range(zc.size):
                zc[k] = _bilinear(slow[k], y, x, _COARSE_PX)
            for k in range(zf.size):
                zf[k] = white[k, y, x] + rest * _bilinear(grain[k], y, x, _MIDDLE_PX)
            c, o, a = base[y, x], over[y, x], share[y, x]
            e = log_light[y, x]
            for b in range(bands):
                s = mean[c, b]
                for k in range(zc.size):
                    s += coarse[c, b, k] * zc[k]
                for k in range(zf.size):
                    s += fine[c, b, k] * zf[k]
                value = np.exp(s + exponent[b] * e)
                if a > 0.01:
                    t = mean[o, b]
                    for k in range(zc.size):
                        t += coarse[o, b, k] * zc[k]
                    for k in range(zf.size):
                        t += fine[o, b, k] * zf[k]
                    value += a * (np.exp(t + exponent[b] * e) - value)
                if cloud[y, x] > 0:
                    value += cloud[y, x] * (cloud_dn[b] - value)
                if size[b] == 1:
                    ten[place[b], y, x] = value
                elif size[b] == 2:
                    twenty[place[b], y // 2, x // 2] += np.float32(0.25) * value
                else:
                    sixty[place[b], y // 6, x // 6] += value / np.float32(36.0)
    return ten, twenty, sixty


@compiled
def _blur(field: Floats) -> Floats:
    """Point spread of a 10 m band: 3 × 3 cells, weights 1 6 1."""
    ny, nx = field.shape
    out = np.empty_like(field)
    for y in range(ny):
        up, down = max(0, y - 1), min(ny - 1, y + 1)
        for x in range(nx):
            left, right = max(0, x - 1), min(nx - 1, x + 1)
            total = np.float32(0.0)
            for i, wy in ((up, 0.125), (y, 0.75), (down, 0.125)):
                line = np.float32(0.125) * (field[i, left] + field[i, right])
                total += np.float32(wy) * (line + np.float32(0.75) * field[i, x])
            out[y, x] = total
    return out
