"""Morphological profiles: bright and dark things by their size, and by the way they lie.

An opening takes away what is brighter than its surroundings and narrower than the structuring
element; a closing fills what is darker. What they take is the top-hat. Both are windows on windows,
so their reach is bounded. (Opening by reconstruction is not: it follows a thing as far as it goes.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from l4s_ensemble.features.indices import share
from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

Side = Literal["tophat", "bothat"]
"""``tophat``: what is higher than around it; ``bothat``: what is lower."""

_WORDS = {"tophat": "opening", "bothat": "closing"}

SIZES = (5, 9, 17, 33)
"""Edges of the squares of a profile, pixels."""

_SLOPE_PX = 7
_PROFILE = "Pesaresi & Benediktsson 2001, doi:10.1109/36.905239"
_SPECTRUM = "pattern spectrum, Maragos 1989, doi:10.1109/34.192465"
_LINES = "Soille & Talbot 2001, doi:10.1109/34.969120, openings by lines"

Row = tuple[str, Side, tuple[int, ...]]
"""Field, side, edges of the squares in pixels."""

RICH: tuple[Row, ...] = (
    ("ndvi", "bothat", SIZES),
    ("ndvi", "tophat", (9, 33)),
    ("bsi", "tophat", SIZES),
    ("bright", "tophat", SIZES),
    ("bright", "bothat", (9, 33)),
)
"""For sensors with near and short-wave infrared."""

VISIBLE: tuple[Row, ...] = (
    ("ri", "tophat", SIZES),
    ("ri", "bothat", (9, 33)),
    ("gli", "bothat", SIZES),
    ("gli", "tophat", (9, 33)),
    ("ikaw", "tophat", SIZES),
)
"""For true-colour sensors; superseded where B8 is there."""

NARROW_LINES = (9, 33)
DOWNHILL_LINES = (17, 33)
"""Lengths of the line elements, pixels along rows and columns."""


def _over_line(
    picture: FloatImage, length: int, step: tuple[int, int], choose: np.ufunc
) -> FloatImage:
    """Extreme over `length` pixels in a row, each `step` (y, x) further.

    Parameters
    ----------
    picture : float32 array, shape (y, x)
    length : int
    step : tuple of int
        0 or 1 each.
    choose : numpy.ufunc
        ``numpy.minimum`` or ``numpy.maximum``.

    Returns
    -------
    float32 array, shape (y − (length − 1) step_y, x − (length − 1) step_x)
    """
    down, right = step
    span, left = 1, length - 1
    # Doubling the span: log2(length) passes whatever the length.
    while left:
        shift = min(span, left)
        height, width = picture.shape
        picture = choose(
            picture[: height - down * shift, : width - right * shift],
            picture[down * shift :, right * shift :],
        )
        span, left = span + shift, left - shift
    return picture


def _by_square(canvas: Canvas, name: str, side: Side, edge: int) -> FloatImage:
    """Opening (`tophat`) or closing (`bothat`) by a square, of the core."""
    picture = _around(canvas, name, 2 * (edge // 2))
    for choose in _order(side):
        picture = _over_line(_over_line(picture, edge, (1, 0), choose), edge, (0, 1), choose)
    return picture


def _by_lines(canvas: Canvas, name: str, side: Side, length: int) -> tuple[FloatImage, ...]:
    """Openings or closings by lines: along a row, down a column, falling, rising diagonal."""
    return canvas.remember(
        ("morphology", name, side, "lines", length),
        lambda: _make_lines(canvas, name, side, length),
    )


def _make_lines(canvas: Canvas, name: str, side: Side, length: int) -> tuple[FloatImage, ...]:
    reach = 2 * (length // 2)
    near = _around(canvas, name, reach)
    core = (slice(reach, -reach), slice(reach, -reach))
    diagonal = diagonal_pixels(length)
    spare = 2 * (length // 2 - diagonal // 2)
    inner = (slice(spare, near.shape[0] - spare), slice(spare, near.shape[1] - spare))
    rows, columns, falling, rising = near[core[0]], near[:, core[1]], near[inner], near[inner]
    rising = np.ascontiguousarray(rising[:, ::-1])
    for choose in _order(side):
        rows = _over_line(rows, length, (0, 1), choose)
        columns = _over_line(columns, length, (1, 0), choose)
        falling = _over_line(falling, diagonal, (1, 1), choose)
        rising = _over_line(rising, diagonal, (1, 1), choose)
    return rows, columns, falling, rising[:, ::-1]


def diagonal_pixels(length: int) -> int:
    """Odd number of pixels that make a diagonal about as long as `length` pixels of a row."""
    return 2 * round((length - 1) / (2 * 2**0.5)) + 1


def _around(canvas: Canvas, name: str, reach: int) -> FloatImage:
    start, m = canvas.margin - reach, canvas.margin + reach
    return canvas.field(name)[start : m + canvas.height, start : m + canvas.width]


def _order(side: Side) -> tuple[np.ufunc, np.ufunc]:
    return (np.minimum, np.maximum) if side == "tophat" else (np.maximum, np.minimum)


def hat(canvas: Canvas, name: str, side: Side, edge: int) -> FloatImage:
    """White (`tophat`) or black (`bothat`) top-hat by a square of `edge` pixels, never negative."""

    def make() -> FloatImage:
        smooth, value = _by_square(canvas, name, side, edge), canvas.value(name)
        return value - smooth if side == "tophat" else smooth - value

    return canvas.remember(("morphology", name, side, edge), make)


def _size(canvas: Canvas, name: str, side: Side) -> FloatImage:
    total = np.zeros((canvas.height, canvas.width), np.float32)
    below = total
    for edge in SIZES:
        profile = hat(canvas, name, side, edge)
        total = total + np.float32(np.log2(edge)) * (profile - below)
        below = profile
    return share(total, below)


def _narrowness(canvas: Canvas, name: str, side: Side, length: int) -> FloatImage:
    a, b, c, d = _by_lines(canvas, name, side, length)
    highest = np.maximum(np.maximum(a, b), np.maximum(c, d))
    spread: FloatImage = highest - np.minimum(np.minimum(a, b), np.minimum(c, d))
    return spread


def _long_downhill(canvas: Canvas, name: str, side: Side, length: int) -> FloatImage:
    rows, columns, falling, rising = _by_lines(canvas, name, side, length)
    along = canvas.value("downhill_cos2") * (rows - columns)
    along += canvas.value("downhill_sin2") * (falling - rising)
    return along if side == "tophat" else -along


def _hat_recipe(field: Field, side: Side, edge: int, superseded_by: tuple[str, ...]) -> Recipe:
    name = field.name
    words = f"{name} − opening" if side == "tophat" else f"closing − {name}"
    return _recipe(
        f"{name}_{side}_{edge}", field.unit, field.needs, f"{words} of {name} by {edge} px",
        _PROFILE, field.support_px + 2 * (edge // 2),
        lambda c: hat(c, name, side, edge), superseded_by,
    )  # fmt: skip


def _size_recipe(field: Field, side: Side, superseded_by: tuple[str, ...]) -> Recipe:
    name, words = field.name, ", ".join(str(edge) for edge in SIZES)
    return _recipe(
        f"{name}_{side}_log2_px", "1", field.needs,
        f"mean log₂ edge weighted by the steps of the {side} profile of {name} in {words} px",
        _SPECTRUM, field.support_px + 2 * (SIZES[-1] // 2),
        lambda c: _size(c, name, side), superseded_by,
    )  # fmt: skip


def _narrow_recipe(field: Field, side: Side, length: int, superseded_by: tuple[str, ...]) -> Recipe:
    name = field.name
    return _recipe(
        f"{name}_{side}_narrow_{length}", field.unit, field.needs,
        f"max − min over 4 directions of the {_WORDS[side]} of {name} by a line of {length} px",
        _LINES, field.support_px + 2 * (length // 2),
        lambda c: _narrowness(c, name, side, length), superseded_by,
    )  # fmt: skip


def _downhill_recipe(field: Field, side: Side, length: int) -> Recipe:
    name, sign = field.name, "" if side == "tophat" else "−"
    return _recipe(
        f"{name}_{side}_downhill_{length}", field.unit, (*field.needs, "dem"),
        f"{sign}(cos 2α (→ − ↓) + sin 2α (↘ − ↗)), α = direction downhill; arrows: "
        f"{_WORDS[side]} of {name} by a line of {length} px",
        _LINES, max(field.support_px + 2 * (length // 2), _SLOPE_PX),
        lambda c: _long_downhill(c, name, side, length), (),
    )  # fmt: skip


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``morphology``.

    Parameters
    ----------
    fields : dict of str to Field
        All fields by name, bands included.
    """
    out: list[Recipe] = []
    for rows, superseded_by in ((RICH, ()), (VISIBLE, ("B8",))):
        for name, side, edges in rows:
            out += [_hat_recipe(fields[name], side, edge, superseded_by) for edge in edges]
            if edges == SIZES:
                out.append(_size_recipe(fields[name], side, superseded_by))
                lines = NARROW_LINES
                out += [_narrow_recipe(fields[name], side, n, superseded_by) for n in lines]
                if not superseded_by:  # true colour comes without elevation
                    out += [_downhill_recipe(fields[name], side, n) for n in DOWNHILL_LINES]
    return out


def _recipe(
    name: str,
    unit: str,
    needs: tuple[str, ...],
    formula: str,
    source: str,
    support_px: int,
    image: Callable[[Canvas], FloatImage],
    superseded_by: tuple[str, ...],
) -> Recipe:
    feature = Feature(
        name, "morphology", unit, needs, formula, source, support_px, superseded_by=superseded_by
    )
    return Recipe(feature, image)
