"""Which tiles an epoch shows, and in what order.

A sample is a tile and the number of times that the epoch has shown it before. Both fit into one
number, its ticket: where every tile is shown once, the ticket is the tile's position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ORDER, _SHARE = 2, 3  # first word of a key: what the draw is for


def order(key: Sequence[int], epoch: int, count: int) -> NDArray[np.int64]:
    """Shuffled positions 0 … count-1 of an epoch."""
    return np.random.default_rng([_ORDER, *key, epoch]).permutation(count)


def balanced(
    key: Sequence[int], epoch: int, landslide: ArrayLike, share: float
) -> NDArray[np.int64]:
    """Shuffled positions of an epoch with a set share of landslides.

    Parameters
    ----------
    key : sequence of int
        Seed and fold.
    epoch : int
    landslide : array_like of bool, shape (n,)
        Whether a tile has a landslide.
    share : float
        Of the samples, those with a landslide, to the nearest sample. Where all tiles are of one
        kind, nothing can be done about it.

    Returns
    -------
    int64 array, shape (n,)
        As many samples as tiles. Within a kind, no tile is shown twice more than another.
    """
    has = np.asarray(landslide, bool)
    if has.all() or not has.any():
        return order(key, epoch, len(has))
    rng = np.random.default_rng([_SHARE, *key, epoch])
    wanted = round(share * len(has))
    parts = [
        evenly(rng, np.flatnonzero(kind), count)
        for kind, count in ((has, wanted), (~has, len(has) - wanted))
    ]
    return rng.permutation(np.concatenate(parts))


def tickets(positions: ArrayLike, tiles: int) -> NDArray[np.int64]:
    """Number the repeats of positions: the k-th time a tile is shown, its ticket is k tiles on.

    Parameters
    ----------
    positions : array_like of int, shape (n,)
        Below `tiles`.
    tiles : int
        Number of tiles in the set.

    Returns
    -------
    int64 array, shape (n,)
        ``position + tiles x repeat``; see `read_tickets`.
    """
    at = np.asarray(positions, np.int64)
    by_tile = np.argsort(at, kind="stable")
    ordered = at[by_tile]
    repeat = np.empty_like(at)
    repeat[by_tile] = np.arange(len(at)) - np.searchsorted(ordered, ordered)
    return at + tiles * repeat


def read_tickets(numbers: ArrayLike, tiles: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Position of each sample's tile, and how often the epoch has shown it before."""
    repeat, position = np.divmod(np.asarray(numbers, np.int64), tiles)
    return position, repeat


def evenly(rng: np.random.Generator, members: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """All members as often as they fit into `count`, and a draw of them for the rest."""
    times, rest = divmod(count, len(members))
    return np.concatenate([np.tile(members, times), rng.permutation(members)[:rest]])
