"""Texture: strength, agreement and direction of the structure that surrounds a pixel.

The structure tensor of a field is the Gaussian mean of the products of its gradient. In the
directions right and down it has three numbers: the sum ``S = ⟨x² + y²⟩``, and the double-angle
pair ``D = ⟨x² − y²⟩``, ``C = ⟨2 x y⟩``. Bands and stripes have ``√(D² + C²)`` near S; grain and
flat ground have it near 0. A debris slide is a band that runs down the slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from l4s_ensemble.features import context, indices
from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe
from l4s_ensemble.features.texture_kernels import gradient_products, mean_step

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

GRADIENT_SIGMA = 1
"""Gaussian before the gradient of a structure tensor, pixels."""

LEVEL_RISE2 = np.float32(0.02**2)
"""Squared rise of a slope of about 1 degree: below it, downhill is not a direction."""

_GRADIENT_PX = 5
_SLOPE_PX = 7
_FAINT = np.float32(1e-10)

_TENSOR = "Förstner & Gülch 1987; Bigün & Granlund 1987, structure tensor"
_HARALICK = "after Haralick et al. 1973, contrast of neighbours"

STRUCTURED: dict[str, tuple[str, ...]] = {
    "ndvi": (), "bright": (), "ri": ("B8",), "gli": ("B8",),
}  # fmt: skip
"""Fields with structure, and the bands that make each of them needless."""

SCALES = (1, 2, 4, 8)
"""Gaussians that the products are averaged with for coherence, pixels."""

ENERGY_SCALES = (2, 8)
SLOPE_SCALES = (4, 8)
"""Where the slope line means something: over less, it is the noise of whole metres."""

RICH: tuple[context.Row, ...] = (
    ("ndvi", "dog", (0.5, 1, 2, 4)),
    ("ndvi", "gradient", (1, 2, 4, 8)),
    ("bsi", "dog", (0.5, 1, 2, 4)),
    ("bright", "dog", (0.5, 1, 2, 4)),
    ("bright", "gradient", (1, 2, 4, 8)),
)
"""Contrasts and edges of every size, less those that `context` has."""

VISIBLE: tuple[context.Row, ...] = (
    ("ri", "dog", (0.5, 1, 2, 4)),
    ("ri", "gradient", (1, 2, 4, 8)),
    ("gli", "dog", (0.5, 1, 2, 4)),
    ("gli", "gradient", (1, 2, 4, 8)),
)
"""For true-colour sensors; superseded where B8 is there."""


def _products(canvas: Canvas, name: str, part: int) -> FloatImage:
    """x² + y², x² − y² or 2 x y of the smoothed field's gradient, over the whole canvas."""
    made = canvas.remember(
        ("texture", name),
        lambda: gradient_products(canvas.gaussian_field(name, GRADIENT_SIGMA)),
    )
    return made[part]


def _across_slope(canvas: Canvas, name: str) -> FloatImage:
    """Squared gradient across the slope − squared gradient down it."""
    down = canvas.field(f"{name}_difference") * canvas.field("downhill_cos2")
    down += canvas.field(f"{name}_cross") * canvas.field("downhill_sin2")
    return -down


def _cos2(canvas: Canvas) -> FloatImage:
    east, north = np.square(canvas.field("rise_east")), np.square(canvas.field("rise_north"))
    return (east - north) / (east + north + LEVEL_RISE2)


def _sin2(canvas: Canvas) -> FloatImage:
    # Downhill is (−east, −north), and the picture's rows go south: so (−east, +north).
    east, north = canvas.field("rise_east"), canvas.field("rise_north")
    return -2 * east * north / (np.square(east) + np.square(north) + LEVEL_RISE2)


def fields() -> list[Field]:
    """Pictures that the features of this group share."""
    made = {f.name: f for f in indices.fields()}
    out = [
        Field("downhill_cos2", ("dem",), _SLOPE_PX, _cos2),
        Field("downhill_sin2", ("dem",), _SLOPE_PX, _sin2),
    ]
    for name in STRUCTURED:
        needs, reach = made[name].needs, made[name].support_px
        out += [
            _part(name, part, needs, reach + _GRADIENT_PX, partial(_products, part=i))
            for i, part in enumerate(("sum", "difference", "cross"))
        ]
        with_dem = (*needs, "dem")
        out.append(
            _part(
                name, "across_slope", with_dem, max(reach + _GRADIENT_PX, _SLOPE_PX), _across_slope
            )
        )
        out.append(_part(name, "step", needs, reach + 1, lambda c, n: mean_step(c.field(n))))
    return out


def _part(
    name: str,
    part: str,
    needs: tuple[str, ...],
    support_px: int,
    image: Callable[[Canvas, str], FloatImage],
) -> Field:
    return Field(f"{name}_{part}", needs, support_px, lambda canvas: image(canvas, name))


def _coherence(canvas: Canvas, name: str, sigma: float) -> FloatImage:
    difference = canvas.gaussian(f"{name}_difference", sigma)
    cross = canvas.gaussian(f"{name}_cross", sigma)
    size: FloatImage = np.sqrt(difference * difference + cross * cross)
    return size / (canvas.gaussian(f"{name}_sum", sigma) + _FAINT)


def _energy(canvas: Canvas, name: str, sigma: float) -> FloatImage:
    energy: FloatImage = np.sqrt(canvas.gaussian(f"{name}_sum", sigma))
    return energy


def _along_slope(canvas: Canvas, name: str, sigma: float) -> FloatImage:
    across = canvas.gaussian(f"{name}_across_slope", sigma)
    return across / (canvas.gaussian(f"{name}_sum", sigma) + _FAINT)


def _downhill(canvas: Canvas, name: str, sigma: float) -> FloatImage:
    near = canvas.gaussian(name, sigma, grow=1)
    right = near[1:-1, 2:] - near[1:-1, :-2]
    down = near[2:, 1:-1] - near[:-2, 1:-1]
    east, north = canvas.value("rise_east"), canvas.value("rise_north")
    rise = np.sqrt(np.square(east) + np.square(north) + LEVEL_RISE2)
    return np.float32(0.5) * (down * north - right * east) / rise


def _tensor_recipes(field: Field, superseded_by: tuple[str, ...]) -> list[Recipe]:
    name = field.name
    words = f"x, y = gradient of {name} smoothed by 1 px"
    coherences = [
        _recipe(
            f"{name}_coherence_{sigma}", field.needs,
            f"√(⟨x² − y²⟩² + ⟨2 x y⟩²) / ⟨x² + y²⟩; ⟨⟩ = Gaussian mean of {sigma} px, {words}",
            _TENSOR, field.support_px + _GRADIENT_PX + 4 * sigma,
            partial(_coherence, name=name, sigma=sigma), superseded_by,
        )
        for sigma in SCALES
    ]  # fmt: skip
    energies = [
        _recipe(
            f"{name}_energy_{sigma}", field.needs,
            f"√⟨x² + y²⟩; ⟨⟩ = Gaussian mean of {sigma} px, {words}",
            _TENSOR, field.support_px + _GRADIENT_PX + 4 * sigma,
            partial(_energy, name=name, sigma=sigma), superseded_by, field.unit,
        )
        for sigma in ENERGY_SCALES
    ]  # fmt: skip
    return coherences + energies


def _slope_recipes(field: Field, sigma: int) -> list[Recipe]:
    name, needs = field.name, (*field.needs, "dem")
    return [
        _recipe(
            f"{name}_along_slope_{sigma}", needs,
            f"⟨a² − d²⟩ / ⟨a² + d²⟩, a, d = gradient of {name} smoothed by 1 px across the slope "
            f"and down it; ⟨⟩ = Gaussian mean of {sigma} px",
            f"{_TENSOR}, against the slope line",
            max(field.support_px + _GRADIENT_PX, _SLOPE_PX) + 4 * sigma,
            lambda c: _along_slope(c, name, sigma),
        ),
        _recipe(
            f"{name}_downhill_{sigma}", needs,
            f"change of {name} smoothed by {sigma} px, per pixel downhill",
            "directional derivative", max(field.support_px + 4 * sigma + 1, _SLOPE_PX),
            lambda c: _downhill(c, name, sigma), unit=field.unit,
        ),
    ]  # fmt: skip


def _roughness(field: Field, edge: int, superseded_by: tuple[str, ...]) -> Recipe:
    return _recipe(
        f"{field.name}_roughness_{edge}", field.needs,
        f"mean absolute difference of {field.name} to the 4 neighbours, in {edge} px", _HARALICK,
        field.support_px + 1 + edge // 2,
        lambda c: c.mean(f"{field.name}_step", edge), superseded_by, field.unit,
    )  # fmt: skip


def _variation(field: Field, edge: int, superseded_by: tuple[str, ...]) -> Recipe:
    name = field.name
    return _recipe(
        f"{name}_variation_{edge}", field.needs,
        f"standard deviation / mean of {name} in {edge} px",
        "coefficient of variation; lacunarity − 1 = its square, Plotnick et al. 1996",
        field.support_px + edge // 2,
        lambda c: indices.share(c.deviation(name, edge), c.mean(name, edge)), superseded_by,
    )  # fmt: skip


def _fineness(field: Field, fine: int, wide: int, superseded_by: tuple[str, ...]) -> Recipe:
    name = field.name
    return _recipe(
        f"{name}_fineness_{fine}_{wide}", field.needs,
        f"standard deviation of {name} in {fine} px / in {wide} px", "share of the fine scale",
        field.support_px + wide // 2,
        lambda c: indices.share(c.deviation(name, fine), c.deviation(name, wide)), superseded_by,
    )  # fmt: skip


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``texture``.

    Parameters
    ----------
    fields : dict of str to Field
        All fields by name, bands included.
    """
    out: list[Recipe] = []
    for name, superseded_by in STRUCTURED.items():
        field = fields[name]
        out += _tensor_recipes(field, superseded_by)
        if not superseded_by:  # true colour comes without elevation
            out += [r for sigma in SLOPE_SCALES for r in _slope_recipes(field, sigma)]
        out += [_roughness(field, edge, superseded_by) for edge in (5, 17)]
        out.append(_fineness(field, 5, 33, superseded_by))
    # Of a normalised difference the mean may be 0: variation is for light alone.
    out += [_variation(fields["bright"], edge, ()) for edge in (5, 9, 17, 33)]
    return [*out, *_contrasts(fields)]


def _contrasts(fields: dict[str, Field]) -> list[Recipe]:
    """Rows of `RICH` and `VISIBLE` that the group ``context`` does not have."""
    have = {r.feature.name for r in context.recipes(fields)}
    made = [
        context.recipe(operator, fields[name], scale, superseded_by)
        for rows, superseded_by in ((RICH, ()), (VISIBLE, ("B8",)))
        for name, operator, scales in rows
        for scale in scales
    ]
    return [
        replace(r, feature=replace(r.feature, group="texture"))
        for r in made
        if r.feature.name not in have
    ]


def _recipe(
    name: str,
    needs: tuple[str, ...],
    formula: str,
    source: str,
    support_px: int,
    image: Callable[[Canvas], FloatImage],
    superseded_by: tuple[str, ...] = (),
    unit: str = "1",
) -> Recipe:
    feature = Feature(
        name, "texture", unit, needs, formula, source, support_px, superseded_by=superseded_by
    )
    return Recipe(feature, image)
