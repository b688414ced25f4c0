"""Objects of masks, 8-connected; where places are known, joined over the seams of tiles.

Two rooms number the same objects from the same masks, so numbering them is done here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.run.stage import StageContext

Mask = NDArray[np.uint8]
Places = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]

TOUCHING = np.ones((3, 3), np.uint8)
"""Pixels that share an edge or a corner belong together."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """The objects of the masks of some tiles, numbered from 1, the largest first.

    Attributes
    ----------
    read : callable
        Gives the mask of the tile at a position, shape (y, x).
    first : int64 array, shape (tile + 1,)
        Where the parts of each tile begin in `number`.
    number : int64 array, shape (part,)
        Object that each part belongs to; a part is what lies in one tile.
    pixels : int64 array, shape (object,)
        Size of object ``i + 1``.
    tiles : int64 array, shape (object,)
        Number of tiles that it lies in.
    cut : bool array, shape (object,)
        Whether it reaches a rim beyond which no mask is known: the rest of it is not counted.
    """

    read: Callable[[int], Mask]
    first: NDArray[np.int64]
    number: NDArray[np.int64]
    pixels: NDArray[np.int64]
    tiles: NDArray[np.int64]
    cut: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pixels)

    def with_objects(self) -> list[int]:
        """Positions of the tiles that hold an object."""
        return [int(i) for i in np.flatnonzero(np.diff(self.first))]

    def labels(self, tile: int) -> NDArray[np.int64]:
        """Number of the object of each pixel, 0 outside, shape (y, x)."""
        own = self.number[self.first[tile] : self.first[tile + 1]]
        return np.concatenate([[0], own])[_parts(self.read(tile))[0]]


def find_outlines(
    read: Callable[[int], Mask], tiles: int, place: tuple[ArrayLike, ArrayLike, ArrayLike]
) -> Outlines:
    """Find the objects of masks.

    The masks are read one after the other; what is kept of each are its four rims.

    Parameters
    ----------
    read : callable
        Gives the mask of the tile at a position, shape (y, x), 1 = in an object.
    tiles : int
        Number of tiles.
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row and column; a scene below 0 means that the place is not known.
    """
    scene, row, col = (np.asarray(p, np.int64) for p in place)
    known = np.flatnonzero(scene >= 0)
    cells = {(int(scene[t]), int(row[t]), int(col[t])): int(t) for t in known}
    first = np.zeros(tiles + 1, np.int64)
    areas: list[NDArray[np.int64]] = []
    rims: list[tuple[NDArray[np.int64], ...]] = []
    for tile in range(tiles):
        parts, count = _parts(read(tile))
        areas.append(np.bincount(parts.ravel(), minlength=count + 1)[1:])
        # Part numbers over all tiles, from 1; 0 is the ground.
        over_all = np.where(parts > 0, parts + first[tile], 0)
        rims.append((over_all[0], over_all[-1], over_all[:, 0], over_all[:, -1]))
        first[tile + 1] = first[tile] + count
    pairs: list[tuple[int, int]] = []
    cut_parts: set[int] = set()
    for tile in range(tiles):
        here = cells.get((int(scene[tile]), int(row[tile]), int(col[tile])))
        at = (int(scene[tile]), int(row[tile]), int(col[tile])) if here == tile else None
        pairs += _joined(rims, cells, tile, at)
        cut_parts |= _cut(rims[tile], cells, at)
    return _numbered(read, first, np.concatenate([[], *areas]).astype(np.int64), pairs, cut_parts)


def predicted_outlines(ctx: StageContext) -> tuple[NDArray[np.int64], Places, Outlines]:
    """Outlines of a prediction's masks, in a stage after the result.

    Returns
    -------
    patch : int64 array, shape (tile,)
        Ids, in the order of the outlines' tiles.
    place : tuple of int32 array, each of shape (tile,)
        Scene, row, column; a scene below 0 means that the place is not known.
    outlines : Outlines
    """
    from l4s_ensemble.data.patches import read_mask
    from l4s_ensemble.data.store import sensor_of
    from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
    from l4s_ensemble.scenes.surroundings import known_places

    dataset = patches_to_predict(ctx)
    sensor = sensor_of(dataset)
    patch = dataset["patch"].values.astype(np.int64)
    if "scenes" in ctx.needs:
        folds = load_folds(ctx.input("scenes"))
        scene, row, col = (folds.of(patch, name) for name in ("scene", "row", "col"))
    else:
        scene, row, col = known_places(dataset, sensor)
    masks: Path = ctx.input(f"{ctx.params['folder']}/result") / "masks"
    # A submission's dataset is called `mask`, whatever the sensor's own files call it.
    official = sensor.model_copy(update={"mask_key": "mask"})

    def read(tile: int) -> Mask:
        return read_mask(masks / f"mask_{patch[tile]}.h5", official)

    return patch, (scene, row, col), find_outlines(read, len(patch), (scene, row, col))


def _parts(mask: Mask) -> tuple[NDArray[np.int64], int]:
    from scipy.ndimage import label

    parts, count = label(mask > 0, structure=TOUCHING)
    return parts.astype(np.int64), int(count)


def _joined(
    rims: list[tuple[NDArray[np.int64], ...]],
    cells: dict[tuple[int, int, int], int],
    tile: int,
    at: tuple[int, int, int] | None,
) -> Iterator[tuple[int, int]]:
    """Pairs of parts that touch over a seam to the right, below, or at a lower corner."""
    if at is None:
        return
    scene, row, col = at
    _, bottom, _, right = rims[tile]
    for step, own, rim in (((0, 1), right, 2), ((1, 0), bottom, 0)):
        other = cells.get((scene, row + step[0], col + step[1]))
        if other is not None:
            theirs = rims[other][rim]
            n = len(own)
            for d in (-1, 0, 1):
                a, b = own[max(0, -d) : n - max(0, d)], theirs[max(0, d) : n - max(0, -d)]
                both = (a > 0) & (b > 0)
                yield from zip(a[both].tolist(), b[both].tolist(), strict=True)
    for side, own_corner, their_corner in ((1, -1, 0), (-1, 0, -1)):
        other = cells.get((scene, row + 1, col + side))
        if other is not None and bottom[own_corner] and rims[other][0][their_corner]:
            yield int(bottom[own_corner]), int(rims[other][0][their_corner])


def _cut(
    rims: tuple[NDArray[np.int64], ...],
    cells: dict[tuple[int, int, int], int],
    at: tuple[int, int, int] | None,
) -> set[int]:
    """Parts that reach a side without a neighbour."""
    out: set[int] = set()
    for (down, aside), rim in zip(((-1, 0), (1, 0), (0, -1), (0, 1)), rims, strict=True):
        if at is None or (at[0], at[1] + down, at[2] + aside) not in cells:
            out |= set(rim[rim > 0].tolist())
    return out


def _numbered(
    read: Callable[[int], Mask],
    first: NDArray[np.int64],
    area: NDArray[np.int64],
    pairs: list[tuple[int, int]],
    cut_parts: set[int],
) -> Outlines:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts = len(area)
    count, group = 0, np.zeros(0, np.int32)
    if parts:
        a, b = (np.array([p[k] for p in pairs], np.int64) - 1 for k in (0, 1))
        links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(parts, parts))
        count, group = connected_components(links, directed=False)
    pixels = np.bincount(group, weights=area, minlength=count).astype(np.int64)
    # Of equal size, the one that is met first: the same masks give the same numbers.
    order = np.argsort(-pixels, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    number = rank[group] + 1
    tile = np.repeat(np.arange(len(first) - 1), np.diff(first))
    lies_in = np.unique(np.column_stack([number, tile]), axis=0)[:, 0] if parts else number
    cut = np.zeros(count, bool)
    cut[number[np.array(sorted(cut_parts), np.int64) - 1] - 1] = True
    return Outlines(
        read, first, number, pixels[order], np.bincount(lies_in, minlength=count + 1)[1:], cut
    )
