"""Features block by block: a few tiles at a time, in as many processes as allowed.

The features of all pixels together are tens of gigabytes. Nobody holds them: sampled rows and
scores are made from blocks of a few tiles, by the same function for training and for prediction.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

BLOCK_TILES = 4
"""Tiles of one task; one after the other is computed."""


def write_sampled_rows(path: Path, source: FeatureSource, plan: PixelPlan, jobs: int) -> None:
    """Compute the features of the planned pixels and write them as an ``.npy``, atomically.

    Parameters
    ----------
    path : Path
        Gets float32, shape (row, feature), in the order of the plan; made to be memory-mapped.
    source : FeatureSource
        `FeatureSource.to_train` for rows that a model is trained on.
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
    tiles = zip(source.each(positions), pixels, strict=True)
    return np.concatenate([tile.reshape(len(tile), -1)[:, chosen].T for tile, chosen in tiles])
