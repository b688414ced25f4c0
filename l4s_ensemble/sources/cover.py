"""Land cover of a synthetic scene: a class and an overlay for each pixel.

The base class follows elevation, light, height above the river and slope. The overlay, with a
share, holds what is thinner than a pixel or lies on top: gravel, roofs, rock, landslides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.fields import Floats, fractal
from l4s_ensemble.sources.measured import Measured
from l4s_ensemble.sources.terrain import Terrain

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Cover:
    """Classes of each pixel (y, x)."""

    base: Codes  # codes of the measured classes
    over: Codes
    share: Floats  # of the overlay, 0 to 1

    def put(self, code: np.uint8, layer: Floats) -> None:
        """Set the overlay, in place, where the share of `layer` is larger."""
        more = layer > self.share
        self.over[more] = code
        self.share[more] = layer[more]


def make_cover(
    ground: Terrain, bare: Floats, climate: Climate, measured: Measured, rng: np.random.Generator
) -> Cover:
    """Choose base class and overlay of every pixel; `bare` is the share bared by landslides."""
    shape = ground.dem_m.shape
    code = measured.code
    base, needles = _vegetation(ground, climate, measured, rng)
    lively = expit(2.5 * (fractal(shape, 1.4, rng, longest=90) + 0.8))
    cover = Cover(base, np.full(shape, code("gravel")), ground.bed * lively)
    _farms(cover, ground, climate, measured, rng)
    steep = float(np.quantile(ground.slope_deg[::4, ::4], 0.97))
    rock = 0.16 * (ground.slope_deg - steep) + fractal(shape, 1.1, rng, longest=40) - 1.9
    cover.put(code("landslide"), np.clip(rock + 0.6 * climate.dryness, 0, 0.85).astype(np.float32))
    cover.put(code("landslide"), bare)
    cover.put(code("conifer"), needles)
    return cover


def _vegetation(
    ground: Terrain, climate: Climate, measured: Measured, rng: np.random.Generator
) -> tuple[Codes, Floats]:
    """Forest by elevation, scrub where it is disturbed, grass above the trees and on dry slopes.

    Returns the classes, and the share of conifers where forest is broadleaved.
    """
    shape = ground.dem_m.shape
    fine = fractal(shape, 1.0, rng, longest=24)
    mixed = 0.8 * fractal(shape, 1.3, rng, longest=120) + 0.5 * fine
    base = np.full(shape, measured.code("broadleaf"))
    needles = expit((ground.dem_m + 150 * mixed - 1900) / 160).astype(np.float32)
    opened = mixed + 0.9 * np.exp(-ground.above_river_m / 25) - 0.02 * (ground.slope_deg - 25)
    base[opened > 1.15] = measured.code("shrub")
    sunny = np.clip(ground.light - 0.9, -0.6, 0.6)
    dry = 1.1 * fractal(shape, 1.5, rng, longest=160) + 2.0 * sunny + 0.35 * fine
    dry += 0.0035 * (ground.dem_m - climate.tree_line_m).clip(-900, 900)
    level = max(float(np.quantile(dry[::4, ::4], 0.99 - 0.16 * climate.dryness)), 1.2)
    base[dry > level - 0.35] = measured.code("shrub")
    base[dry > level] = measured.code("grass")
    forest = base == measured.code("broadleaf")
    base[forest & (needles > 0.97)] = measured.code("conifer")
    return base, needles * (base == measured.code("broadleaf"))


def _farms(
    cover: Cover, ground: Terrain, climate: Climate, measured: Measured, rng: np.random.Generator
) -> None:
    """Parcels on gentle ground, in place: crops, bare fields, foil and roofs."""
    shape = cover.base.shape
    used = 0.9 * fractal(shape, 1.2, rng, longest=150) - 0.11 * (ground.slope_deg - 13)
    used += 1.4 * climate.settled - 1.2 - 0.006 * np.clip(ground.above_river_m, 0, 400)
    y, x = np.nonzero((used > 0) & (ground.bed < 0.3))
    bend = 9 * fractal(shape, 1.6, rng, longest=80)[y, x]
    angle = rng.uniform(0, np.pi)
    row = (np.cos(angle) * y - np.sin(angle) * x - bend) // rng.uniform(4, 6)
    column = (np.cos(angle) * x + np.sin(angle) * y + bend) // rng.uniform(6, 10)
    lot = rng.random(9973)[(row * 577 + column).astype(np.int64) % 9973]
    kind = np.full(len(y), measured.code("shrub"))
    kind[lot < 0.28] = measured.code("field")
    kind[lot > 0.80] = measured.code("broadleaf")
    cover.base[y, x] = kind
    roofs = (lot * 10 % 1 < 0.10) & (used[y, x] > 0.15)
    layer = np.zeros(shape, np.float32)
    layer[y[roofs], x[roofs]] = rng.uniform(0.2, 1.0, int(roofs.sum()))
    cover.put(measured.code("bright"), layer)
