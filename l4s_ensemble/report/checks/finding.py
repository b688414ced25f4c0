"""What checks find, and what they look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Level = Literal["passed", "tip", "issue"]


class Finding(NamedTuple):
    """What a check found; ``titles`` are that of a passed one, ``|``, and that of another."""

    level: Level
    titles: str
    measured: str
    advice: str = ""


class Place(NamedTuple):
    """Something that was scored.

    Attributes
    ----------
    kind : {'base', 'stack', 'split'}
        A base model or the stack out-of-fold, or the stack on a split.
    page, key : str
        Its page, and its name in those of the checks.
    name, where : str
        What was scored, and on what, in words.
    summary, row : mapping
        Of the stage that scored it, and its scores.
    """

    kind: str
    page: str
    key: str
    name: str
    where: str
    summary: Mapping[str, Any]
    row: Mapping[str, Any]


def level_of(value: float, bounds: tuple[float, float]) -> Level:
    """Passed up to the first bound, a tip up to the second."""
    return "passed" if value <= bounds[0] else "tip" if value <= bounds[1] else "issue"
