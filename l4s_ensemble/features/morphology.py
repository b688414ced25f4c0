"""Morphological profiles: bright and dark things by their size."""

from __future__ import annotations

from l4s_ensemble.features.recipe import Field, Recipe


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``morphology``."""
    return []
