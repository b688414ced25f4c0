"""Reference masks and scores of tiles, a few tiles at a time, in one process or in several.

What counts pixels of a whole run goes through here, so that no more than `BLOCK_TILES` tiles are
in memory, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.store import open_store, positions_of
from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics.histogram import TINY, sigmoid
from l4s_ensemble.run.scores import open_scores

TASK_TILES = 64
"""Tiles that one task of a process counts."""

BLOCK_TILES = 4
"""Tiles in memory at once."""


@dataclass(frozen=True)
class TileBlock:
    """Some tiles.

    Attributes
    ----------
    patch, positions : int64 array, shape (tile,)
        Ids, and positions along the store's ``patch``.
    reference : bool array, shape (tile, y, x)
        Reference masks.
    scores : tuple of float32 array, shape (tile, y, x)
        One a score file, as it is on disk.
    is_logit : tuple of bool
        Whether a file holds logits; else it holds probabilities.
    """

    patch: NDArray[np.int64]
    positions: NDArray[np.int64]
    reference: NDArray[np.bool_]
    scores: tuple[NDArray[np.float32], ...]
    is_logit: tuple[bool, ...]

    def probability(self, which: int = 0) -> NDArray[np.float64]:
        """Probabilities of a file, shape (tile, y, x); float64, as thresholds are."""
        values = self.scores[which]
        return (sigmoid(values) if self.is_logit[which] else values).astype(np.float64)

    def logit(self, which: int = 0) -> NDArray[np.float32]:
        """Natural log-odds of a file, shape (tile, y, x)."""
        values = self.scores[which]
        if self.is_logit[which]:
            return values
        p = np.clip(values.astype(np.float64), TINY, 1 - TINY)
        return (np.log(p) - np.log1p(-p)).astype(np.float32)


def ids_in(store: Path, *scores: Path) -> NDArray[np.int64]:
    """Ids of the tiles that the first file scored."""
    ids: NDArray[np.int64] = opened(store, *scores)[1]["patch"].values
    return ids


def tasks_of(ids: ArrayLike) -> list[NDArray[np.int64]]:
    """Ids of each task, at most `TASK_TILES` of them."""
    of_all = np.asarray(ids, dtype=np.int64)
    return [of_all[i : i + TASK_TILES] for i in range(0, len(of_all), TASK_TILES)]


def blocks_of(store: Path, scores: tuple[Path, ...], ids: NDArray[np.int64]) -> Iterator[TileBlock]:
    """Read tiles block by block.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    scores : tuple of Path
        Files that `l4s_ensemble.run.scores.ScoreFile` wrote, without an axis of fold models.
    ids : int64 array, shape (tile,)

    Raises
    ------
    DataError
        If the store lacks a tile.
    RunError
        If a file lacks one, or cannot be read.
    """
    dataset, *files = opened(store, *scores)
    names = ["logit" if "logit" in f else "probability" for f in files]
    places = []
    for path, file in zip(scores, files, strict=True):
        known = {int(patch): n for n, patch in enumerate(file["patch"].values)}
        lost = [int(i) for i in ids if int(i) not in known]
        if lost:
            raise RunError(
                f"{len(lost)} tiles were not scored",
                where=path,
                found=lost[:10],
                fix="run the stage that scores them again",
            )
        places.append(np.array([known[int(i)] for i in ids], dtype=np.int64))
    for b in (slice(i, i + BLOCK_TILES) for i in range(0, len(ids), BLOCK_TILES)):
        positions = positions_of(dataset, ids[b])
        yield TileBlock(
            patch=ids[b],
            positions=positions,
            reference=dataset["mask"].isel(patch=positions).values.astype(bool),
            scores=tuple(
                np.asarray(f[name].isel(patch=at[b]).values, dtype=np.float32)
                for f, name, at in zip(files, names, places, strict=True)
            ),
            is_logit=tuple(name == "logit" for name in names),
        )


@lru_cache(maxsize=2)
def opened(store: Path, *scores: Path) -> tuple[xr.Dataset, ...]:
    """Open a store and score files, once for all tasks of a process."""
    return open_store(store), *(open_scores(path) for path in scores)
