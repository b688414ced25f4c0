"""What a check is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["passed", "tip", "issue"]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    page : str
        Page it belongs to; the index shows all.
    key : str
        Stable name.
    level : {'passed', 'tip', 'issue'}
    title : str
        The finding in a few words.
    explanation : str
        What was found, and what it means or what to do.
    """

    page: str
    key: str
    level: Level
    title: str
    explanation: str
