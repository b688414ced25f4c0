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
    """One number per pixel, described."""

    name: str  # unique
    group: str  # a config may choose groups
    unit: str  # 1 (none), degree, m, 1/km
    needs: tuple[str, ...]  # names of the bands it reads
    formula: str  # for people; a band's name stands for reflectance, or for a relative value
    source: str  # where the formula comes from
    support_px: int  # it reads pixels at most this far away, in rows and in columns
    words: Words
    radiometry: Literal["any", "absolute", "relative"] = "any"  # of the sensors it makes sense for
    scene_fields: tuple[str, ...] = ()  # whose statistics of the scene it reads, beside its window
    superseded_by: tuple[str, ...] = ()  # left out where the sensor has all of these bands
    expected: int = (
        0  # where a landslide moves it: +1 above what it replaced, -1 below, 0 not known
    )
    relational: bool = False  # the gain of the scene cancels: a difference, spread, rank, terrain
    # It depends on the tile that a pixel is computed in, beside what lies within its support: a map
    # computes it on tiles of one grid that is anchored to the scene.
    by_tile: bool = False
