"""Water on the terrain: flow accumulation, wetness, height above the drainage.

Everywhere else these are global: a river knows its whole basin. Here each path has a bounded
number of pixels, so a feature depends on its surroundings only, and never on where a tile was cut.
Water is shared among all lower neighbours and the drainage has a soft edge, so a small change of
elevation is a small change of the feature: one steepest way would jump on whole metres.

Flat ground, and a plateau of whole metres wider than the smoothing, gives no water away: there
contributing area is the pixel itself, and height above drainage and way to it are 0. A pit keeps
what it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from l4s_ensemble.features import flow_kernels, kernels
from l4s_ensemble.features.canvas import exact_gaussian_weights
from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe
from l4s_ensemble.features.terrain import SIGMA_PX

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

UPSLOPE_PX = 16
"""Longest path from above, pixels. On real tiles 24 and 32 tell slides from the rest less well."""

DOWNSLOPE_PX = 24
"""Longest path to the drainage, pixels."""

DRAINAGE_M2 = (5e3, 1e4)
"""Water stops nowhere below the first contributing area, and always above the second.

A plane has (1 + 16) × 100 m², so this is where slopes converge.
"""

SEEP = 2e-3
"""Slope, m/m, at which half of the water stays; see `flow_kernels.flow_shares`."""

LEAST_SLOPE = np.float32(0.02)
"""Floor of the slope, m/m, in ratios."""

_SMOOTH_PX = 6
SUPPORT_PX = _SMOOTH_PX + UPSLOPE_PX + DOWNSLOPE_PX
"""Of every feature here. Those that look upslope only need less, but all share one computation.

Whether water stops is asked up to one pixel before the end of a way. From there it is 16 px up, and
one more to the neighbours of the last of them, whose elevation decides its shares.
"""

_QUINN = "Quinn et al. 1991, doi:10.1002/hyp.3360050106; paths bounded"
_BEVEN = "Beven & Kirkby 1979, doi:10.1080/02626667909491834"
_MOORE = "Moore et al. 1991, doi:10.1002/hyp.3360050103"
_RENNO = "Rennó et al. 2008, doi:10.1016/j.rse.2008.03.018; expected over all ways down"


@dataclass(frozen=True, eq=False)
class Flow:
    """Where water comes from and goes to, on the core; float32 arrays of shape (y, x).

    Attributes
    ----------
    area_m : array
        Contributing area for each metre of contour, m.
    slope : array
        Slope of the ground, m/m, at least `LEAST_SLOPE`.
    upslope : array
        Mean slope of the contributing pixels, m/m.
    height_m : array
        Mean height of the contributing pixels above this one.
    above_m, way_m : array
        Expected height above the drainage, and horizontal way to it.
    gradient : array
        Height above the drainage over the way to it, at least a pixel; m/m.
    """

    area_m: FloatImage
    slope: FloatImage
    upslope: FloatImage
    height_m: FloatImage
    above_m: FloatImage
    way_m: FloatImage
    gradient: FloatImage


def flow(canvas: Canvas) -> Flow:
    """Give the flow on a canvas, which has a margin of at least `SUPPORT_PX`; made once."""
    return canvas.remember(("water", "flow"), lambda: _flow(canvas))


def _inner(picture: FloatImage, cut: int) -> FloatImage:
    return np.ascontiguousarray(picture[cut : picture.shape[0] - cut, cut : picture.shape[1] - cut])


def _flow(canvas: Canvas) -> Flow:
    # A wider canvas costs nothing: only what the core depends on is computed.
    cut = canvas.margin - SUPPORT_PX
    dem = _inner(canvas.field("dem"), cut)
    # Rounding would tell water where to go on flat ground, hence double precision.
    exact = kernels.smooth(dem.astype(np.float64), exact_gaussian_weights(SIGMA_PX))
    shares = flow_kernels.flow_shares(exact, canvas.pixel_m, SEEP)
    metres = exact.astype(np.float32)
    east, north = (_inner(canvas.field(f"rise_{to}"), cut + _SMOOTH_PX) for to in ("east", "north"))
    slope = np.hypot(east, north)
    cells, slopes, falls = flow_kernels.gather_upslope(shares, metres, slope, UPSLOPE_PX, 1)
    low, high = (np.float32(area / canvas.pixel_m**2) for area in DRAINAGE_M2)
    stop = np.clip(np.log(cells / low) / np.log(high / low), 0, 1).astype(np.float32)
    above, way = flow_kernels.follow_downslope(
        shares, metres, stop, DOWNSLOPE_PX, UPSLOPE_PX + 1
    )  # fmt: skip
    cells, slope, slopes, falls, above, way = (
        _inner(picture, SUPPORT_PX - _SMOOTH_PX)
        for picture in (cells, slope, slopes, falls, above, way)
    )
    pixel_m = np.float32(canvas.pixel_m)
    way *= pixel_m
    return Flow(
        area_m=cells * pixel_m,
        slope=np.maximum(slope, LEAST_SLOPE),
        upslope=slopes / cells,
        height_m=falls / cells,
        above_m=above,
        way_m=way,
        gradient=above / np.maximum(way, pixel_m),
    )


def _degrees(slope: FloatImage) -> FloatImage:
    degrees: FloatImage = np.degrees(np.arctan(slope))
    return degrees


def fields() -> list[Field]:
    """Pictures that the features of this group share: none that is of use elsewhere."""
    return []


def recipes() -> list[Recipe]:
    """The group ``water``."""
    up, down = UPSLOPE_PX, DOWNSLOPE_PX
    area = f"area draining to it over up to {up} px per metre of contour"
    return [
        _recipe(
            f"flow_{up}_log_m", "1", f"ln a, a = {area}, m", _QUINN,
            lambda f: np.log(f.area_m),
        ),
        _recipe(
            f"wetness_{up}", "1", f"ln(a / tan slope), slope at least 0.02; a = {area}", _BEVEN,
            lambda f: np.log(f.area_m / f.slope),
        ),
        _recipe(
            f"stream_power_{up}", "1", f"ln(a tan slope), slope at least 0.02; a = {area}", _MOORE,
            lambda f: np.log(f.area_m * f.slope),
        ),
        _recipe(
            f"upslope_slope_{up}_deg", "degree",
            f"arctan of the mean rise of the pixels draining to it over up to {up} px", _QUINN,
            lambda f: _degrees(f.upslope),
        ),
        _recipe(
            f"upslope_height_{up}_m", "m",
            f"mean fall to it from the pixels draining to it over up to {up} px", _QUINN,
            lambda f: f.height_m,
        ),
        _recipe(
            f"above_drainage_{down}_m", "m",
            f"fall to where 0.5 … 1 ha drains, a pit, or {down} px down", _RENNO,
            lambda f: f.above_m,
        ),
        _recipe(
            f"to_drainage_{down}_m", "m",
            f"horizontal way to where 0.5 … 1 ha drains, a pit, or {down} px down", _RENNO,
            lambda f: f.way_m,
        ),
        _recipe(
            f"slope_to_drainage_{down}_deg", "degree",
            "arctan of height above drainage over way to it (at least a pixel)",
            "Hjerdt et al. 2004, doi:10.1029/2004WR003130; down to the drainage",
            lambda f: _degrees(f.gradient),
        ),
    ]  # fmt: skip


def _recipe(
    name: str, unit: str, formula: str, source: str, picture: Callable[[Flow], FloatImage]
) -> Recipe:
    feature = Feature(name, "water", unit, ("dem",), formula, source, SUPPORT_PX)
    return Recipe(feature, lambda canvas: picture(flow(canvas)))
