"""Tiles as the meta-learner sees them, a few at a time: each chunk on disk is read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.store import open_store
from l4s_ensemble.errors import RunError
from l4s_ensemble.run.scores import CHUNK_TILES, open_scores

BLOCK_TILES = 4 * CHUNK_TILES
"""Tiles in memory at once: whole chunks of the scores."""


@dataclass(frozen=True)
class Block:
    """Some tiles in a row; arrays have shape (tile, y, x).

    Attributes
    ----------
    at : slice
        Their positions.
    pixel, unet : float32 array
        Logits.
    truth : bool array
    """

    at: slice
    pixel: NDArray[np.float32]
    unet: NDArray[np.float32]
    truth: NDArray[np.bool_]


class OutOfFold:
    """Both models' out-of-fold logits on the same tiles, with the reference.

    Parameters
    ----------
    pixel, unet : Path
        Their ``oof.zarr``.
    store : Path
        ``patches.zarr`` with masks.

    Attributes
    ----------
    patch, fold : int64 array, shape (tile,)
    size : tuple of int
        Height and width of a tile.

    Raises
    ------
    RunError
        If the two were made on other tiles or folds.
    """

    def __init__(self, pixel: Path, unet: Path, store: Path) -> None:
        self.paths = (pixel, unet, store)
        self._pixel = open_scores(pixel)
        self._unet = open_scores(unet)
        self._store = open_store(store)
        self.patch: NDArray[np.int64] = self._pixel["patch"].values
        self.fold: NDArray[np.int64] = self._pixel["fold"].values
        same = np.array_equal(self.patch, self._unet["patch"].values) and np.array_equal(
            self.fold, self._unet["fold"].values
        )
        if not same:
            raise RunError(
                "the two models were scored on other tiles or folds", where=f"{pixel}, {unet}",
                fix="run `l4s-ensemble fit-all` again with this run folder",
            )  # fmt: skip
        mask = self._store["mask"]
        self.size = (int(mask.sizes["y"]), int(mask.sizes["x"]))

    def blocks(self) -> Iterator[Block]:
        """All tiles, in order."""
        for at in slices(len(self.patch)):
            masks = self._store["mask"].sel(patch=self.patch[at]).values
            pixel, unet = (scores["logit"][at].values for scores in (self._pixel, self._unet))
            yield Block(at, pixel, unet, np.asarray(masks == 1))


def slices(tiles: int) -> list[slice]:
    """Blocks of tiles, in order."""
    return [slice(i, min(i + BLOCK_TILES, tiles)) for i in range(0, tiles, BLOCK_TILES)]
