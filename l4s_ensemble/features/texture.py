"""Texture: coherence and direction of what surrounds a pixel."""

from __future__ import annotations

from l4s_ensemble.features.recipe import Field, Recipe


def fields() -> list[Field]:
    """Pictures that the features of this group share."""
    return []


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``texture``."""
    return []
