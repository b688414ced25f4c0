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
_TILE = "robust statistics of the whole tile"

Z_BOUND = np.float32(20.0)


def gradient(canvas: Canvas, name: str, sigma: float) -> FloatImage:
    """Size of the gradient of a smoothed field, per pixel, shape (y, x)."""
    near = canvas.gaussian(name, sigma, grow=1)
    down = near[2:, 1:-1] - near[:-2, 1:-1]
    right = near[1:-1, 2:] - near[1:-1, :-2]
    return 0.5 * np.sqrt(down * down + right * right)


def robust_z(canvas: Canvas, name: str) -> FloatImage:
    """(value − median) / (1.4826 × median absolute deviation) in the tile, within ±20."""
    value = canvas.value(name)
    middle = np.median(value)
    spread = np.float32(1.4826) * np.median(np.abs(value - middle))
    z: FloatImage = (value - middle) / np.maximum(spread, np.float32(1e-6))
    return np.minimum(np.maximum(z, -Z_BOUND), Z_BOUND)


def rank(canvas: Canvas, name: str) -> FloatImage:
    """Share of the tile's pixels whose value is lower, within [0, 1)."""
    value = canvas.value(name).ravel()
    order = np.argsort(value)
    ordered = value[order]
    # Equal values share the place of the first of them.
    place = np.arange(value.size)
    place[1:][ordered[1:] == ordered[:-1]] = 0
    below = np.empty(value.size, np.float32)
    below[order] = np.maximum.accumulate(place)
    return below.reshape(canvas.height, canvas.width) / np.float32(value.size)


_NAMES: dict[str, Callable[[str, float], str]] = {
    "mean": lambda field, scale: f"{field}_mean_{scale:g}",
    "deviation": lambda field, scale: f"{field}_std_{scale:g}",
    "contrast": lambda field, scale: f"{field}_minus_mean_{scale:g}",
    "dog": lambda field, scale: f"{field}_dog_{scale:g}",
    "gradient": lambda field, scale: f"{field}_gradient_{scale:g}",
    "lowest": lambda field, scale: f"{field}_min_{scale:g}",
    "highest": lambda field, scale: f"{field}_max_{scale:g}",
    "z": lambda field, scale: f"{field}_tile_z",
    "rank": lambda field, scale: f"{field}_tile_rank",
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
        "z": lambda c: robust_z(c, field),
        "rank": lambda c: rank(c, field),
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
        "z": (f"({field} − median) / (1.4826 MAD) in the tile, within ±20", _TILE),
        "rank": (f"share of the tile's pixels with lower {field}", _TILE),
    }[operator]


def recipe(
    operator: str,
    field: Field,
    scale: float = 1,
    superseded_by: tuple[str, ...] = (),
) -> Recipe:
    """Make the recipe of one operator at one scale on one field.

    Parameters
    ----------
    operator : str
        ``mean``, ``deviation``, ``contrast``, ``lowest``, ``highest`` (scale = edge of the
        window, odd), ``dog``, ``gradient`` (scale = sigma), ``z``, ``rank`` (no scale).
    field : Field
    scale : float
        Pixels.
    superseded_by : tuple of str
        See `Feature`.
    """
    whole = operator in {"z", "rank"}
    formula, source = _words(operator, field.name, scale)
    feature = Feature(
        _NAMES[operator](field.name, scale), "context",
        "1" if whole else field.unit, field.needs, formula, source,
        field.support_px + (0 if whole else _reach(operator, scale)),
        scope="tile" if whole else "window", superseded_by=superseded_by,
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
    ("ndvi", "rank", (1,)),
    ("bsi", "mean", (5, 17, 33)),
    ("bsi", "deviation", (5, 9, 33)),
    ("bsi", "contrast", (9, 33)),
    ("bsi", "dog", (2, 4)),
    ("bright", "mean", (5, 17, 33)),
    ("bright", "deviation", (5, 9, 17, 33)),
    ("bright", "contrast", (9, 33)),
    ("bright", "z", (1,)),
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
