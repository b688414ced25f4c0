"""What differs from scene to scene: relief, season, sun, haze, clouds, and how the ground slid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Climate:
    """The settings of one scene, drawn by `draw`.

    Attributes
    ----------
    lowest_m : float
        Elevation of the lowest point.
    steepness : float
        Median of the tangent of slope.
    river_km2 : float
        Land that the trunk river drains outside the scene.
    plains_m : float
        Height of the valley fill above the rivers, metres.
    tree_line_m : float
        Elevation where forest gives way to grass.
    dryness : float
        0 to 1: how much of the sunny slopes is bare and brown.
    settled : float
        0 to 1: share of the flat ground under fields and roofs.
    sun_azimuth_deg, sun_elevation_deg : float
        Clockwise from north, which is up; above the horizon.
    haze : float
        Path signal relative to the measured one.
    cloud : float
        Share of the scene under clouds.
    freshness : float
        Mean share of bare ground in a landslide.
    slide_share : float
        Share of the scene's pixels that are labelled landslide.
    slide_extent : float
        Share of the scene where landslides may start: the struck area.
    """

    lowest_m: float
    steepness: float
    river_km2: float
    plains_m: float
    tree_line_m: float
    dryness: float
    settled: float
    sun_azimuth_deg: float
    sun_elevation_deg: float
    haze: float
    cloud: float
    freshness: float
    slide_share: float
    slide_extent: float


def draw(rng: np.random.Generator) -> Climate:
    """Draw the settings of one scene."""
    high = rng.random() < 0.4
    return Climate(
        lowest_m=float(rng.uniform(1500, 2900) if high else rng.uniform(60, 900)),
        steepness=float(np.tan(np.radians(rng.uniform(25, 33)))),
        river_km2=float(np.exp(rng.uniform(np.log(15), np.log(300)))),
        plains_m=float(rng.uniform(4, 30)),
        tree_line_m=float(rng.uniform(2900, 3700)),
        dryness=float(rng.beta(1.2, 4.0)),
        settled=float(0.15 * rng.random() if high else rng.uniform(0.2, 0.7)),
        sun_azimuth_deg=float(rng.uniform(115, 170)),
        sun_elevation_deg=float(rng.uniform(36, 60)),
        haze=float(np.exp(0.06 * rng.standard_normal())),
        cloud=float(rng.choice([0.0, 0.0, 0.01, 0.03])),
        freshness=float(rng.uniform(0.80, 0.98)),
        slide_share=float(0.0215 * np.exp(np.clip(0.25 * rng.standard_normal(), -0.4, 0.4))),
        slide_extent=float(rng.uniform(0.27, 0.41)),
    )
