"""Logits of tiles from logits of windows that overlap.

A window of a tile reaches `halo_px` pixels into its neighbours, and theirs into it. Every pixel of
a tile is the weighted mean of the logits of all windows that cover it: that of the tile itself, and
along its edges those of the neighbours. The weights fall to zero at the edges of a window, where a
network knows least, so no seam is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.scenes.surroundings import Surroundings

Ints = NDArray[np.int64]


def weights(tile_px: int, halo_px: int) -> torch.Tensor:
    """Weight of every pixel of a window, float32 (y, x).

    A raised cosine over the first and last 2 x halo pixels of each side. There two windows side by
    side overlap, and their weights add to 1.
    """
    size = tile_px + 2 * halo_px
    at = torch.arange(size, dtype=torch.float64)
    inside = torch.minimum(at, size - 1 - at) + 0.5
    ramp = torch.sin(torch.pi / 2 * (inside / max(2 * halo_px, 1)).clamp(max=1.0)) ** 2
    return (ramp[:, None] * ramp[None, :]).float()


def blend(
    windows: torch.Tensor, around: torch.Tensor, wanted: torch.Tensor, halo_px: int
) -> torch.Tensor:
    """Blend windows into tiles.

    The sum over windows has a fixed order, so a tile does not depend on what is asked for with it.

    Parameters
    ----------
    windows : float32 Tensor, shape (m, ..., tile + 2 halo, tile + 2 halo)
        Logits of windows, each about the middle of its tile.
    around : int64 Tensor, shape (m, 3, 3)
        Rows of `windows` of each one's neighbours, -1 where there is none. A window counts for a
        tile only if it shows it: if each is a neighbour of the other.
    wanted : int64 Tensor, shape (n,)
        Rows of the tiles that are wanted; all their neighbours must be among the windows.
    halo_px : int
        At most the size of a tile.

    Returns
    -------
    float32 Tensor, shape (n, ..., tile, tile)
    """
    if halo_px == 0:
        return windows[wanted]
    size, device = windows.shape[-1], windows.device
    tile_px = size - 2 * halo_px
    weight = weights(tile_px, halo_px).to(device)
    middle = slice(halo_px, halo_px + tile_px)
    one = (..., middle, middle)
    total = windows[wanted][one] * weight[one]
    whole = weight[one].expand(len(wanted), tile_px, tile_px).clone()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            other = around[wanted, down + 1, right + 1]
            back = around[other.clamp(min=0), 1 - down, 1 - right]
            told = torch.nonzero((other >= 0) & (back == wanted)).flatten()
            if (down, right) == (0, 0) or not len(told):
                continue
            y, from_y = _overlap(down, tile_px, halo_px)
            x, from_x = _overlap(right, tile_px, halo_px)
            part = weight[from_y, from_x]
            total[(told, ..., y, x)] += windows[(other[told], ..., from_y, from_x)] * part
            whole[told, y, x] += part
    return total / whole.reshape(len(wanted), *[1] * (windows.ndim - 3), tile_px, tile_px)


def _overlap(step: int, tile_px: int, halo_px: int) -> tuple[slice, slice]:
    """Along one side, what the window of the neighbour at a step covers: in the tile, in it."""
    if step == 0:
        return slice(0, tile_px), slice(halo_px, halo_px + tile_px)
    if step < 0:
        return slice(0, halo_px), slice(halo_px + tile_px, tile_px + 2 * halo_px)
    return slice(tile_px - halo_px, tile_px), slice(0, halo_px)


def with_neighbours(around: NDArray[np.int64], positions: ArrayLike) -> Ints:
    """Positions of some tiles and of all their neighbours, sorted, each once.

    Parameters
    ----------
    around : int64 array, shape (tile, 3, 3)
        Positions of each tile's neighbours, -1 where there is none.
    """
    at = np.asarray(positions, np.int64)
    near = around[at]
    return np.unique(np.append(at, near[near >= 0]))


@dataclass(frozen=True)
class Step:
    """A part of the work on many tiles, which do not all fit in memory at once.

    Attributes
    ----------
    read : int64 array
        Positions of the tiles that are read, sorted.
    score : int64 array
        Those of them whose windows are scored, sorted.
    need : int64 array
        Tiles whose windows are needed, scored now or before, sorted.
    tiles : int64 array
        Tiles that are blended.
    drop : tuple of int
        Tiles whose windows no later step needs.
    """

    read: Ints
    score: Ints
    need: Ints
    tiles: Ints
    drop: tuple[int, ...]


def plan(around: NDArray[np.int64], asked: Iterable[Ints], halo_px: int) -> Iterator[Step]:
    """Order the work so that every window is scored once.

    Parameters
    ----------
    around : int64 array, shape (tile, 3, 3)
        Of all tiles of the store.
    asked : iterable of int64 array
        Tiles of each step.
    halo_px : int
        Without a halo no window reaches anywhere: each step reads its own tiles alone.
    """
    parts = [np.asarray(tiles, np.int64) for tiles in asked]
    needs = [with_neighbours(around, p) if halo_px else np.sort(p) for p in parts]
    last = {tile: i for i, need in enumerate(needs) for tile in need.tolist()}
    there: set[int] = set()
    for i, (tiles, need) in enumerate(zip(parts, needs, strict=True)):
        score = np.array([t for t in need.tolist() if t not in there], np.int64)
        read = with_neighbours(around, score) if halo_px else score
        there.update(score.tolist())
        drop = tuple(t for t in there if last[t] == i)
        there.difference_update(drop)
        yield Step(read, score, need, tiles, drop)


def table_of(known: Surroundings | None, tiles: int) -> NDArray[np.int64]:
    """Neighbours of all tiles of a store, (tile, 3, 3); every tile alone where none are known."""
    if known is not None:
        return known.table(np.arange(tiles))
    out = np.full((tiles, 3, 3), -1, np.int64)
    out[:, 1, 1] = np.arange(tiles)
    return out


def among(around: NDArray[np.int64], tiles: Ints) -> NDArray[np.int64]:
    """Neighbours of some tiles as their numbers among these, (n, 3, 3); `tiles` is sorted."""
    near = around[tiles]
    number = np.searchsorted(tiles, near).clip(max=max(len(tiles) - 1, 0))
    return np.where((near >= 0) & (tiles[number] == near), number, -1)
