"""What a check finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["passed", "tip", "issue"]


class Finding(NamedTuple):
    """What a check found; ``titles`` are that of a passed one, ``|``, and that of another."""

    level: Level
    titles: str
    measured: str
    advice: str = ""


def level_of(value: float, bounds: tuple[float, float]) -> Level:
    """Passed up to the first bound, a tip up to the second."""
    return "passed" if value <= bounds[0] else "tip" if value <= bounds[1] else "issue"
