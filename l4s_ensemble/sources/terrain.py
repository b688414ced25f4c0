"""The ground of a synthetic scene: ranges, valleys between them, and one river.

Real elevation in the released files is a 30 m model resampled, and its steps over 1 to 64 pixels
grow as those of a fractal surface with exponent .85 (``relief`` in ``measured.json``). Valleys are
the zero lines of fields of two sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.bands import PIXEL_M
from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.fields import Floats, fractal

DETAIL_M = 3.0
"""Relief that the given slope shows and the given elevation does not, metres: in real tiles slope
recomputed from elevation correlates .71-.86 with the given one."""
DIFFUSE = 0.16
"""Light from the sky over direct light on a surface that faces the sun."""


@dataclass(frozen=True)
class Terrain:
    """The ground in pixels, each field of float32, shape (y, x)."""

    dem_m: Floats  # elevation
    slope_deg: Floats
    hollow: Floats  # curvature of the smoothed ground, positive in hollows, unit variance
    above_river_m: Floats  # height above the nearest point of the river
    bed: Floats  # share of gravel by the river and in the valleys, 0 to 1
    light: Floats  # illumination relative to the mean of the scene


def make_terrain(shape: tuple[int, int], climate: Climate, rng: np.random.Generator) -> Terrain:
    """Make the ground of a scene of `shape` pixels."""
    from scipy import ndimage

    valleys = [fractal(shape, 2.2, rng, longest=n, shortest=4) for n in (400, 120)]
    relief = np.float32(0.3) * fractal(shape, 2.0, rng, longest=1200, shortest=4)
    relief += np.abs(valleys[0]) + np.float32(0.3) * np.abs(valleys[1])
    away, along, at = _river(shape, rng)
    plain = climate.plain_px * np.exp(0.5 * fractal(shape, 1.4, rng, longest=150))
    rise = 1 - np.exp(-((away / plain) ** 2))
    z = rise * (relief - np.quantile(relief, 0.02) + 0.5 - np.exp(-away / 60))
    z *= climate.steepness / np.median(tangent(z))
    z += rng.uniform(0.002, 0.01) * PIXEL_M * along
    z = ndimage.gaussian_filter(z.astype(np.float32), 0.7)
    z += np.float32(climate.lowest_m) - z.min()
    fine = z + np.float32(DETAIL_M) * fractal(shape, 1.0, rng, longest=12, shortest=1.5)
    hollow = ndimage.laplace(ndimage.gaussian_filter(z, 3.0))
    swell = np.exp(0.5 * fractal(shape, 1.2, rng, longest=150))
    stream = np.min([np.abs(v) / (np.hypot(*np.gradient(v)) + 1e-6) for v in valleys], axis=0)
    bed = np.clip(climate.river_px * swell - away + 0.5, 0, 1)
    bed = np.maximum(bed, np.clip(0.8 * swell - 0.4 - stream, 0, 0.7))
    return Terrain(
        dem_m=z,
        slope_deg=np.degrees(np.arctan(tangent(fine))),
        hollow=np.asarray(hollow / hollow.std(), np.float32),
        above_river_m=np.asarray(np.clip(z - z[at], 0, None), np.float32),
        bed=np.asarray(bed, np.float32),
        light=illumination(fine, climate.sun_azimuth_deg, climate.sun_elevation_deg),
    )


def _river(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats, tuple[NDArray[np.intp], ...]]:
    """A meandering line across the scene.

    Returns
    -------
    away, along : ndarray of float32, shape (y, x)
        Distance from the line and upstream along it, pixels.
    at : tuple of ndarray of int
        A point of the line beside each pixel: row and column.
    """
    from scipy.ndimage import gaussian_filter1d

    y, x = np.indices(shape)
    turned = rng.random() < 0.5
    along, across = (y, x) if turned else (x, y)
    length, width = (shape[0], shape[1]) if turned else (shape[1], shape[0])
    line = np.full(length, rng.uniform(0.35, 0.65) * width)
    for scale, amplitude in ((150, 0.1 * width), (25, rng.uniform(6, 14)), (8, 2.0)):
        bends = gaussian_filter1d(rng.standard_normal(length), scale, mode="reflect")
        line += amplitude * bends / max(float(bends.std()), 1e-9)
    line = line.clip(2, width - 3)
    course = np.gradient(gaussian_filter1d(line, 25))
    away = np.abs(across - line[along]) / np.hypot(1, course)[along]
    point = np.rint(line).astype(np.intp)[along]
    return away.astype(np.float32), along.astype(np.float32), (y, point) if turned else (point, x)


def tangent(dem_m: Floats) -> Floats:
    """Tangent of slope by Horn's (1981) 3 × 3 weights."""
    from scipy import ndimage

    gy, gx = (ndimage.sobel(dem_m, axis) / np.float32(8 * PIXEL_M) for axis in (0, 1))
    return np.asarray(np.hypot(gy, gx), np.float32)


def illumination(dem_m: Floats, sun_azimuth_deg: float, sun_elevation_deg: float) -> Floats:
    """Light on each pixel (y, x) relative to the mean of the scene.

    The cosine of the incidence angle (Teillet, Guindon & Goodenough 1982) plus sky light. Azimuth
    is clockwise from north; rows run south.
    """
    azimuth, elevation = math.radians(sun_azimuth_deg), math.radians(sun_elevation_deg)
    east = math.sin(azimuth) * math.cos(elevation)
    south = -math.cos(azimuth) * math.cos(elevation)
    gy, gx = np.gradient(dem_m, np.float32(PIXEL_M))
    lit = (math.sin(elevation) - gx * east - gy * south) / np.sqrt(1 + gx**2 + gy**2)
    lit = np.clip(lit, 0, None) + DIFFUSE
    return np.asarray(lit / lit.mean(), dtype=np.float32)
