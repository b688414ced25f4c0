"""Loops over independent tasks: in this process, in several, or on a dask cluster."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from l4s_ensemble.errors import ConfigError

T = TypeVar("T")

SCHEDULER = "L4S_SCHEDULER"
"""Environment variable with the address of a dask scheduler; processes of stages inherit it."""

CONNECT_S = 30
"""Seconds in which the scheduler must answer."""


def in_processes(
    function: Callable[..., T], tasks: Iterable[tuple[Any, ...]], jobs: int
) -> Iterator[T]:
    """Call `function(*task)` for each task and yield the results in order.

    On a cluster, if there is one (see `cluster_threads`), whatever `jobs` is: then the workers must
    see the same files. Else in `jobs` processes, and with one job here. A few tasks at a time are
    under way, so that memory stays flat however many there are.

    Raises
    ------
    ConfigError
        If the cluster does not answer.
    """
    threads = cluster_threads()
    single = isinstance(tasks, Sequence) and len(tasks) <= 1
    if threads is None and (jobs <= 1 or single):
        for task in tasks:
            yield function(*task)
        return
    from joblib import Parallel, delayed, parallel_config

    # joblib replaces workers that have grown; that is its own affair, and costs a second.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    with parallel_config("loky" if threads is None else "dask", n_jobs=threads or jobs):
        run = Parallel(
            return_as="generator", batch_size=1, pre_dispatch="3*n_jobs", max_nbytes=None
        )
    yield from run(delayed(function)(*task) for task in tasks)


def cluster_threads() -> int | None:
    """Threads of the dask cluster that loops run on; None without one, and on its workers.

    The cluster is that of `SCHEDULER`, or of the ``distributed.Client`` that is open in this
    process.
    """
    address = os.environ.get(SCHEDULER)
    if address is None and "distributed" not in sys.modules:
        return None
    try:
        from distributed import default_client, get_worker
    except ImportError:
        raise ConfigError(
            "a cluster needs dask", where="--scheduler", fix="pip install 'l4s_ensemble[dask]'"
        ) from None
    try:
        get_worker()
        return None
    except ValueError:  # this is no worker
        pass
    if address is not None:
        client = _client(address)
    else:
        try:
            client = default_client()
        except ValueError:
            return None
    threads: dict[str, int] = client.nthreads()
    return max(1, sum(threads.values()))


@lru_cache(maxsize=1)
def _client(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "no dask scheduler answers",
            where="--scheduler",
            found=f"{address}: {error}",
            fix="start one with `dask scheduler` and workers with `dask worker ADDRESS`",
        ) from None
