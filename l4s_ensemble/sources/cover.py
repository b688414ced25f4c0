"""What grows and stands on the ground of a made-up scene: a class and an overlay for each cell.

The base class follows elevation, aspect, drainage and slope. The overlay, with a share, holds
what is thinner than a cell or lies on top: river gravel, roads, roofs, rock, landslides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.measured import Measured
from l4s_ensemble.sources.noise import Floats, enlarge, fractal, sigmoid

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Ground:
    """The shape of the ground on 10 m cells, each (y, x) float32.

    Attributes
    ----------
    dem_m, slope_deg, light, above_river_m, bed
        Elevation, slope, relative illumination, height above the channel, share
        of river gravel.
    """

    dem_m: Floats
    slope_deg: Floats
    light: Floats
    above_river_m: Floats
    bed: Floats


@dataclass(frozen=True)
class Cover:
    """Classes on 10 m cells (y, x).

    Attributes
    ----------
    base, over : ndarray of uint8
        Codes of the measured classes.
    share : ndarray of float32
        Share of the overlay, 0 to 1.
    """

    base: Codes
    over: Codes
    share: Floats


def make_cover(
    ground: Ground,
    bare_slide: Floats,
    climate: Climate,
    measured: Measured,
    rng: np.random.Generator,
) -> Cover:
    """Choose base class and overlay of every cell."""
    base, needles = _vegetation(ground, climate, measured, rng)
    over = np.full(base.shape, measured.code("gravel"))
    share = np.clip(ground.bed, 0, 1)
    lively = sigmoid(2.5 * (_smooth(base.shape, 1.4, 90, rng) + 0.5))
    share *= np.maximum(lively, (ground.bed > 0.95) * np.float32(0.9))
    _put(over, share, measured.code("field"), _roads(ground, climate, rng))
    _farms(base, over, share, ground, climate, measured, rng)
    _put(over, share, measured.code("slide"), _rock(ground, climate, rng))
    _put(over, share, measured.code("slide"), bare_slide)
    _put(over, share, measured.code("conifer"), needles)
    return Cover(base, over, share)


def _smooth(
    shape: tuple[int, int], slope: float, longest_px: float, rng: np.random.Generator, cell: int = 4
) -> Floats:
    """Fractal field on `shape`, made on cells `cell` times as large and interpolated."""
    small = (shape[0] // cell + 2, shape[1] // cell + 2)
    return enlarge(fractal(small, slope, rng, longest=longest_px / cell), shape, 1.0 / cell)


def _put(over: Codes, share: Floats, code: np.uint8, layer: Floats) -> None:
    """Lay `layer` over what is there, in place, where its share is larger."""
    more = layer > share
    over[more] = code
    share[more] = layer[more]


def _vegetation(
    ground: Ground, climate: Climate, measured: Measured, rng: np.random.Generator
) -> tuple[Codes, Floats]:
    """Forest by elevation, scrub where it is disturbed, grass above the trees and on dry slopes.

    Returns the classes, and the share of conifers where forest is broadleaved.
    """
    shape = ground.dem_m.shape
    broad = _smooth(shape, 1.3, 120, rng)
    fine = _smooth(shape, 1.0, 24, rng, cell=2)
    mixed = 0.8 * broad + 0.5 * fine
    base = np.full(shape, measured.code("broadleaf"))
    needles = sigmoid((ground.dem_m + 150 * mixed - 1900) / 160)
    opened = mixed + 0.9 * np.exp(-ground.above_river_m / 25) - 0.02 * (ground.slope_deg - 25)
    base[opened > 1.15] = measured.code("shrub")
    sunny = np.clip(ground.light - 0.9, -0.6, 0.6)
    dry = 1.1 * _smooth(shape, 1.5, 160, rng) + 2.0 * sunny + 0.35 * fine
    dry += 0.0035 * (ground.dem_m - climate.tree_line_m).clip(-900, 900)
    share = 0.01 + 0.16 * climate.dryness
    level = max(float(np.quantile(dry[::4, ::4], 1 - share)), 1.2)
    base[dry > level] = measured.code("grass")
    base[(dry > level - 0.35) & (dry <= level)] = measured.code("shrub")
    forest = base == measured.code("broadleaf")
    base[forest & (needles > 0.97)] = measured.code("conifer")
    return base, needles * (base == measured.code("broadleaf"))


def _roads(ground: Ground, climate: Climate, rng: np.random.Generator) -> Floats:
    """Mountain roads keep their height above the river: a contour line, thinner than a cell."""
    from scipy import ndimage

    shape = ground.above_river_m.shape
    coarse = ndimage.gaussian_filter(np.ascontiguousarray(ground.above_river_m[1::3, 1::3]), 1.3)
    coarse += np.float32(12) * fractal(coarse.shape, 1.6, rng, longest=70)
    gy, gx = np.gradient(coarse, np.float32(3))
    fall = enlarge(np.hypot(gy, gx) + np.float32(0.3), shape, 1 / 3)
    height = enlarge(coarse, shape, 1 / 3)
    near = np.abs(height - np.float32(rng.uniform(15, 160)))
    near = np.minimum(near, np.abs(height - np.float32(rng.uniform(15, 160))))
    road = np.clip(np.float32(0.9) - near / fall, 0, 0.75)
    used = _smooth(shape, 1.4, 240, rng) + 1.6 * climate.settled - 1.5
    return np.asarray(road * ((used > 0) & (ground.slope_deg < 40)), dtype=np.float32)


def _rock(ground: Ground, climate: Climate, rng: np.random.Generator) -> Floats:
    """Cliffs show rock: bare, steep, and no landslide."""
    steep = float(np.quantile(ground.slope_deg[::4, ::4], 0.97))
    rough = _smooth(ground.dem_m.shape, 1.1, 40, rng, cell=2)
    score = 0.16 * (ground.slope_deg - steep) + rough - 1.9 + 0.6 * climate.dryness
    return np.asarray(np.clip(score, 0, 0.85), dtype=np.float32)


def _farms(
    base: Codes,
    over: Codes,
    share: Floats,
    ground: Ground,
    climate: Climate,
    measured: Measured,
    rng: np.random.Generator,
) -> None:
    """Parcels on gentle ground: crops, bare fields, foil and roofs; in place."""
    shape = base.shape
    used = 0.9 * _smooth(shape, 1.2, 150, rng) - 0.11 * (ground.slope_deg - 13)
    used -= 0.006 * np.clip(ground.above_river_m, 0, 400)
    farmed = (used + 1.4 * climate.settled > 1.2) & (ground.bed < 0.3)
    if not farmed.any():
        return
    y, x = np.nonzero(farmed)
    bend = 9 * _smooth(shape, 1.6, 80, rng)[farmed]
    angle = rng.uniform(0, np.pi)
    u = np.cos(angle) * x + np.sin(angle) * y + bend
    v = -np.sin(angle) * x + np.cos(angle) * y - bend
    row = np.floor(v / rng.uniform(4, 6)).astype(np.int64)
    shift = _hash(row, 7) * 5
    column = np.floor((u + shift) / rng.uniform(6, 10)).astype(np.int64)
    lot = _hash(row * 92_821 + column, 1)
    lively = np.clip(used[farmed] + 1.4 * climate.settled - 1.2, 0, 1)
    kind = np.full(len(y), measured.code("shrub"))
    kind[lot < 0.28] = measured.code("field")
    kind[lot > 0.80] = measured.code("broadleaf")
    base[farmed] = kind
    roofs = (_hash(row * 31 + column * 17, 3) < 0.10) & (lively > 0.15)
    layer = np.zeros(shape, np.float32)
    layer[y[roofs], x[roofs]] = 0.2 + 0.8 * _hash(y[roofs] * 7919 + x[roofs], 5)
    _put(over, share, measured.code("bright"), layer)


def _hash(value: NDArray[np.int64], salt: int) -> Floats:
    """Uniform number in 0 to 1 that depends on an integer alone (splitmix64's finaliser)."""
    h = value.astype(np.uint64) + np.uint64(salt * 0x9E3779B9)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return np.asarray((h >> np.uint64(40)) / np.float64(2**24), dtype=np.float32)
