"""A way of a comparison in a process of its own: what the other sets for its process, it lacks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

from benchmarks.clocks import Spent, clocked

Way = Callable[[], Any]

_way: list[Way] = []  # in the other process: what a turn calls


class Apart:
    """Calls something in a process that stays.

    Parameters
    ----------
    make : callable
        Makes it there, from `args`: all that it keeps from turn to turn.
    *args
        Anything that can be sent.
    """

    def __init__(self, make: Callable[..., Way], *args: Any) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._pool.submit(_begin, make, *args).result()

    def turn(self) -> tuple[Spent, Any]:
        """Call it once: the seconds that it took there, and what it gave."""
        return self._pool.submit(_turn).result()

    def __enter__(self) -> Self:
        """Give the process itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._pool.shutdown()


def _begin(make: Callable[..., Way], *args: Any) -> None:
    _way[:] = [make(*args)]


def _turn() -> tuple[Spent, Any]:
    given: list[Any] = []
    spent = clocked(lambda: given.append(_way[0]()))
    return spent, given[0]
