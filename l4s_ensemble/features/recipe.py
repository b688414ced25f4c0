"""What a feature is, and how it is made: the words that all groups of features share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

FloatImage = NDArray[np.floating[Any]]
"""One float32 picture, shape (y, x). (numpy's types widen float32 beside plain numbers.)"""


@dataclass(frozen=True)
class Feature:
    """One number per pixel, described.

    Attributes
    ----------
    name : str
        Unique. Carries content, scale in pixels and, where there is one, the unit.
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
    level : {'any', 'absolute', 'relative'}
        Which sensors it makes sense for: ``absolute`` needs true reflectance.
    scope : {'window', 'scene', 'tile'}
        What it reads besides its window. ``scene``: facts of the scene as a whole, or of the tile
        where the scene is unknown. ``tile``: the tile as it was cut, so that it is not the same
        when tiles are joined.
    superseded_by : tuple of str
        Left out where the sensor has all of these bands, since better features exist there.
    expected : {-1, 0, 1}
        Where a landslide moves it, as far as physics tells; see `l4s_ensemble.features.physics`.
    relational : bool
        Whether the level of the scene cancels in it: a difference, a spread, a shape, terrain.
    """

    name: str
    group: str
    unit: str
    needs: tuple[str, ...]
    formula: str
    source: str
    support_px: int
    level: Literal["any", "absolute", "relative"] = "any"
    scope: Literal["window", "scene", "tile"] = "window"
    superseded_by: tuple[str, ...] = ()
    expected: int = 0
    relational: bool = False


@dataclass(frozen=True)
class Recipe:
    """A feature and the function that makes it: canvas in, picture of the core (y, x) out."""

    feature: Feature
    image: Callable[[Canvas], FloatImage]


@dataclass(frozen=True)
class Field:
    """A picture over the whole canvas that several features share.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Bands it reads.
    support_px : int
        How far it reads; features of it add their own reach.
    image : callable
        Canvas in, picture of the whole canvas out. Its outermost `support_px` pixels are not
        exact.
    unit : str
    """

    name: str
    needs: tuple[str, ...]
    support_px: int
    image: Callable[[Canvas], FloatImage]
    unit: str = "1"
