"""Terrain: slope as given, and curvature and position from elevation in metres.

Elevations are whole metres. Every derivative is one of smoothed elevation, else steps of one metre
make the curvature. In formulas p, q are the rises to the east and north, r, s, t the second
derivatives east-east, east-north, north-north. North is up (towards row 0), east to the right.
Curvatures are positive where the surface is convex.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.tile_context import FeatureFunction, Field, TileContext
from l4s_ensemble.features.window import FloatImage

SIGMA_PX = 1.5
"""Gaussian that the elevation is smoothed with."""

_SMOOTH_PX = 6
_CURVED_PX = _SMOOTH_PX + 1
_FLAT = np.float32(1e-6)
_CURVATURE_BOUND = np.float32(200.0)

_ZT = "Zevenbergen & Thorne 1987, doi:10.1002/esp.3290120107; Mitasova & Hofierka 1993"
_WEISS = "Weiss 2001, topographic position index"

SLOPE = Words("slope", "slope", "flat")
CURVATURE = Words("curvature", "bulging ground", "hollow ground")
POSITION = Words("ridge or hollow", "ridge", "hollow")
ELEVATION = Words("elevation", "high ground", "low ground")


def _derivative(context: TileContext, which: str) -> FloatImage:
    """First (p, q) or second (r, s, t) derivative of the elevation, over the whole context.

    Beyond the edge the elevation repeats.
    """
    metres = context.pixel_m
    wide = np.pad(context.field("dem"), 1, mode="edge")
    (nw, n, ne), (w, z, e), (sw, s, se) = (
        (row[:, :-2], row[:, 1:-1], row[:, 2:]) for row in (wide[:-2], wide[1:-1], wide[2:])
    )
    if which == "p":
        return ((ne + 2 * e + se) - (nw + 2 * w + sw)) / np.float32(8 * metres)
    if which == "q":
        return ((nw + 2 * n + ne) - (sw + 2 * s + se)) / np.float32(8 * metres)
    if which == "r":
        return ((e - z) + (w - z)) / np.float32(metres**2)
    if which == "t":
        return ((n - z) + (s - z)) / np.float32(metres**2)
    return ((ne - nw) + (sw - se)) / np.float32(4 * metres**2)


def fields() -> list[Field]:
    """Pictures that the features of this group share."""
    dem = ("dem",)
    # Differencing and smoothing commute. Differences of whole metres are exact in float32, those
    # of smoothed elevations of 3000 m are not: so differences come first.
    return [
        Field(
            "dem_smooth",
            dem,
            _SMOOTH_PX,
            lambda c: c.gaussian_field("dem", SIGMA_PX),
            ELEVATION,
            "m",
            relational=True,
        ),
        *(
            Field(f"dem_{d}", dem, 1, lambda c, d=d: _derivative(c, d), ELEVATION)  # type: ignore[misc]
            for d in "pqrst"
        ),
    ]


def _rises(context: TileContext) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Rise to the east and north, and its square, of the smoothed elevation on the core."""
    p, q = (context.gaussian(f"dem_{d}", SIGMA_PX) for d in "pq")
    return p, q, p * p + q * q


def _per_km(curvature: FloatImage) -> FloatImage:
    return np.clip(1000 * curvature, -_CURVATURE_BOUND, _CURVATURE_BOUND)


def _profile(context: TileContext) -> FloatImage:
    p, q, rise2 = _rises(context)
    r, s, t = (context.gaussian(f"dem_{d}", SIGMA_PX) for d in "rst")
    along = p * p * r + 2 * p * q * s + q * q * t
    steep = 1 + rise2
    return _per_km(-along / (np.maximum(rise2, _FLAT) * steep * np.sqrt(steep)))


def _plan(context: TileContext) -> FloatImage:
    p, q, rise2 = _rises(context)
    r, s, t = (context.gaussian(f"dem_{d}", SIGMA_PX) for d in "rst")
    across = q * q * r - 2 * p * q * s + p * p * t
    steep = np.maximum(rise2, _FLAT)
    return _per_km(-across / (steep * np.sqrt(steep)))


def _function(
    name: str,
    unit: str,
    band: str,
    formula: str,
    source: str,
    support_px: int,
    words: Words,
    image: Callable[[TileContext], FloatImage],
) -> FeatureFunction:
    feature = Feature(
        name, "terrain", unit, (band,), formula, source, support_px, words, relational=True
    )
    return FeatureFunction(feature, image)


def _position(edge: int) -> FeatureFunction:
    return _function(
        f"tpi_{edge}_m", "m", "dem", f"dem − mean dem in {edge} px", _WEISS,
        _SMOOTH_PX + edge // 2, POSITION,
        lambda c: c.value("dem_smooth") - c.mean("dem_smooth", edge),
    )  # fmt: skip


def functions(_known: dict[str, Field]) -> list[FeatureFunction]:
    """The group ``terrain``."""
    return [
        _function(
            "slope_deg", "degree", "slope", "slope", "band of the file", 0, SLOPE,
            lambda c: c.value("slope"),
        ),
        _function(
            "curv_profile_per_km", "1/km", "dem",
            "−(p² r + 2 p q s + q² t) / ((p² + q²) (1 + p² + q²)^1.5), clipped to ±200",
            _ZT, _CURVED_PX, CURVATURE, _profile,
        ),
        _function(
            "curv_plan_per_km", "1/km", "dem",
            "−(q² r − 2 p q s + p² t) / (p² + q²)^1.5, clipped to ±200",
            _ZT, _CURVED_PX, CURVATURE, _plan,
        ),
        _position(7),
        _position(21),
    ]  # fmt: skip
