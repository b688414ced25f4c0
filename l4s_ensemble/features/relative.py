"""Values against the scene, against the same slope aspect nearby, and against the wider land.

What is bare in one scene is usual in another. These features say how a pixel differs from what is
usual: in its scene as a whole, on slopes nearby that face the same way (so that the sun and the
vegetation of that side are taken out), and around it but beyond its own slide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.facts import QUANTILES
from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe
from l4s_ensemble.features.relative_kernels import normal_moments

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

Z_BOUND = np.float32(20.0)
_LEAST_SPREAD = np.float32(1e-6)

GENTLE = np.float32(0.1)
"""Horizontal normal (sine of the slope, 6 degrees) below which an aspect counts little."""

_NORMAL_PX = 7
"""Reach of the fields `eastness` and `northness`."""

_SCENE = "robust statistics of the scene, or of the tile where the scene is unknown"
_ASPECT = "expanded cosine of the difference in aspect, six window sums"
_RING = "annulus window, as of Weiss 2001 for terrain"


def robust_z(canvas: Canvas, name: str) -> FloatImage:
    """(value − median) / (1.4826 × median absolute deviation) of the scene, within ±20."""
    facts = canvas.facts.field(name)
    spread = np.maximum(np.float32(facts.spread), _LEAST_SPREAD)
    z: FloatImage = (canvas.value(name) - np.float32(facts.median)) / spread
    return np.minimum(np.maximum(z, -Z_BOUND), Z_BOUND)


def rank(canvas: Canvas, name: str) -> FloatImage:
    """Share of the scene's pixels whose value is lower, within [0, 1], from its quantiles."""
    quantiles = canvas.facts.field(name).quantiles
    value = canvas.value(name)
    # Left: equal quantiles (many equal pixels) give the share of those that are truly lower.
    above = np.searchsorted(quantiles, value.ravel(), side="left").reshape(value.shape)
    high = np.clip(above, 1, QUANTILES - 1)
    low_value, high_value = quantiles[high - 1], quantiles[high]
    step = (value - low_value) / np.maximum(high_value - low_value, np.float32(1e-12))
    share: FloatImage = (high - 1 + np.clip(step, 0, 1)) / np.float32(QUANTILES - 1)
    return share.astype(np.float32)


def _aspect(canvas: Canvas) -> tuple[FloatImage, FloatImage]:
    """Aspect as a vector (east, north), shorter than 1; near 0 where the ground is flat."""
    east, north = canvas.field("eastness"), canvas.field("northness")
    size = np.sqrt(east * east + north * north + GENTLE * GENTLE)
    return east / size, north / size


def aspect_mean(canvas: Canvas, name: str, edge: int) -> FloatImage:
    """Mean over a window, each pixel weighted by how much its aspect is like the centre's.

    The weight is ((1 + cos Δ) / 2)², where cos Δ is the product of the two aspect vectors. Written
    out it is a sum of six products of a term of the centre and one of the neighbour, so that six
    sums over the window are enough, whatever its size.

    Parameters
    ----------
    canvas : Canvas
    name : str
        Field.
    edge : int
        Edge of the window, pixels, odd.

    Returns
    -------
    float32 array, shape (y, x)
    """
    radius = edge // 2
    near = tuple(slice(s.start - radius, s.stop + radius) for s in canvas.core)
    east, north = canvas.remember(
        ("aspect", edge), lambda: tuple(np.ascontiguousarray(a[near]) for a in _aspect(canvas))
    )
    inner = tuple(slice(radius, radius + n) for n in (canvas.height, canvas.width))
    e, n = east[inner].astype(np.float64), north[inner].astype(np.float64)
    centre = (1.0, 2 * e, 2 * n, e * e, 2 * e * n, n * n)

    def weighted(value: FloatImage) -> NDArray[np.float64]:
        sums = normal_moments(value, east, north, radius)
        total: NDArray[np.float64] = sums[0].copy()
        for own, sum_ in zip(centre[1:], sums[1:], strict=True):
            total += own * sum_
        return total

    weights = canvas.remember(("aspect weights", edge), lambda: weighted(np.ones_like(east)))
    # The centre's own weight is at least 1 (of 4): never a division by zero.
    mean = weighted(np.ascontiguousarray(canvas.field(name)[near])) / weights
    return mean.astype(np.float32)


def ring_mean(canvas: Canvas, name: str, inner: int, outer: int) -> FloatImage:
    """Mean over the square window of `outer` pixels without that of `inner` pixels."""
    share = np.float32(inner**2 / outer**2)
    beyond: FloatImage = canvas.mean(name, outer) - share * canvas.mean(name, inner)
    return beyond / (1 - share)


def _z_recipe(field: Field, superseded_by: tuple[str, ...]) -> Recipe:
    feature = Feature(
        f"{field.name}_scene_z", "relative", "1", field.needs,
        f"({field.name} − median) / (1.4826 MAD) in the scene, within ±20", _SCENE,
        field.support_px, scope="scene", superseded_by=superseded_by,
    )  # fmt: skip
    return Recipe(feature, lambda c: robust_z(c, field.name))


def _rank_recipe(field: Field, superseded_by: tuple[str, ...]) -> Recipe:
    feature = Feature(
        f"{field.name}_scene_rank", "relative", "1", field.needs,
        f"share of the scene's pixels with lower {field.name}, between its percentiles", _SCENE,
        field.support_px, scope="scene", superseded_by=superseded_by,
    )  # fmt: skip
    return Recipe(feature, lambda c: rank(c, field.name))


def _aspect_recipe(field: Field, edge: int) -> Recipe:
    feature = Feature(
        f"{field.name}_minus_aspect_{edge}", "relative", field.unit, (*field.needs, "dem"),
        f"{field.name} − its mean in {edge} px, weighted by ((1 + cos Δaspect) / 2)²", _ASPECT,
        max(field.support_px, _NORMAL_PX) + edge // 2,
    )  # fmt: skip
    name = field.name
    return Recipe(feature, lambda c: c.value(name) - aspect_mean(c, name, edge))


def _ring_recipe(field: Field, inner: int, outer: int, superseded_by: tuple[str, ...]) -> Recipe:
    feature = Feature(
        f"{field.name}_minus_ring_{inner}_{outer}", "relative", field.unit, field.needs,
        f"{field.name} − its mean in {outer} px outside of {inner} px", _RING,
        field.support_px + outer // 2, superseded_by=superseded_by,
    )  # fmt: skip
    name = field.name
    return Recipe(feature, lambda c: c.value(name) - ring_mean(c, name, inner, outer))


VISIBLE = ("ri", "gli", "ikaw")
"""Fields that say it where there is no near infrared."""

SCENE = ("ndvi", "bsi", "bright", "ndmi", "slope", *VISIBLE)
ASPECT = (("ndvi", 33), ("bright", 33), ("bsi", 33))
RING = (("ndvi", 17, 65), ("bright", 17, 65), ("ri", 17, 65))


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``relative``.

    Parameters
    ----------
    fields : dict of str to Field
        All fields by name, bands included.
    """

    def better(name: str) -> tuple[str, ...]:
        return ("B8",) if name in VISIBLE else ()

    makers: tuple[Callable[[Field, tuple[str, ...]], Recipe], ...] = (_z_recipe, _rank_recipe)
    out = [make(fields[name], better(name)) for make in makers for name in SCENE]
    out += [_aspect_recipe(fields[name], edge) for name, edge in ASPECT]
    out += [_ring_recipe(fields[n], inner, outer, better(n)) for n, inner, outer in RING]
    return out
