"""How the sun falls on the terrain, and brightness without it.

The direction of the light is a fact of the scene, estimated without labels (see
`l4s_ensemble.features.facts`); where the scene is unknown, of the tile.

Correction of light by terrain divides by what the ground receives, which is to first order
``exp(gain · cos i)``: i is the angle between the sun and the surface normal. Teillet's C-correction
has ``1 / (cos i + C)`` for it, with the C of a regression in each band (Teillet et al. 1982; on
forested slopes Soenen et al. 2005). That has a pole where a slope is turned away from the sun and
C is small; the exponential has none, and its regression is linear. The gain is fitted on the tile,
drawn to that of a usual sky where slopes are too gentle to tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from l4s_ensemble.features import flow_kernels
from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

HORIZON_PX = 30
"""How far the horizon is looked for."""

DIFFUSE = 0.3
"""Usual C of the C-correction: diffuse light as a share of the direct beam."""

HIGHEST_GAIN = 3.0
"""Bound of the gain. Light without haze from 30° above the horizon has 2 on flat ground."""

_DARKEST = np.float32(1e-3)
_CLIPPED_SHARE = 0.01
_DOUBT = 1e-3
"""Variance of cos i at which the tile and the usual sky count alike: slopes of some degrees."""

_NORMAL_PX = 7
_SMOOTH_PX = 6

_TEILLET = "Teillet et al. 1982, doi:10.1080/07038992.1982.10855028"
_C = f"{_TEILLET}; Soenen et al. 2005, doi:10.1109/TGRS.2005.852480"
_ZAKSEK = "Zakšek et al. 2011, doi:10.3390/rs3020398"
_DOZIER = "Dozier & Frew 1990, doi:10.1109/36.58986, horizon in the direction of the sun"


def sun_cosine(canvas: Canvas) -> FloatImage:
    """Cosine of the angle between the sun and the surface normal, shape (y, x), within ±1."""
    return canvas.remember(("light", "cosine"), lambda: _cosine(canvas))


def _cosine(canvas: Canvas) -> FloatImage:
    east, north, up = (np.float32(v) for v in canvas.facts.sun)
    cosine: FloatImage = (
        east * canvas.value("eastness")
        + north * canvas.value("northness")
        + up * canvas.value("normal_up")
    )
    return cosine


def gain(light: FloatImage, cosine: FloatImage, usual: float) -> float:
    """Slope of log light over cos i, by least squares drawn to a usual value.

    Parameters
    ----------
    light : float32 array
        Log of reflectance. The lowest and the highest percent are clipped.
    cosine : float32 array
        cos i of the same pixels.
    usual : float
        Taken where cos i does not vary.

    Returns
    -------
    float
        Within 0 … `HIGHEST_GAIN`: slopes towards the sun are not darker.
    """
    last = light.size - 1
    ends = [round(_CLIPPED_SHARE * last), round((1 - _CLIPPED_SHARE) * last)]
    low, high = np.partition(light, ends, axis=None)[ends]
    y = np.clip(light, low, high).astype(np.float64)
    x = cosine - np.mean(cosine, dtype=np.float64)
    slope = (np.mean(x * y) + _DOUBT * usual) / (np.mean(x * x) + _DOUBT)
    return float(np.clip(slope, 0, HIGHEST_GAIN))


def without_sun(canvas: Canvas, name: str) -> FloatImage:
    """Light as if all ground faced the sun alike: ``L exp(−gain (cos i − mean cos i))``.

    The mean is that of the tile, so its level stays. The light of level ground as the reference
    would move whole tiles by the error of their sun's height: on real tiles that costs more than
    the correction gains.

    Parameters
    ----------
    canvas : Canvas
    name : str
        A band or field of light, at least 0.

    Returns
    -------
    float32 array, shape (y, x)
        In the unit of the field.
    """
    light = canvas.value(name)
    cosine = sun_cosine(canvas)
    usual = 1 / (canvas.facts.sun[2] + DIFFUSE)
    k = np.float32(gain(np.log(np.maximum(light, _DARKEST)), cosine, usual))
    mean = np.float32(cosine.mean(dtype=np.float64))
    evened: FloatImage = light * np.exp(k * (mean - cosine))
    return evened


def _near(canvas: Canvas, reach: int) -> FloatImage:
    cut = canvas.margin - reach
    metres = canvas.field("dem_smooth")
    return np.ascontiguousarray(metres[cut : metres.shape[0] - cut, cut : metres.shape[1] - cut])


def _sky_view(canvas: Canvas) -> FloatImage:
    return flow_kernels.sky_view(_near(canvas, HORIZON_PX), canvas.pixel_m, HORIZON_PX)


def _sunward(canvas: Canvas) -> FloatImage:
    east, north, _ = canvas.facts.sun
    flat = float(np.hypot(east, north))
    if flat < 1e-3:  # straight above: no side is sunward
        return np.zeros((canvas.height, canvas.width), np.float32)
    near = _near(canvas, HORIZON_PX + 1)
    rise = flow_kernels.horizon_towards(
        near, canvas.pixel_m, east / flat, north / flat, HORIZON_PX
    )  # fmt: skip
    degrees: FloatImage = np.degrees(np.arctan(rise))
    return degrees


def fields() -> list[Field]:
    """Pictures that the features of this group share: none that is of use elsewhere."""
    return []


def recipes() -> list[Recipe]:
    """The group ``light``."""
    visible = ("B2", "B3", "B4")
    return [
        _recipe(
            "sun_cosine", "1", ("dem", *visible), "cos i = sun · surface normal", _TEILLET,
            _NORMAL_PX, sun_cosine, "scene",
        ),
        _recipe(
            f"sunward_horizon_{HORIZON_PX}_deg", "degree", ("dem", *visible),
            f"elevation of the terrain towards the sun within {HORIZON_PX} px, at least 0",
            _DOZIER, _SMOOTH_PX + HORIZON_PX + 1, _sunward, "scene",
        ),
        _recipe(
            f"sky_view_{HORIZON_PX}", "1", ("dem",),
            f"1 − mean sin(elevation of the horizon within {HORIZON_PX} px), 8 directions",
            _ZAKSEK, _SMOOTH_PX + HORIZON_PX, _sky_view, "window",
        ),
        _without_sun("bright", visible),
        _without_sun("B8", ("B8",)),
        _without_sun("B11", ("B11",)),
    ]  # fmt: skip


def _without_sun(name: str, bands: tuple[str, ...]) -> Recipe:
    needs = ("dem", *dict.fromkeys(("B2", "B3", "B4", *bands)))
    return _recipe(
        f"{name.lower()}_without_sun", "1", needs,
        f"{name} exp(−gain (cos i − mean cos i)), gain and mean of the tile", _C,
        _NORMAL_PX, lambda canvas: without_sun(canvas, name), "tile",
    )  # fmt: skip


def _recipe(
    name: str,
    unit: str,
    needs: tuple[str, ...],
    formula: str,
    source: str,
    support_px: int,
    image: Callable[[Canvas], FloatImage],
    scope: Literal["window", "scene", "tile"],
) -> Recipe:
    feature = Feature(name, "light", unit, needs, formula, source, support_px, scope=scope)
    return Recipe(feature, image)
