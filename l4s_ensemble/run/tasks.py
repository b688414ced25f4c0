"""Loops over blocks of work, in this process or in several."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def in_processes(
    function: Callable[..., T], tasks: Iterable[tuple[Any, ...]], jobs: int
) -> Iterator[T]:
    """Call `function(*task)` for each task and yield the results in order.

    With one job everything happens here; with more, a few blocks at a time are under way, so
    that memory stays flat however many tasks there are.
    """
    if jobs <= 1 or (isinstance(tasks, Sequence) and len(tasks) <= 1):
        for task in tasks:
            yield function(*task)
        return
    from joblib import Parallel, delayed

    # joblib replaces workers that have grown; that is its own affair, and costs a second.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    run = Parallel(
        n_jobs=jobs, return_as="generator", batch_size=1, pre_dispatch="3*n_jobs", max_nbytes=None
    )
    yield from run(delayed(function)(*task) for task in tasks)
