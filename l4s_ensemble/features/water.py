"""Water on the terrain: flow accumulation, wetness, height above the drainage."""

from __future__ import annotations

from l4s_ensemble.features.recipe import Field, Recipe


def fields() -> list[Field]:
    """Pictures that the features of this group share."""
    return []


def recipes() -> list[Recipe]:
    """The group ``water``."""
    return []
