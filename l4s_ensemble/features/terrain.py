"""Terrain from elevation in metres: first and second derivatives, position, relief, ruggedness.

Elevations are whole metres. Every derivative is one of smoothed elevation, else steps of one metre
make the curvature. In formulas p, q are the rises to the east and north, r, s, t the second
derivatives east-east, east-north, north-north. North is up (towards row 0), east to the right.
Curvatures are positive where the surface is convex.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

SIGMA_PX = 1.5
"""Gaussian that the elevation is smoothed with."""

_SMOOTH_PX = 6
_SLOPE_PX = _SMOOTH_PX + 1
_FLAT = np.float32(1e-6)
_CURVATURE_BOUND = np.float32(200.0)

_HORN = "Horn 1981, doi:10.1109/PROC.1981.11918"
_ZT = "Zevenbergen & Thorne 1987, doi:10.1002/esp.3290120107; Mitasova & Hofierka 1993"
_WEISS = "Weiss 2001, topographic position index"
_AMATULLI = "Amatulli et al. 2018, doi:10.1038/sdata.2018.40"


def _neighbours(picture: FloatImage) -> tuple[FloatImage, ...]:
    """Give the eight neighbours: nw, n, ne, w, e, sw, s, se; edges repeat."""
    z = np.pad(picture, 1, mode="edge")
    return (
        z[:-2, :-2], z[:-2, 1:-1], z[:-2, 2:], z[1:-1, :-2],
        z[1:-1, 2:], z[2:, :-2], z[2:, 1:-1], z[2:, 2:],
    )  # fmt: skip


def _smooth(canvas: Canvas) -> FloatImage:
    return canvas.gaussian_field("dem", SIGMA_PX)


def _east(canvas: Canvas) -> FloatImage:
    nw, _, ne, w, e, sw, _, se = _neighbours(canvas.field("dem"))
    return ((ne + 2 * e + se) - (nw + 2 * w + sw)) / np.float32(8 * canvas.pixel_m)


def _north(canvas: Canvas) -> FloatImage:
    nw, n, ne, _, _, sw, s, se = _neighbours(canvas.field("dem"))
    return ((nw + 2 * n + ne) - (sw + 2 * s + se)) / np.float32(8 * canvas.pixel_m)


def _east_east(canvas: Canvas) -> FloatImage:
    z = canvas.field("dem")
    _, _, _, w, e, _, _, _ = _neighbours(z)
    return ((e - z) + (w - z)) / np.float32(canvas.pixel_m**2)


def _north_north(canvas: Canvas) -> FloatImage:
    z = canvas.field("dem")
    _, n, _, _, _, _, s, _ = _neighbours(z)
    return ((n - z) + (s - z)) / np.float32(canvas.pixel_m**2)


def _east_north(canvas: Canvas) -> FloatImage:
    nw, _, ne, _, _, sw, _, se = _neighbours(canvas.field("dem"))
    return ((ne - nw) + (sw - se)) / np.float32(4 * canvas.pixel_m**2)


def _normal_up(canvas: Canvas) -> FloatImage:
    steep = np.square(canvas.field("rise_east")) + np.square(canvas.field("rise_north"))
    up: FloatImage = 1 / np.sqrt(1 + steep)
    return up


def _slope(canvas: Canvas) -> FloatImage:
    rise = np.hypot(canvas.value("rise_east"), canvas.value("rise_north"))
    slope: FloatImage = np.degrees(np.arctan(rise))
    return slope


def fields() -> list[Field]:
    """Pictures that the features of this group share."""
    dem = ("dem",)
    # Differencing and smoothing commute. Differences of whole metres are exact in float32, those
    # of smoothed elevations of 3000 m are not: so differences come first.
    raw = {
        "dem_p": _east, "dem_q": _north, "dem_r": _east_east, "dem_s": _east_north,
        "dem_t": _north_north,
    }  # fmt: skip
    return [
        Field("dem_smooth", dem, _SMOOTH_PX, _smooth, "m"),
        *(Field(name, dem, 1, image) for name, image in raw.items()),
        Field("rise_east", dem, _SLOPE_PX, lambda c: c.gaussian_field("dem_p", SIGMA_PX)),
        Field("rise_north", dem, _SLOPE_PX, lambda c: c.gaussian_field("dem_q", SIGMA_PX)),
        Field("normal_up", dem, _SLOPE_PX, _normal_up),
        Field("eastness", dem, _SLOPE_PX, lambda c: -c.field("rise_east") * c.field("normal_up")),
        Field("northness", dem, _SLOPE_PX, lambda c: -c.field("rise_north") * c.field("normal_up")),
    ]


class _Surface:
    """First and second derivatives of the smoothed elevation on the core, in 1 and 1/m."""

    def __init__(self, canvas: Canvas) -> None:
        self.p, self.q = canvas.value("rise_east"), canvas.value("rise_north")
        self.r, self.s, self.t = (canvas.gaussian(f"dem_{d}", SIGMA_PX) for d in "rst")
        self.rise2 = self.p**2 + self.q**2

    def along(self) -> FloatImage:
        """Second derivative down the slope, times the squared rise."""
        p, q = self.p, self.q
        return p * p * self.r + 2 * p * q * self.s + q * q * self.t

    def across(self) -> FloatImage:
        """Second derivative along the contour, times the squared rise."""
        p, q = self.p, self.q
        return q * q * self.r - 2 * p * q * self.s + p * p * self.t


def _per_km(curvature: FloatImage) -> FloatImage:
    return np.clip(1000 * curvature, -_CURVATURE_BOUND, _CURVATURE_BOUND)


def _profile(canvas: Canvas) -> FloatImage:
    k = _Surface(canvas)
    return _per_km(-k.along() / (np.maximum(k.rise2, _FLAT) * (1 + k.rise2) ** 1.5))


def _tangential(canvas: Canvas) -> FloatImage:
    k = _Surface(canvas)
    return _per_km(-k.across() / (np.maximum(k.rise2, _FLAT) * np.sqrt(1 + k.rise2)))


def _plan(canvas: Canvas) -> FloatImage:
    k = _Surface(canvas)
    return _per_km(-k.across() / np.maximum(k.rise2, _FLAT) ** 1.5)


def _laplace(canvas: Canvas) -> FloatImage:
    k = _Surface(canvas)
    return _per_km(-0.5 * (k.r + k.t))


def _vector_ruggedness(canvas: Canvas, edge: int) -> FloatImage:
    length2 = sum(
        np.square(canvas.mean(name, edge)) for name in ("eastness", "northness", "normal_up")
    )
    return 1 - np.sqrt(np.minimum(np.asarray(length2, np.float32), 1))


def _relative_height(canvas: Canvas, edge: int) -> FloatImage:
    low, high = canvas.lowest("dem_smooth", edge), canvas.highest("dem_smooth", edge)
    return (canvas.value("dem_smooth") - low) / np.maximum(high - low, np.float32(1))


def _position(edge: int) -> Recipe:
    return _recipe(
        f"tpi_{edge}_m", "m", f"dem − mean dem in {edge} px", _WEISS, _SMOOTH_PX + edge // 2,
        lambda c: c.value("dem_smooth") - c.mean("dem_smooth", edge),
    )  # fmt: skip


def _relief(edge: int) -> Recipe:
    return _recipe(
        f"relief_{edge}_m", "m", f"max − min of dem in {edge} px", "local relief",
        _SMOOTH_PX + edge // 2,
        lambda c: c.highest("dem_smooth", edge) - c.lowest("dem_smooth", edge),
    )  # fmt: skip


def _ruggedness(edge: int) -> Recipe:
    return _recipe(
        f"ruggedness_{edge}", "1", f"1 − |mean surface normal in {edge} px|",
        "Sappington et al. 2007, doi:10.2193/2005-723", _SLOPE_PX + edge // 2,
        lambda c: _vector_ruggedness(c, edge),
    )  # fmt: skip


def recipes() -> list[Recipe]:
    """The group ``terrain``."""
    out = [
        Recipe(
            Feature("slope_deg", "terrain", "degree", ("slope",), "slope", "band of the file", 0),
            lambda c: c.value("slope"),
        ),
        _recipe(
            "slope_dem_deg", "degree", "arctan √(p² + q²)", _HORN, _SLOPE_PX, _slope,
        ),
        _recipe(
            "northness", "1", "cos(aspect) sin(slope)", _AMATULLI, _SLOPE_PX,
            lambda c: c.value("northness"),
        ),
        _recipe(
            "eastness", "1", "sin(aspect) sin(slope)", _AMATULLI, _SLOPE_PX,
            lambda c: c.value("eastness"),
        ),
        _recipe(
            "curv_profile_per_km", "1/km",
            "−(p² r + 2 p q s + q² t) / ((p² + q²) (1 + p² + q²)^1.5)", _ZT, _SLOPE_PX, _profile,
        ),
        _recipe(
            "curv_tangential_per_km", "1/km",
            "−(q² r − 2 p q s + p² t) / ((p² + q²) (1 + p² + q²)^0.5)", _ZT, _SLOPE_PX, _tangential,
        ),
        _recipe(
            "curv_plan_per_km", "1/km", "−(q² r − 2 p q s + p² t) / (p² + q²)^1.5, clipped to ±200",
            _ZT, _SLOPE_PX, _plan,
        ),
        _recipe("curv_mean_per_km", "1/km", "−(r + t) / 2", _ZT, _SLOPE_PX, _laplace),
    ]  # fmt: skip
    out += [_position(edge) for edge in (7, 21, 61)]
    out += [_relief(edge) for edge in (9, 33)]
    out += [_ruggedness(edge) for edge in (9, 33)]
    out += [
        _recipe(
            "above_low_65_m", "m", "dem − min dem in 65 px", "height above the valley floor nearby",
            _SMOOTH_PX + 32, lambda c: c.value("dem_smooth") - c.lowest("dem_smooth", 65),
        ),
        _recipe(
            "relative_height_65", "1", "(dem − min) / (max − min) in 65 px, at least 1 m apart",
            "elevation relief ratio, Pike & Wilson 1971", _SMOOTH_PX + 32,
            lambda c: _relative_height(c, 65),
        ),
    ]  # fmt: skip
    return out


def _recipe(
    name: str,
    unit: str,
    formula: str,
    source: str,
    support_px: int,
    image: Callable[[Canvas], FloatImage],
) -> Recipe:
    feature = Feature(name, "terrain", unit, ("dem",), formula, source, support_px)
    return Recipe(feature, image)
