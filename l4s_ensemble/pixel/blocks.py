"""Features block by block: a few tiles at a time, in as many processes as allowed.

The features of all pixels together are tens of gigabytes. Nobody holds them: sampled rows and
scores are made from blocks of a few tiles, by the same function for training and for prediction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.run.progress import track

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.features.registry import FeaturePlan
    from l4s_ensemble.pixel.sampling import PixelPlan

BLOCK_TILES = 4
"""Tiles computed at once: 60 features of 4 tiles are 16 MB."""

T = TypeVar("T")


@dataclass(frozen=True)
class FeatureSource:
    """Where the features of tiles come from: a store of tiles and a plan of features.

    Small enough to be sent to another process, which opens both there, once.

    Attributes
    ----------
    store : Path
        A ``patches.zarr``.
    plan : Path
        A ``features.json``.
    """

    store: Path
    plan: Path

    def features(self) -> int:
        """Return the number of features."""
        return len(_plan(self.plan).names)

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of tiles in the store, in the order of their `ids`."""
        from l4s_ensemble.data.store import positions_of

        return positions_of(_opened(self.store), ids)

    def tiles(self, positions: ArrayLike) -> NDArray[np.float32]:
        """Features of the tiles at `positions` of the store, float32 (tile, feature, y, x)."""
        from l4s_ensemble.data.store import sensor_of, units
        from l4s_ensemble.features.build import compute_many

        dataset, plan = _opened(self.store), _plan(self.plan)
        images = units(dataset, np.asarray(positions))
        return compute_many(images, sensor_of(dataset), plan)


@lru_cache(maxsize=4)
def _opened(store: Path) -> xr.Dataset:
    from l4s_ensemble.data.store import open_store

    return open_store(store)


@lru_cache(maxsize=4)
def _plan(path: Path) -> FeaturePlan:
    from l4s_ensemble.features.build import plan_from_file

    return plan_from_file(path)


def in_processes(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[T]:
    """Call `function(*task)` for each task and yield the results in order.

    With one job everything happens here; with more, a few blocks at a time are under way, so
    that memory stays flat however many tasks there are.
    """
    if jobs <= 1 or len(tasks) <= 1:
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


def write_sampled_rows(path: Path, source: FeatureSource, plan: PixelPlan, jobs: int) -> None:
    """Compute the features of the planned pixels and write them as an ``.npy``, atomically.

    Parameters
    ----------
    path : Path
        Gets float32, shape (row, feature), in the order of the plan; made to be memory-mapped.
    source : FeatureSource
    plan : PixelPlan
    jobs : int
    """
    # Rows of one tile stand together; tiles without a row are never read.
    starts = np.flatnonzero(np.diff(plan.patch, prepend=plan.patch[0] - 1))
    ends = np.append(starts[1:], len(plan))
    positions = source.positions(plan.patch[starts])
    tasks = [
        (source, positions[b], [plan.pixel[s:e] for s, e in zip(starts[b], ends[b], strict=True)])
        for b in (slice(i, i + BLOCK_TILES) for i in range(0, len(starts), BLOCK_TILES))
    ]
    parts = in_processes(_rows_of_block, tasks, jobs)
    with atomic_path(path) as partial:
        rows = np.lib.format.open_memmap(partial, "w+", np.float32, (len(plan), source.features()))
        done = 0
        for part in track(parts, "pixel: features of sampled rows", len(tasks)):
            rows[done : done + len(part)] = part
            done += len(part)
        rows.flush()


def _rows_of_block(
    source: FeatureSource, positions: NDArray[np.int64], pixels: list[NDArray[np.int32]]
) -> NDArray[np.float32]:
    cube = source.tiles(positions)
    flat = cube.reshape(*cube.shape[:2], -1)
    return np.concatenate([flat[i][:, p].T for i, p in enumerate(pixels)])
