"""Properties that differ between synthetic scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Climate:
    """Properties of a scene; `draw` draws them."""

    lowest_m: float  # elevation of the lowest point
    steepness: float  # median of the tangent of slope
    river_px: float  # half the width of the river's bed
    plain_px: float  # half the width of the plain beside it
    tree_line_m: float  # elevation where forest gives way to grass
    dryness: float  # 0 to 1: how much of the sunny slopes is bare and brown
    settled: float  # 0 to 1: share of the flat ground under fields and roofs
    sun_azimuth_deg: float  # clockwise from north, which is up
    sun_elevation_deg: float
    haze: float  # path signal relative to the measured one
    freshness: float  # mean share of bare ground in a landslide
    landslide_share: float  # share of the pixels that are labelled landslide
    landslide_extent: float  # share of the scene where landslides may start: the struck area


def draw(rng: np.random.Generator) -> Climate:
    """Draw the properties of a scene."""
    high = rng.random() < 0.4
    return Climate(
        lowest_m=float(rng.uniform(1500, 2900) if high else rng.uniform(60, 900)),
        steepness=float(np.tan(np.radians(rng.uniform(23, 29)))),
        river_px=float(np.exp(rng.uniform(np.log(1), np.log(4)))),
        plain_px=float(rng.uniform(6, 22)),
        tree_line_m=float(rng.uniform(2900, 3700)),
        dryness=float(rng.beta(1.2, 4.0)),
        settled=float(0.15 * rng.random() if high else rng.uniform(0.2, 0.7)),
        sun_azimuth_deg=float(rng.uniform(115, 170)),
        sun_elevation_deg=float(rng.uniform(36, 60)),
        haze=float(np.exp(0.06 * rng.standard_normal())),
        freshness=float(rng.uniform(0.80, 0.98)),
        landslide_share=float(0.0215 * np.exp(np.clip(0.25 * rng.standard_normal(), -0.4, 0.4))),
        landslide_extent=float(rng.uniform(0.27, 0.41)),
    )
