"""Clocks that several benchmarks can share: the wall's, and the processor's own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spent:
    """Seconds of one call: on the wall's clock, and of the processor. Alike on an idle machine."""

    wall: float
    busy: float


def clocked(way: Callable[[], object]) -> Spent:
    """Call once and look at both clocks."""
    wall, busy = time.perf_counter(), time.process_time()
    way()
    return Spent(time.perf_counter() - wall, time.process_time() - busy)


def middle(spent: Sequence[Spent]) -> Spent:
    """Median of each clock."""
    return Spent(statistics.median(s.wall for s in spent), statistics.median(s.busy for s in spent))


def spent_each(
    ways: dict[str, Callable[[NDArray[np.float32]], object]],
    images: Sequence[NDArray[np.float32]],
    rounds: int,
) -> dict[str, Spent]:
    """Median seconds for one patch of each way; they take turns, so load hits them alike."""
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for way in ways.values():
        way(images[0])  # compiled, imported and cached before the clock runs
    for turn in range(rounds):
        image = images[turn % len(images)]
        for name, way in ways.items():
            spent[name].append(clocked(partial(way, image)))
    return {name: middle(times) for name, times in spent.items()}
