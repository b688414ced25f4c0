"""The neighbourhood of a pixel: one operator at one scale on one field.

A landslide is brighter and barer than what surrounds it, has an edge, a grain and a size. What is
bare in one scene is usual in another, so ranks say how a pixel differs from its scene.

All windows are bounded. `SHARED`, `INFRARED` and `VISIBLE` are what ``benchmarks.choices`` left of
some 250 candidates, out of fold and on scenes and parts of a scene that were left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.indices import share
from l4s_ensemble.features.scene_statistics import QUANTILES
from l4s_ensemble.features.tile_context import FeatureFunction, Field, TileContext
from l4s_ensemble.features.window import FloatImage

PIXEL_M = 10
"""Edge of a pixel in words for a person."""

_BOX = "square window"
_DOG = "Marr & Hildreth 1980, difference of Gaussians"
_HARALICK = "after Haralick et al. 1973, contrast of neighbours"
_TENSOR = "Förstner & Gülch 1987; Bigün & Granlund 1987, structure tensor"
_STREAKS = Words("streaks", "streaks", "no streaks")
_MIX = Words("neighbourhood", "mixed neighbourhood", "even neighbourhood")
_EDGE = Words("edge", "fresh edge", "no edge")
_GRAIN = Words("grain", "fine grain", "coarse grain")


def gradient(context: TileContext, name: str, sigma: float) -> FloatImage:
    """Size of the gradient of a smoothed field, per pixel, shape (y, x)."""
    near = context.gaussian(name, sigma, grow=1)
    down = near[2:, 1:-1] - near[:-2, 1:-1]
    right = near[1:-1, 2:] - near[1:-1, :-2]
    return np.float32(0.5) * np.sqrt(down * down + right * right)


def coherence(context: TileContext, name: str, sigma: float) -> FloatImage:
    """How much gradients around agree in direction: 1 for stripes, 0 for grain; shape (y, x)."""
    difference, cross = (context.gaussian(f"{name}_{p}", sigma) for p in ("difference", "cross"))
    size: FloatImage = np.sqrt(difference * difference + cross * cross)
    return size / (context.gaussian(f"{name}_sum", sigma) + np.float32(1e-10))


def _ring(context: TileContext, name: str, inner: int, outer: int) -> FloatImage:
    """Value less the mean over the window of `outer` pixels without that of `inner` pixels."""
    part = np.float32(inner**2 / outer**2)
    beyond = (context.mean(name, outer) - part * context.mean(name, inner)) / (1 - part)
    return context.value(name) - beyond


def rank(context: TileContext, name: str) -> FloatImage:
    """Share of the scene's pixels whose value is lower, within [0, 1], from its quantiles."""
    quantiles, value = context.quantiles(name), context.value(name)
    # Left: equal quantiles (many equal pixels) give the share of those that are truly lower.
    above = np.searchsorted(quantiles, value.ravel(), side="left").reshape(value.shape)
    high = np.clip(above, 1, QUANTILES - 1)
    low_value, high_value = quantiles[high - 1], quantiles[high]
    step = (value - low_value) / np.maximum(high_value - low_value, np.float32(1e-12))
    lower: FloatImage = (high - 1 + np.clip(step, 0, 1)) / np.float32(QUANTILES - 1)
    return lower.astype(np.float32)


@dataclass(frozen=True)
class Operator:
    """What is done to a field at a scale, and what is known of the result."""

    label: str  # of the name, with the scale: mean_{}
    formula: str  # with places for the field and the scales
    source: str
    image: Callable[..., FloatImage]  # tile context, name of the field and scales in, core out
    reach: Callable[..., int]  # scales in, pixels that are read beyond the reach of the field out
    cancels: bool  # the gain of the scene, see `Feature.relational`
    # Its own words; or those of the field, as they are or in comparison.
    words: Words | Literal["value", "around", "scene"]
    unitless: bool = False


def _half(*edges: float) -> int:
    return int(max(edges)) // 2


MEAN = Operator(
    "mean_{}", "mean of {field} in {} px", _BOX, lambda c, f, e: c.mean(f, e), _half, False,
    "value",
)  # fmt: skip
LOWEST = Operator(
    "min_{}", "minimum of {field} in {} px", _BOX, lambda c, f, e: c.lowest(f, e), _half, False,
    "value",
)  # fmt: skip
HIGHEST = Operator(
    "max_{}", "maximum of {field} in {} px", _BOX, lambda c, f, e: c.highest(f, e), _half, False,
    "value",
)  # fmt: skip
DEVIATION = Operator(
    "std_{}", "standard deviation of {field} in {} px", _BOX, lambda c, f, e: c.deviation(f, e),
    _half, True, _MIX,
)  # fmt: skip
CONTRAST = Operator(
    "minus_mean_{}", "{field} − mean in {} px", _BOX, lambda c, f, e: c.value(f) - c.mean(f, e),
    _half, True, "around",
)  # fmt: skip
RING = Operator(
    "minus_ring_{}_{}", "{field} − its mean in {1} px outside of {0} px",
    "annulus window, as of Weiss 2001 for terrain", _ring, _half, True, "around",
)  # fmt: skip
DOG = Operator(
    "dog_{}", "{field}: Gaussian of {0} px − Gaussian of twice that", _DOG,
    lambda c, f, s: c.gaussian(f, s) - c.gaussian(f, 2 * s), lambda s: int(8 * s + 0.5), True,
    "around",
)  # fmt: skip
GRADIENT = Operator(
    "gradient_{}", "|gradient| of {field} smoothed by {} px, per pixel", "Canny 1986", gradient,
    lambda s: int(4 * s + 0.5) + 1, True, _EDGE,
)  # fmt: skip
ROUGHNESS = Operator(
    "roughness_{}", "mean absolute difference of {field} to the 4 neighbours, in {} px", _HARALICK,
    lambda c, f, e: c.mean(f"{f}_step", e), lambda e: 1 + e // 2, True, _MIX,
)  # fmt: skip
VARIATION = Operator(
    "variation_{}", "standard deviation / mean of {field} in {} px", "coefficient of variation",
    lambda c, f, e: share(c.deviation(f, e), c.mean(f, e)), _half, True, _MIX, unitless=True,
)  # fmt: skip
FINENESS = Operator(
    "fineness_{}_{}", "standard deviation of {field} in {} px / in {} px",
    "share of the fine scale", lambda c, f, a, b: share(c.deviation(f, a), c.deviation(f, b)),
    _half, True, _GRAIN, unitless=True,
)  # fmt: skip
ENERGY = Operator(
    "energy_{}", "√⟨x² + y²⟩; x, y = gradient of {field} smoothed by 1 px, ⟨⟩ = Gaussian of {} px",
    _TENSOR, lambda c, f, s: np.sqrt(c.gaussian(f"{f}_sum", s)), lambda s: 6 + int(4 * s), True,
    _EDGE,
)  # fmt: skip
COHERENCE = Operator(
    "coherence_{}",
    "√(⟨x² − y²⟩² + ⟨2 x y⟩²) / ⟨x² + y²⟩; x, y, ⟨⟩ as for the energy of {field}, {} px",
    _TENSOR, coherence, lambda s: 6 + int(4 * s), True, _STREAKS, unitless=True,
)  # fmt: skip
RANK = Operator(
    "scene_rank", "share of the scene's pixels with lower {field}, between its percentiles",
    "quantiles of the scene, or of the tile where the scene is unknown", rank, lambda: 0, True,
    "scene", unitless=True,
)  # fmt: skip

Row = tuple[str, Operator, tuple[tuple[int, ...], ...]]
"""Field, operator, scales in pixels of each feature."""

SHARED: tuple[Row, ...] = (
    ("bright", RANK, ((),)),
    ("bright", MEAN, ((5,),)),
    ("bright", DEVIATION, ((17,),)),
    ("bright", CONTRAST, ((33,),)),
    ("bright", RING, ((17, 65),)),
    ("bright", DOG, ((2,), (4,))),
    ("bright", GRADIENT, ((8,),)),
    ("bright", VARIATION, ((5,),)),
)
"""For every sensor."""

INFRARED: tuple[Row, ...] = (
    ("ndvi", RANK, ((),)),
    ("ndvi", MEAN, ((5,),)),
    ("ndvi", LOWEST, ((9,),)),
    ("ndvi", DEVIATION, ((5,), (17,), (33,))),
    ("ndvi", CONTRAST, ((33,), (65,))),
    ("ndvi", DOG, ((1,), (2,), (4,))),
    ("ndvi", GRADIENT, ((2,),)),
    ("ndvi", ROUGHNESS, ((5,),)),
    ("ndvi", FINENESS, ((5, 33),)),
    ("bsi", MEAN, ((5,),)),
    ("bsi", DEVIATION, ((9,),)),
    ("bsi", DOG, ((1,), (2,), (4,))),
    ("slope", MEAN, ((9,),)),
    ("slope", DEVIATION, ((9,),)),
)
"""For sensors with near and short-wave infrared, and slope."""

TENSORS = ("bright", "ri", "gli")

VISIBLE: tuple[Row, ...] = (
    *((name, ENERGY, ((2,), (8,))) for name in TENSORS),
    ("gli", COHERENCE, ((4,), (8,))),
    ("ri", COHERENCE, ((4,),)),
    ("bright", COHERENCE, ((4,),)),
    ("ri", RANK, ((),)),
    ("gli", RANK, ((),)),
    ("ikaw", RANK, ((),)),
    ("ri", MEAN, ((3,), (33,))),
    ("gli", MEAN, ((9,), (33,))),
    ("ikaw", MEAN, ((9,),)),
    ("bright", MEAN, ((33,),)),
    ("gli", LOWEST, ((9,), (17,))),
    ("bright", LOWEST, ((9,), (33,))),
    ("ri", HIGHEST, ((9,), (33,))),
    ("ikaw", HIGHEST, ((17,),)),
    ("bright", HIGHEST, ((33,),)),
    ("bright", DEVIATION, ((3,), (33,))),
    ("gli", DEVIATION, ((5,), (17,), (33,))),
    ("ri", DEVIATION, ((9,),)),
    ("bright", CONTRAST, ((9,),)),
    ("ri", RING, ((17, 65),)),
    ("gli", DOG, ((2,), (4,))),
    ("ri", DOG, ((4,),)),
    ("gli", GRADIENT, ((8,),)),
    ("bright", ROUGHNESS, ((5,), (17,))),
    ("gli", ROUGHNESS, ((5,), (17,))),
    ("ri", ROUGHNESS, ((17,),)),
    ("bright", FINENESS, ((5, 33),)),
    ("gli", FINENESS, ((5, 33),)),
)
"""For true-colour sensors; superseded where B8 is there."""


def _step(context: TileContext, name: str) -> FloatImage:
    """Mean absolute difference to the four neighbours, over the whole context; edges repeat."""
    z = np.pad(context.field(name), 1, mode="edge")
    centre = z[1:-1, 1:-1]
    up, down = np.abs(z[:-2, 1:-1] - centre), np.abs(z[2:, 1:-1] - centre)
    left, right = np.abs(z[1:-1, :-2] - centre), np.abs(z[1:-1, 2:] - centre)
    step: FloatImage = np.float32(0.25) * ((up + down) + (left + right))
    return step


def _product(context: TileContext, name: str, part: str) -> FloatImage:
    """Product of the gradient of a field smoothed by 1 px, over the whole context; edges repeat."""
    z = np.pad(context.gaussian_field(name, 1), 1, mode="edge")
    x, y = 0.5 * (z[1:-1, 2:] - z[1:-1, :-2]), 0.5 * (z[2:, 1:-1] - z[:-2, 1:-1])
    made: FloatImage = x * x + y * y if part == "sum" else x * x - y * y
    return 2 * x * y if part == "cross" else made


def fields(known: dict[str, Field]) -> list[Field]:
    """Pictures that the features of this group share, made of `known` fields."""
    made = []
    for field in (known[name] for name in ("ndvi", *TENSORS)):
        name, needs, reach = field.name, field.needs, field.support_px
        made.append(Field(f"{name}_step", needs, reach + 1, partial(_step, name=name), _MIX))
        made += [
            Field(f"{name}_{p}", needs, reach + 6, partial(_product, name=name, part=p), _EDGE)
            for p in ("sum", "difference", "cross")
        ]
    return made


def functions(known: dict[str, Field]) -> list[FeatureFunction]:
    """The groups ``context`` (windows) and ``relative`` (rings, ranks in the scene).

    Parameters
    ----------
    known : dict of str to Field
        All fields by name, bands included.
    """
    tables = ((SHARED, ()), (INFRARED, ()), (VISIBLE, ("B8",)))
    return [
        function(known[name], operator, scales, superseded_by)
        for rows, superseded_by in tables
        for name, operator, each in rows
        for scales in each
    ]


def function(
    field: Field, operator: Operator, scales: tuple[int, ...], superseded_by: tuple[str, ...] = ()
) -> FeatureFunction:
    """Make one operator at one scale on one field a feature.

    Parameters
    ----------
    scales : tuple of int
        Pixels: edge of the window (odd), sigma of the Gaussian; two of either; none for a rank.
    superseded_by : tuple of str
        See `Feature`.
    """
    follows = isinstance(operator.words, str)
    feature = Feature(
        f"{field.name}_{operator.label.format(*scales)}",
        "relative" if operator in (RANK, RING) else "context",
        "1" if operator.unitless else field.unit,
        field.needs,
        operator.formula.format(*scales, field=field.name),
        operator.source,
        field.support_px + operator.reach(*scales),
        _words(field, operator, scales),
        scene_fields=(field.name,) if operator is RANK else (),
        superseded_by=superseded_by,
        expected=field.expected if follows else 0,
        relational=operator.cancels or field.relational,
    )
    name = field.name
    return FeatureFunction(feature, lambda context: operator.image(context, name, *scales))


def _words(field: Field, operator: Operator, scales: tuple[int, ...]) -> Words:
    if operator.words == "value":
        return field.words
    topic = f"{field.compared or field.words.topic} against "
    if operator.words == "scene":
        more, less = (f"{word} than most of the scene" for word in (field.more, field.less))
        return Words(f"{topic}the scene", more, less)
    if operator.words == "around":
        # Beyond two sigma of its wider Gaussian a difference of Gaussians hardly reads anything.
        metres = PIXEL_M * (4 * scales[0] if operator is DOG else operator.reach(*scales))
        more, less = (f"{word} than {metres} m around" for word in (field.more, field.less))
        return Words(f"{topic}the neighbourhood", more, less)
    return operator.words
