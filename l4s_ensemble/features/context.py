"""Surroundings of a pixel: means, deviations, contrasts, gradients, extremes at several scales.

A landslide is brighter and barer than what surrounds it, has an edge, and a size. Every feature
here is one operator at one scale on one telling quantity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

_BOX = "square window"
_DOG = "Marr & Hildreth 1980, difference of Gaussians"


def gradient(canvas: Canvas, name: str, sigma: float) -> FloatImage:
    """Size of the gradient of a smoothed field, per pixel, shape (y, x)."""
    near = canvas.gaussian(name, sigma, grow=1)
    down = near[2:, 1:-1] - near[:-2, 1:-1]
    right = near[1:-1, 2:] - near[1:-1, :-2]
    return 0.5 * np.sqrt(down * down + right * right)


_NAMES: dict[str, Callable[[str, float], str]] = {
    "mean": lambda field, scale: f"{field}_mean_{scale:g}",
    "deviation": lambda field, scale: f"{field}_std_{scale:g}",
    "contrast": lambda field, scale: f"{field}_minus_mean_{scale:g}",
    "dog": lambda field, scale: f"{field}_dog_{scale:g}",
    "gradient": lambda field, scale: f"{field}_gradient_{scale:g}",
    "lowest": lambda field, scale: f"{field}_min_{scale:g}",
    "highest": lambda field, scale: f"{field}_max_{scale:g}",
}


def _image(operator: str, field: str, scale: float) -> Callable[[Canvas], FloatImage]:
    edge = int(scale)
    made: dict[str, Callable[[Canvas], FloatImage]] = {
        "mean": lambda c: c.mean(field, edge),
        "deviation": lambda c: c.deviation(field, edge),
        "contrast": lambda c: c.value(field) - c.mean(field, edge),
        "dog": lambda c: c.gaussian(field, scale) - c.gaussian(field, 2 * scale),
        "gradient": lambda c: gradient(c, field, scale),
        "lowest": lambda c: c.lowest(field, edge),
        "highest": lambda c: c.highest(field, edge),
    }
    return made[operator]


def _reach(operator: str, scale: float) -> int:
    if operator == "dog":
        return int(8 * scale + 0.5)
    if operator == "gradient":
        return int(4 * scale + 0.5) + 1
    return int(scale) // 2


def _words(operator: str, field: str, scale: float) -> tuple[str, str]:
    return {
        "mean": (f"mean of {field} in {scale:g} px", _BOX),
        "deviation": (f"standard deviation of {field} in {scale:g} px", _BOX),
        "contrast": (f"{field} − mean in {scale:g} px", _BOX),
        "dog": (f"{field}: Gaussian of {scale:g} px − Gaussian of {2 * scale:g} px", _DOG),
        "gradient": (f"|gradient| of {field} smoothed by {scale:g} px, per pixel", "Canny 1986"),
        "lowest": (f"minimum of {field} in {scale:g} px", _BOX),
        "highest": (f"maximum of {field} in {scale:g} px", _BOX),
    }[operator]


def recipe(
    operator: str,
    field: Field,
    scale: float,
    superseded_by: tuple[str, ...] = (),
) -> Recipe:
    """Make the recipe of one operator at one scale on one field.

    Parameters
    ----------
    operator : str
        ``mean``, ``deviation``, ``contrast``, ``lowest``, ``highest`` (scale = edge of the
        window, odd), ``dog``, ``gradient`` (scale = sigma).
    field : Field
    scale : float
        Pixels.
    superseded_by : tuple of str
        See `Feature`.
    """
    formula, source = _words(operator, field.name, scale)
    feature = Feature(
        _NAMES[operator](field.name, scale), "context",
        field.unit, field.needs, formula, source, field.support_px + _reach(operator, scale),
        superseded_by=superseded_by,
    )  # fmt: skip
    return Recipe(feature, _image(operator, field.name, scale))


Row = tuple[str, str, tuple[float, ...]]
"""Field, operator, scales in pixels."""

RICH: tuple[Row, ...] = (
    ("ndvi", "mean", (5, 9, 17, 33, 65)),
    ("ndvi", "deviation", (5, 9, 17, 33)),
    ("ndvi", "contrast", (9, 33, 65)),
    ("ndvi", "gradient", (1, 2)),
    ("ndvi", "lowest", (9,)),
    ("ndvi", "highest", (9, 33)),
    ("bsi", "mean", (5, 17, 33)),
    ("bsi", "deviation", (5, 9, 33)),
    ("bsi", "contrast", (9, 33)),
    ("bsi", "dog", (2, 4)),
    ("bright", "mean", (5, 17, 33)),
    ("bright", "deviation", (5, 9, 17, 33)),
    ("bright", "contrast", (9, 33)),
    ("slope", "mean", (9, 33)),
    ("slope", "deviation", (9,)),
    ("slope", "highest", (17,)),
)
"""For sensors with near and short-wave infrared."""

VISIBLE: tuple[Row, ...] = (
    ("ri", "mean", (3, 5, 9, 17, 33)),
    ("ri", "deviation", (5, 9, 33)),
    ("ri", "highest", (9, 17, 33)),
    ("ri", "lowest", (33,)),
    ("gli", "mean", (3, 5, 9, 17, 33)),
    ("gli", "deviation", (5, 9, 17, 33)),
    ("gli", "lowest", (9, 17)),
    ("gli", "dog", (2,)),
    ("gli", "gradient", (4,)),
    ("ikaw", "mean", (3, 5, 9, 33)),
    ("ikaw", "deviation", (9, 33)),
    ("ikaw", "highest", (9, 17)),
    ("bright", "mean", (3, 9, 17, 33)),
    ("bright", "deviation", (3, 5, 9, 17, 33)),
    ("bright", "lowest", (9, 33)),
    ("bright", "highest", (5, 9, 33)),
)
"""For true-colour sensors; superseded by `RICH` where B8 is there.

Chosen from 139 candidates on fitting tiles of true colour: deviations and means carry the gain over
single pixels; contrasts, tile ranks and windows of 65 px added nothing there.
"""


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``context``.

    Parameters
    ----------
    fields : dict of str to Field
        All fields by name, bands included.
    """
    rich = _rows(RICH, fields)
    taken = {r.feature.name for r in rich}
    visible = [r for r in _rows(VISIBLE, fields, ("B8",)) if r.feature.name not in taken]
    return [*rich, *visible]


def _rows(
    rows: Sequence[Row], fields: dict[str, Field], superseded_by: tuple[str, ...] = ()
) -> list[Recipe]:
    return [
        recipe(operator, fields[name], scale, superseded_by)
        for name, operator, scales in rows
        for scale in scales
    ]
