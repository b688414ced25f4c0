"""Signal at the satellite: spectra of the land cover, illumination and atmosphere.

A band whose own pixels are of 20 or 60 m is averaged over them and repeated, as in the released
files.
"""

from __future__ import annotations

import numpy as np

from l4s_ensemble.data.bands import BY_NAME, PIXEL_M
from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.cover import Codes, Cover
from l4s_ensemble.sources.fields import Floats, fractal
from l4s_ensemble.sources.measured import Measured
from l4s_ensemble.sources.terrain import Terrain

SPREAD_PX = 0.55
"""Point spread of the bands of 10 m, standard deviation in pixels."""
WHITE, GRAIN = 0.9, 0.7
"""Amplitudes of the fine texture: of single pixels, and over some three."""


def look(
    cover: Cover, ground: Terrain, climate: Climate, measured: Measured, rng: np.random.Generator
) -> dict[str, Floats]:
    """Signal of every spectral band in DN, shape (y, x)."""
    from scipy import ndimage

    shape = cover.base.shape
    season = np.clip(rng.standard_normal(measured.between.shape[2], dtype=np.float32), -1.4, 1.4)
    mean = measured.mean + np.float32(0.7) * (measured.between @ season)
    parts = [(factor, fractal(shape, 0.9, rng, longest=160)) for factor in measured.coarse.T]
    for factor in measured.fine.T:
        fine = np.float32(WHITE) * rng.standard_normal(shape, dtype=np.float32)
        fine += np.float32(GRAIN) * fractal(shape, 0.5, rng, longest=12, shortest=3)
        parts.append((factor, fine))
    log_light = np.log(ground.light)
    covered = cover.share > 0.01
    haze = np.float32(climate.haze) * (
        1 + np.float32(0.025) * fractal(shape, 1.6, rng, longest=900)
    )
    raw = {}
    for i, band in enumerate(measured.bands):

        def signal(codes: Codes, where: tuple[slice, ...] | np.ndarray, i: int = i) -> Floats:
            logs = mean[codes, i] + measured.shade_exponent[i] * log_light[where]
            for factor, field in parts:
                logs += factor[i, codes] * field[where]
            return np.asarray(np.exp(logs), np.float32)

        seen = signal(cover.base, np.s_[:, :])
        over, share = signal(cover.over[covered], covered), cover.share[covered]
        seen[covered] += share * (over - seen[covered])
        seen = ndimage.gaussian_filter(seen, SPREAD_PX)
        air = measured.path_dn[i] + measured.path_per_km[i] * ground.dem_m / 1000
        raw[band] = in_blocks(seen + np.maximum(air, 0) * haze, band)
    raw["B9"], raw["B10"] = _vapour_and_cirrus(raw["B8"], ground.dem_m, measured, rng)
    return raw


def in_blocks(field: Floats, band: str) -> Floats:
    """Average over the band's own pixels, and repeat the mean in each of them."""
    size = round(BY_NAME[band].native_m / PIXEL_M)
    if size == 1:
        return field
    ny, nx = field.shape
    padded = np.pad(field, ((0, -ny % size), (0, -nx % size)), mode="edge")
    high, wide = padded.shape
    means = padded.reshape(high // size, size, wide // size, size).mean((1, 3))
    return np.repeat(np.repeat(means, size, 0), size, 1)[:ny, :nx]


def _vapour_and_cirrus(
    b8: Floats, dem_m: Floats, measured: Measured, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """B9 is B8 through water vapour, B10 sees next to nothing but high ground."""
    height = dem_m / np.float32(1000)
    wet = rng.normal(0, 0.04) + np.interp(height, measured.knots_km, measured.log_b9_over_b8)
    wet += 0.25 * (height - np.clip(height, measured.knots_km[0], measured.knots_km[-1]))
    haze = fractal(dem_m.shape, 1.2, rng, longest=360)
    cirrus = np.log(np.interp(height, measured.knots_km, measured.b10_dn))
    cirrus += np.clip(0.10 * (height - 1), 0.03, 0.3) * haze
    cirrus += 0.1 * rng.standard_normal(dem_m.shape)
    return in_blocks((b8 * np.exp(wet)).astype(np.float32), "B9"), in_blocks(np.exp(cirrus), "B10")
