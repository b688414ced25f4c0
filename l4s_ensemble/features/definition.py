"""Declaration of a feature.

Everything that is known of a feature is declared where it is defined. Nothing is derived from its
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Words(NamedTuple):
    """Words for a value."""

    topic: str  # features of one are added up when a landslide is explained
    high: str  # what a high value means
    low: str


@dataclass(frozen=True)
class Feature:
    """One number per pixel, described.

    Attributes
    ----------
    name : str
        Unique.
    group : str
        A config may choose groups.
    unit : str
        ``1`` (no unit), ``degree``, ``m``, ``1/km``.
    needs : tuple of str
        Names of the bands it reads.
    formula : str
        For people. Band names stand for reflectance (or values relative to the tile).
    source : str
        Where the formula comes from.
    support_px : int
        It reads pixels at most this far away, in rows and in columns.
    radiometry : {'any', 'absolute', 'relative'}
        Which sensors it makes sense for: ``absolute`` needs true reflectance.
    scene_fields : tuple of str
        Fields whose statistics of the scene it reads, beside its window.
    superseded_by : tuple of str
        Left out where the sensor has all of these bands, since better features exist there.
    expected : {-1, 0, 1}
        Where a landslide moves it: +1, it has the higher value than what it replaced; 0, not known.
    relational : bool
        Whether the gain of the scene cancels in it: a difference, a spread, a rank, terrain.
    by_tile : bool
        Whether it depends on the tile that a pixel is computed in, beside what lies within its
        support: a map computes it on tiles of one grid that is anchored to the scene.
    """

    name: str
    group: str
    unit: str
    needs: tuple[str, ...]
    formula: str
    source: str
    support_px: int
    words: Words
    radiometry: Literal["any", "absolute", "relative"] = "any"
    scene_fields: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()
    expected: int = 0
    relational: bool = False
    by_tile: bool = False
