"""Values against the scene, and against the same slope aspect nearby."""

from __future__ import annotations

from l4s_ensemble.features.recipe import Field, Recipe


def recipes(fields: dict[str, Field]) -> list[Recipe]:
    """The group ``relative``."""
    return []
