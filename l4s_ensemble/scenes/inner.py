"""Parts of a fold's training tiles, in whole spatial blocks: what may choose for a model.

The tiles that a fold holds out choose nothing about the model that scores them. What must be
chosen is chosen by a part of the training tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.scenes.grid import Grid

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

WATCHED_SHARE = 0.15
"""Share of a fold's training tiles that early stopping watches."""


def watched(
    folds: Folds, ids: NDArray[np.int64], rng: np.random.Generator, share: float = WATCHED_SHARE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set whole blocks of tiles aside to watch a fit on the rest.

    Blocks with a landslide and blocks without are drawn apart, each until they hold `share` of
    their tiles.

    Parameters
    ----------
    folds : Folds
    ids : int64 array, shape (tile,)
        The tiles to train on.
    rng : Generator
    share : float

    Returns
    -------
    inner : int64 array
        Tiles to fit on: neither watched, nor beside a watched tile, nor a copy of such a tile.
    aside : int64 array
        Tiles to watch. Either may be empty or without a landslide where blocks are few.
    """
    block = folds.of(ids, "block")
    aside = np.zeros(len(ids), bool)
    for kind in _by_landslide(folds, ids, block):
        names, tiles = np.unique(block[np.isin(block, kind)], return_counts=True)
        order = rng.permutation(len(names))
        before = np.cumsum(tiles[order]) - tiles[order]
        aside |= np.isin(block, names[order[before < share * tiles.sum()]])
    return ids[~np.isin(ids, _near(folds, ids[aside]))], ids[aside]


def _by_landslide(
    folds: Folds, ids: NDArray[np.int64], block: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Blocks with a landslide, and blocks without."""
    has = np.unique(block[folds.of(ids, "landslide_pixels") > 0])
    return has, np.setdiff1d(block, has)


def _near(folds: Folds, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give `ids`, their eight neighbours, and the tiles that copy one of these."""
    if not len(ids):
        return ids
    chosen = np.isin(folds.patch, ids)
    grid = Grid(folds.grid, folds.patch, folds.scene, folds.row, folds.col)
    near = chosen | grid.touching(chosen)
    return folds.patch[near | np.isin(folds.content_hash, folds.content_hash[near])]
