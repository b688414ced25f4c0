"""How numbers are written, one way on all pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

NONE = "–"


def score(value: Any) -> str:
    """F1, precision, recall, IoU, thresholds, AUC: three digits, ``0.654``."""
    return NONE if value is None else _minus(f"{float(value):.3f}")


def points(value: Any) -> str:
    """Score x 100 with one digit, ``65.4``: only beside published scores."""
    return NONE if value is None else _minus(f"{100 * float(value):.1f}")


def gain(value: Any) -> str:
    """A difference of scores, signed unless it rounds to nothing, ``+0.021``."""
    if value is None:
        return NONE
    return _minus(f"{float(value):+.3f}") if abs(float(value)) >= 0.0005 else "0.000"


def signed(value: Any) -> str:
    """A difference in any unit, always signed, two digits, ``+1.25``."""
    return NONE if value is None else _minus(f"{float(value):+.2f}")


def count(value: Any) -> str:
    """Whole numbers with commas, ``12,345``."""
    return NONE if value is None else _minus(f"{round(float(value)):,}")


def share(value: Any) -> str:
    """Shares of pixels or tiles in percent, ``2.3 %``."""
    if value is None:
        return NONE
    percent = 100 * float(value)
    if percent in (0, 100):
        return f"{percent:.0f}\u202f%"
    digits = 1 if percent >= 1 else 2
    text = f"{percent:.{digits}f}"
    if float(text) == 0:
        return "<\u202f0.01\u202f%"
    if float(text) == 100:
        return ">\u202f99.9\u202f%"
    return f"{text}\u202f%"


def number(value: Any) -> str:
    """Any measured number: three significant digits, never an exponent for common sizes."""
    if value is None:
        return NONE
    x = float(value)
    if x == 0:
        return "0"
    if abs(x) >= 1000:
        return _minus(f"{x:,.0f}")
    if abs(x) < 1e-4:
        return _minus(f"{x:.1e}")
    return _minus(f"{float(f'{x:.3g}'):.10f}".rstrip("0").rstrip("."))


def seconds(value: Any) -> str:
    """A duration, ``0.8 s``, ``42 s``, ``3 min 20 s``, ``1 h 12 min``."""
    if value is None:
        return NONE
    s = float(value)
    if s < 10:
        return f"{s:.1f}\u202fs"
    whole = round(s)
    if whole < 60:
        return f"{whole}\u202fs"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}\u202fmin {rest}\u202fs" if rest else f"{minutes}\u202fmin"
    hours, minutes = divmod(round(s / 60), 60)
    return f"{hours}\u202fh {minutes}\u202fmin" if minutes else f"{hours}\u202fh"


def text(value: Any) -> str:
    """Anything else; lists are joined, true and false are yes and no."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(v) for v in value) or NONE
    return str(value)


def interval(value: Any) -> str:
    """Ends of an interval of scores, ``0.612–0.691``."""
    return NONE if value is None else f"{score(value[0])}–{score(value[1])}"


class HasEnds(Protocol):
    """An interval of a difference."""

    @property
    def low(self) -> float | None:
        """Lower end."""

    @property
    def high(self) -> float | None:
        """Upper end."""


class HasInterval(Protocol):
    """An F1 with its interval."""

    @property
    def f1_low(self) -> float | None:
        """Lower end."""

    @property
    def f1_high(self) -> float | None:
        """Upper end."""

    @property
    def blocks(self) -> int:
        """Spatial blocks behind it."""


def gain_interval(found: HasEnds) -> str | None:
    """Ends of an interval of a difference; None where it is not known."""
    if found.low is None or found.high is None:
        return None
    return f"{gain(found.low)} to {gain(found.high)}"


def interval_of(found: HasInterval) -> str:
    """Interval of an F1 in words, or why there is none."""
    if found.f1_low is None or found.f1_high is None:
        return no_interval(found.blocks)
    return f"95\u202f% interval {score(found.f1_low)} to {score(found.f1_high)}"


def of_100(value: float) -> str:
    """Share as a count of a hundred."""
    n = 100 * float(value)
    if 0 < n < 1:
        return "fewer than 1"
    if 99 < n < 100:
        return "more than 99"
    return str(math.floor(n + 0.5))


def area(square_metres: float) -> str:
    """Area in hectares, the one unit of areas on all pages."""
    return f"{number(square_metres / 10_000)}\u202fha"


def area_or_none(value: Any) -> str:
    """Area, or a dash."""
    return NONE if value is None else area(float(value))


def percent(value: float) -> str:
    """Relative difference, ``+36 %``."""
    return _minus(f"{100 * value:+.0f}\u202f%")


def some(names: Sequence[str], most: int) -> str:
    """List at most so many names, and say how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def plural(n: int, one: str) -> str:
    """``1 tile``, ``2,300 tiles``."""
    return f"{n:,} {one}{'' if n == 1 else 's'}"


def sigfig(value: Any, digits: int = 4) -> Any:
    """Round floats in nested plain values to significant digits, for small files."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {k: sigfig(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [sigfig(v, digits) for v in value]
    return value


def _minus(written: str) -> str:
    return written.replace("-", "\u2212")


KINDS = {
    "score": score, "gain": gain, "count": count, "share": share, "interval": interval,
    "number": number, "signed": signed,
    "seconds": seconds, "text": text, "area": area_or_none, "picture": text, "link": text,
}  # fmt: skip
"""Kinds of table columns and how each is written."""


def no_interval(blocks: int) -> str:
    """Why a score has no interval."""
    few = plural(blocks, "block")
    return f"no interval: {few} of tiles {'is' if blocks == 1 else 'are'} too few"
