"""Features and logits block by block: a few tiles at a time, in as many processes as allowed.

The features of all pixels together are tens of gigabytes. Nobody holds them: sampled rows and
logits are made from blocks of a few tiles, by the same functions for training and for prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreArray
from l4s_ensemble.run.tasks import in_processes

BLOCK_TILES = 4
"""Tiles of one task; one after the other is computed."""


class TileFeatures(Protocol):
    """What gives the features of tiles: a `FeatureSource`, or a map."""

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of tiles by their ids."""
        ...

    def each(self, positions: ArrayLike) -> Iterator[NDArray[np.float32]]:
        """Features of one tile after the other, float32 (feature, y, x)."""
        ...


def write_sampled_rows(path: Path, source: FeatureSource, plan: PixelPlan, jobs: int) -> Path:
    """Compute the features of the planned pixels; what an interrupted process wrote is kept.

    Parameters
    ----------
    path : Path
        Gets float32, shape (row, feature), in the order of the plan, as an ``.npy`` made to be
        memory-mapped. It appears when it is whole.
    source : FeatureSource
        `FeatureSource.to_train` for rows that a model is trained on.
    plan : PixelPlan
    jobs : int

    Returns
    -------
    Path
        `path`.
    """
    if path.is_file():
        return path
    with atomic_path(path) as partial:
        rows = np.lib.format.open_memmap(partial, "w+", np.float32, (len(plan), source.features()))
        done = 0
        for part in sampled_rows(source, plan, jobs):
            rows[done : done + len(part)] = part
            done += len(part)
        rows.flush()
    return path


def sampled_rows(
    source: FeatureSource, plan: PixelPlan, jobs: int
) -> Iterator[NDArray[np.float32]]:
    """Features of the planned pixels, a few tiles at a time, float32 (row, feature)."""
    # Rows of one tile stand together; tiles without a row are never read.
    starts = np.flatnonzero(np.diff(plan.patch, prepend=plan.patch[0] - 1))
    positions, pixels = source.positions(plan.patch[starts]), np.split(plan.pixel, starts[1:])
    tasks = [(source, positions[b], pixels[b]) for b in blocks_of(len(starts))]
    parts = in_processes(rows_of_block, tasks, jobs)
    return track(parts, "pixel: features of sampled rows", len(tasks))


def blocks_of(tiles: int) -> list[slice]:
    """Slices of so many tiles, a task each."""
    return [slice(i, i + BLOCK_TILES) for i in range(0, tiles, BLOCK_TILES)]


def rows_of_block(
    source: TileFeatures, positions: NDArray[np.int64], pixels: list[NDArray[np.integer]]
) -> NDArray[np.float32]:
    """Features of some pixels of a few tiles, tile by tile, float32 (row, feature)."""
    tiles = zip(source.each(positions), pixels, strict=True)
    return np.concatenate([tile.reshape(len(tile), -1)[:, chosen].T for tile, chosen in tiles])


def score_tiles(
    scores: ScoreArray, source: FeatureSource, model: PixelModel, fold: NDArray[np.int64], jobs: int
) -> None:
    """Write the logits of all tiles that a score file lacks.

    Parameters
    ----------
    scores : ScoreArray or ScoreFile
    source : FeatureSource
    model : PixelModel
    fold : int64 array, shape (tile,)
        The fold whose classifier scores each tile.
    jobs : int
    """
    positions = source.positions(scores.patch)
    todo = scores.missing()
    tasks = [(source, model, positions[b], fold[b]) for b in todo]
    parts = track(in_processes(_score_block, tasks, jobs), "pixel: scoring tiles", len(todo))
    for block, logit in zip(todo, parts, strict=True):
        scores.write(block, logit)


def _score_block(
    source: FeatureSource,
    model: PixelModel,
    positions: NDArray[np.int64],
    fold: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Predict logits, float32 (tile, y, x), of the tiles at `positions` of the store."""
    tiles = zip(source.each(positions), fold, strict=True)
    return np.stack([model.folds[k].predict_logit_image(tile) for tile, k in tiles])
