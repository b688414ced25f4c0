"""Progress lines on standard error."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger("l4s_ensemble")


def track(items: Iterable[T], label: str, total: int, *, every_s: float = 10.0) -> Iterator[T]:
    """Yield the items; log ``label done/total`` at most once in `every_s` seconds, and at the end.

    Parameters
    ----------
    items : iterable
    label : str
        What is being done, for example ``pixel fold 2: scoring patches``.
    total : int
        Number of items.
    every_s : float
        Least time between two lines, seconds.
    """
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done < total and now - last >= every_s:
            last = now
            left = (now - started) / done * (total - done)
            log.info("%s %d/%d, about %.0f s left", label, done, total, left)
    log.info("%s: %d in %.1f s", label, total, time.monotonic() - started)
