"""What a feature is: its declaration, the function that computes it, and the pictures it reads.

Everything that is known of a feature is declared where it is defined. Nothing is derived from its
name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from l4s_ensemble.features.tile_context import TileContext

FloatImage = NDArray[np.floating[Any]]
"""One float32 picture, shape (y, x). (numpy's types widen float32 beside plain numbers.)"""


class Words(NamedTuple):
    """How a person is told of a value.

    Attributes
    ----------
    topic : str
        Features of one topic are added up when a landslide is explained.
    high, low : str
        What a high and a low value mean.
    """

    topic: str
    high: str
    low: str


@dataclass(frozen=True)
class Feature:
    """One number per pixel, described.

    Attributes
    ----------
    name : str
        Unique.
    group : str
        One of `l4s_ensemble.features.registry.GROUPS`; a config switches groups.
    unit : str
        ``1`` (no unit), ``degree``, ``m``, ``1/km``.
    needs : tuple of str
        Names of the bands it reads.
    formula : str
        For people. Band names stand for reflectance (or level relative to the tile).
    source : str
        Where the formula comes from.
    support_px : int
        It reads pixels at most this far away, in rows and in columns.
    words : Words
    level : {'any', 'absolute', 'relative'}
        Which sensors it makes sense for: ``absolute`` needs true reflectance.
    scene_fields : tuple of str
        Fields whose statistics of the scene it reads, beside its window.
    superseded_by : tuple of str
        Left out where the sensor has all of these bands, since better features exist there.
    expected : {-1, 0, 1}
        Where a landslide moves it: +1, it has the higher value than what it replaced; 0, not known.
    relational : bool
        Whether the gain of the scene cancels in it: a difference, a spread, a rank, terrain.
    """

    name: str
    group: str
    unit: str
    needs: tuple[str, ...]
    formula: str
    source: str
    support_px: int
    words: Words
    level: Literal["any", "absolute", "relative"] = "any"
    scene_fields: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()
    expected: int = 0
    relational: bool = False


@dataclass(frozen=True)
class FeatureFunction:
    """A feature and the function that makes it: tile context in, picture of the core (y, x) out."""

    feature: Feature
    image: Callable[[TileContext], FloatImage]


@dataclass(frozen=True)
class Field:
    """A picture over the whole tile context that several features share.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Bands it reads.
    support_px : int
        How far it reads; features of it add their own reach.
    image : callable
        Tile context in, picture of all of it out. Its outermost `support_px` pixels are not exact.
    words : Words
        Of its own value.
    unit : str
    more, less : str
        Comparatives of a high and a low value: ``greener``, ``barer``.
    compared : str
        Topic of comparisons; the same for fields that compare the same from two sides.
    expected : {-1, 0, 1}
        See `Feature`; means, extremes and differences of the field inherit it.
    relational : bool
        See `Feature`: whether the gain cancels in its value.
    """

    name: str
    needs: tuple[str, ...]
    support_px: int
    image: Callable[[TileContext], FloatImage]
    words: Words
    unit: str = "1"
    more: str = "higher"
    less: str = "lower"
    compared: str = ""
    expected: int = 0
    relational: bool = False
