"""The segment that a pixel lies in: what it is like, how large, how shaped.

Outlines depend on where the tile was cut, even with surroundings: scope ``tile``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe
from l4s_ensemble.features.segments import MARGIN_PX, RICH, VISIBLE, Segments, Sums, segments

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

Statistic = Callable[[Segments, "Canvas"], Sums]

_COLOUR = ("B4", "B3", "B2")
_SEGMENT = "Felzenszwalb & Huttenlocher 2004, doi:10.1023/B:VISI.0000022288.19776.77"
_OBIA = "object-based analysis, Stumpf & Kerle 2011, doi:10.1016/j.rse.2011.05.013"
_MOMENTS = "ellipse of the same second moments; Stumpf & Kerle 2011"
_REACH = "angle of reach, Heim 1932"


def _image(statistic: Statistic) -> Callable[[Canvas], FloatImage]:
    def image(canvas: Canvas) -> FloatImage:
        found = segments(canvas)
        return found.spread(statistic(found, canvas))

    return image


def _area(found: Segments, canvas: Canvas) -> Sums:
    area: Sums = np.log10(found.pixels * canvas.pixel_m**2)
    return area


def _relief(found: Segments, canvas: Canvas) -> Sums:
    low, high = found.extremes(canvas, "dem_smooth")
    return high - low


def _reach_deg(found: Segments, canvas: Canvas) -> Sums:
    angle: Sums = np.degrees(np.arctan2(_relief(found, canvas), found.length_px * canvas.pixel_m))
    return angle


def _height_within(canvas: Canvas) -> FloatImage:
    found = segments(canvas)
    low, high = (found.spread(v) for v in found.extremes(canvas, "dem_smooth"))
    return (canvas.value("dem_smooth") - low) / np.maximum(high - low, np.float32(1))


def _of_field(field: Field, superseded_by: tuple[str, ...]) -> list[Recipe]:
    name = field.name
    made: tuple[tuple[str, str, Statistic], ...] = (
        ("mean", f"mean of {name} in the segment", lambda s, c: s.mean(c, name)),
        (
            "minus_neighbours",
            f"mean of {name} in the segment − that of adjoining ones, by shared border",
            lambda s, c: s.minus_neighbours(c, name),
        ),
        (
            "minus_beyond",
            f"mean of {name} in the segment − that two borders away, by shared border",
            lambda s, c: s.minus_neighbours(c, name, steps=2),
        ),
        ("std", f"standard deviation of {name} in the segment", lambda s, c: s.deviation(c, name)),
    )
    needs = tuple(dict.fromkeys((*field.needs, *_COLOUR)))
    return [
        _recipe(
            f"{name}_segment_{what}", field.unit, formula, _OBIA, statistic, needs,
            field.support_px, superseded_by,
        )
        for what, formula, statistic in made
    ]  # fmt: skip


def _recipe(
    name: str,
    unit: str,
    formula: str,
    source: str,
    statistic: Statistic,
    needs: tuple[str, ...] = _COLOUR,
    reach_px: int = 0,
    superseded_by: tuple[str, ...] = (),
) -> Recipe:
    feature = Feature(
        name, "object", unit, needs, formula, source, MARGIN_PX + reach_px,
        scope="tile", superseded_by=superseded_by,
    )  # fmt: skip
    return Recipe(feature, _image(statistic))


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``object``.

    Parameters
    ----------
    fields : dict of str to Field
        All fields by name, bands included.
    """
    out = [r for name in RICH for r in _of_field(fields[name], ())]
    out += [r for name in VISIBLE if name not in RICH for r in _of_field(fields[name], ("B8",))]
    normal, height = fields["northness"].support_px, fields["dem_smooth"].support_px
    terrain = (*_COLOUR, "dem")
    out += [
        _recipe(
            "segment_area_log10_m2", "log10(m²)", "log10 of the segment's area", _SEGMENT, _area,
        ),
        _recipe(
            "segment_elongation", "1", "1 − short axis / long axis", _MOMENTS,
            lambda s, _: s.elongation,
        ),
        _recipe(
            "segment_compactness", "1", "16 area / border²", _OBIA, lambda s, _: s.compactness,
        ),
        _recipe(
            "segment_along_slope", "1", "elongation × cos 2(long axis, mean downslope)", _MOMENTS,
            lambda s, c: s.along_slope(c), terrain, normal,
        ),
        _recipe(
            "segment_slope_deg", "degree", "mean slope in the segment", _OBIA,
            lambda s, c: s.mean(c, "slope"), (*_COLOUR, "slope"),
        ),
        _recipe(
            "segment_relief_m", "m", "max − min of dem in the segment", _OBIA, _relief, terrain,
            height,
        ),
        _recipe(
            "segment_reach_deg", "degree", "arctan(relief / long axis)", _REACH, _reach_deg,
            terrain, height,
        ),
    ]  # fmt: skip
    within = Feature(
        "segment_relative_height", "object", "1", terrain,
        "(dem − min) / (max − min) in the segment, at least 1 m apart",
        "elevation relief ratio, Pike & Wilson 1971", MARGIN_PX + height, scope="tile",
    )  # fmt: skip
    return [*out, Recipe(within, _height_within)]
