"""Whole landslides in masks: 8-connected, and joined over seams where places are known.

Tiles are looked at one after the other, in any process; what is kept of each are the areas of its
parts, its lines of edge pixels and the pixels that parts of two masks share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.patches import read_mask
from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.metrics.objects import SIZE_PX, ObjectCounts, labelled, matches, size_of
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
from l4s_ensemble.scenes.layout import AROUND, known_layout

Mask = NDArray[np.uint8]
Places = tuple[NDArray[np.int32], ...]
Place = tuple[ArrayLike, ...]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a mask's objects that lie in one tile."""

    area: NDArray[np.int64]  # (part,)
    # Number of the part, from 0, along the upper, lower, left and right line; -1 outside.
    edges: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of the masks of some tiles, numbered from 1, the largest first."""

    first: NDArray[np.int64]  # (tile + 1,): where the parts of each tile begin in `number`
    number: NDArray[np.int64]  # (part,): object that a part belongs to
    pixels: NDArray[np.int64]  # (object,): size of object ``i + 1``
    tiles: NDArray[np.int64]  # (object,): tiles that it lies in
    cut: NDArray[np.bool_]  # (object,): it reaches an edge beyond which no mask is known

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class Outlines(Objects):
    """Objects whose outlines can be read tile by tile."""

    read: Callable[[int], Mask]  # gives the mask of the tile at a position, shape (y, x)

    def with_objects(self) -> list[int]:
        """Positions of the tiles that hold an object."""
        return [int(i) for i in np.flatnonzero(np.diff(self.first))]

    def labels(self, tile: int) -> NDArray[np.int64]:
        """Number of the object of each pixel, 0 outside, shape (y, x)."""
        own = self.number[self.first[tile] : self.first[tile + 1]]
        return np.concatenate([[0], own])[parts_of(self.read(tile))[0]]


def find_outlines(read: Callable[[int], Mask], tiles: int, place: Place) -> Outlines:
    """Find the objects of masks.

    The masks are read one after the other; what is kept of each are the lines at its edges.

    Parameters
    ----------
    read : callable
        Gives the mask of the tile at a position, shape (y, x), 1 = in an object.
    tiles : int
        Number of tiles.
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row and column; a scene below 0 means that the place is not known.
    """
    found = join([parts_of(read(tile))[1] for tile in range(tiles)], place)
    return Outlines(**vars(found), read=read)


def parts_of(mask: ArrayLike) -> tuple[NDArray[np.int64], Parts]:
    """Label the 8-connected parts of a mask (y, x) from 1, and keep what `join` needs of them."""
    labels, area = labelled(np.asarray(mask) > 0)
    part = labels - 1
    edges = tuple(e.copy() for e in (part[0], part[-1], part[:, 0], part[:, -1]))
    return labels.astype(np.int64), Parts(area, edges)


def join(parts: Sequence[Parts], place: Place) -> Objects:
    """Join the parts of tiles over their seams, where the places of the tiles are known.

    Parameters
    ----------
    parts : sequence of Parts
        One a tile.
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row and column; a scene below 0 means that the place is not known.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first = np.cumsum([0, *(len(p.area) for p in parts)])
    area = np.concatenate([np.zeros(0, np.int64), *(p.area for p in parts)])
    # Parts are numbered over all tiles, from 0; -1 is the ground.
    edges = [
        [np.where(line >= 0, line + start, -1) for line in p.edges]
        for p, start in zip(parts, first[:-1], strict=True)
    ]
    pairs, cut_parts = _joined(edges, place)
    links = coo_array((np.ones(len(pairs), np.int8), tuple(pairs.T)), shape=(len(area),) * 2)
    count, group = connected_components(links, directed=False) if len(area) else (0, area)
    pixels = np.bincount(group, weights=area, minlength=count).astype(np.int64)
    # Of equal size, the one that is met first: the same masks give the same numbers.
    order = np.argsort(-pixels, kind="stable")
    number = np.argsort(order)[group] + 1
    tile_of_part = np.repeat(np.arange(len(parts)), np.diff(first))
    lies_in = np.unique(np.column_stack([number, tile_of_part]), axis=0)[:, 0]
    cut = np.zeros(count, bool)
    cut[number[cut_parts] - 1] = True
    in_tiles = np.bincount(lies_in, minlength=count + 1)[1:]
    return Objects(first, number, pixels[order], in_tiles, cut)


@dataclass(frozen=True, eq=False)
class TileObjects:
    """Parts of landslides in one tile."""

    reference: Parts
    predicted: dict[str, Parts]  # by model
    # By model (3, n): part of the reference, part predicted (both from 0), pixels of both.
    shared: dict[str, NDArray[np.int64]]


def tile_objects(reference: ArrayLike, predicted: Mapping[str, ArrayLike]) -> TileObjects:
    """Label the parts of landslides in one tile.

    Parameters
    ----------
    reference : array_like of bool, shape (y, x)
    predicted : mapping of model to array_like of bool, shape (y, x)

    Raises
    ------
    ValueError
        If the shapes differ or are not of one tile.
    """
    shapes = {np.shape(mask) for mask in (reference, *predicted.values())}
    if len(shapes) > 1 or len(shapes.pop()) != 2:
        raise ValueError(f"shapes must be equal and (y, x): {np.shape(reference)} and others")
    of_reference, own = parts_of(reference)
    parts, shared = {}, {}
    for model, mask in predicted.items():
        labels, parts[model] = parts_of(mask)
        both = (of_reference > 0) & (labels > 0)
        pairs, pixels = np.unique(
            np.stack([of_reference[both], labels[both]]), axis=1, return_counts=True
        )
        shared[model] = np.concatenate([pairs - 1, pixels[np.newaxis]])
    return TileObjects(own, parts, shared)


def count_objects(tiles: Sequence[TileObjects], place: Place) -> dict[str, ObjectCounts]:
    """Count and match the landslides of all tiles.

    Parameters
    ----------
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row and column; a scene below 0 means that the place is not known, and that
        nothing is joined over the seams of the tile.

    Returns
    -------
    dict of str to ObjectCounts
        By model; arrays of shape (tile, size).
    """
    own = [t.reference for t in tiles]
    reference = join(own, place)
    home = home_of(reference, own)
    out = {}
    for model in tiles[0].predicted if tiles else ():
        theirs = [t.predicted[model] for t in tiles]
        predicted, pairs, _ = match_objects(tiles, model, reference, place)
        away = home_of(predicted, theirs)
        unmatched = np.setdiff1d(np.arange(len(predicted)), pairs[1])
        counted = [
            _table(objects.pixels[at], tile[at], len(tiles))
            for objects, tile, at in (
                (reference, home, np.arange(len(reference))),
                (reference, home, pairs[0]),
                (predicted, away, np.arange(len(predicted))),
                (predicted, away, unmatched),
            )
        ]
        out[model] = ObjectCounts(*counted)
    return out


def match_objects(
    tiles: Sequence[TileObjects], model: str, reference: Objects, place: Place
) -> tuple[Objects, NDArray[np.int64], NDArray[np.int64]]:
    """Match the landslides that a model predicts with those of the reference.

    Returns
    -------
    predicted : Objects
    pairs : int64 array, shape (2, pair)
        Reference and predicted object (both from 0) that match.
    shared : int64 array, shape (3, n)
        Reference object, predicted object and pixels that both hold.
    """
    predicted = join([t.predicted[model] for t in tiles], place)
    shared = _shared(tiles, model, reference, predicted)
    return predicted, matches(shared, reference.pixels, predicted.pixels), shared


def home_of(objects: Objects, parts: Sequence[Parts]) -> NDArray[np.int64]:
    """Position of the tile that most of each object lies in, the first of equal ones."""
    area = np.concatenate([np.zeros(0, np.int64), *(p.area for p in parts)])
    tile = np.repeat(np.arange(len(parts)), np.diff(objects.first))
    order = np.lexsort((-area, objects.number))
    _, at = np.unique(objects.number[order], return_index=True)
    return np.asarray(tile[order[at]], np.int64)


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
    dataset = patches_to_predict(ctx)
    sensor = sensor_of(dataset)
    patch = dataset["patch"].values.astype(np.int64)
    place = places_of(ctx, dataset)
    masks: Path = ctx.input(f"{ctx.params['folder']}/result") / "masks"
    # A submission's dataset is called `mask`, whatever the sensor's own files call it.
    official = sensor.model_copy(update={"mask_key": "mask"})

    def read(tile: int) -> Mask:
        return read_mask(masks / f"mask_{patch[tile]}.h5", official)

    return patch, place, find_outlines(read, len(patch), place)


def places_of(ctx: StageContext, dataset: xr.Dataset) -> Places:
    """Scene, row and column of the tiles that a stage predicts: of the folds, else of the store."""
    if "scenes" not in ctx.needs:
        known = known_layout(dataset, sensor_of(dataset))
        return known.scene, known.row, known.col
    folds = load_folds(ctx.input("scenes"))
    return tuple(folds.of(dataset["patch"].values, k) for k in ("scene", "row", "col"))


def _joined(
    edges: list[list[NDArray[np.int64]]], place: Place
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of parts that touch over a seam or at a corner, and parts that no seam completes.

    Parameters
    ----------
    edges : list of list of ndarray
        Of each tile its upper, lower, left and right line of pixels: number of the part, or -1.
    """
    scene, row, col = (np.asarray(p, np.int64).tolist() for p in place)
    cells = {
        (s, r, c): t for t, (s, r, c) in enumerate(zip(scene, row, col, strict=True)) if s >= 0
    }
    pairs, cut = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]

    def link(one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        both = (one >= 0) & (other >= 0)
        pairs.append(np.column_stack([one[both], other[both]]))

    for tile, (upper, lower, left, right) in enumerate(edges):
        s, r, c = scene[tile], row[tile], col[tile]
        beside: dict[tuple[int, int], int] = {}
        if cells.get((s, r, c)) == tile:
            places = {(down, across): (s, r + down, c + across) for down, across in AROUND}
            beside = {step: cells[place] for step, place in places.items() if place in cells}
        sides = (((-1, 0), upper), ((1, 0), lower), ((0, -1), left), ((0, 1), right))
        cut += [line[line >= 0] for step, line in sides if step not in beside]
        for step, own, line in (((0, 1), right, 2), ((1, 0), lower, 0)):
            if step in beside:
                theirs = edges[beside[step]][line]
                link(own, theirs)
                link(own[1:], theirs[:-1])
                link(own[:-1], theirs[1:])
        for across, own_corner, their_corner in ((1, -1, 0), (-1, 0, -1)):
            if (1, across) in beside:
                link(lower[[own_corner]], edges[beside[1, across]][0][[their_corner]])
    return np.concatenate(pairs), np.unique(np.concatenate(cut))


def _shared(
    tiles: Sequence[TileObjects], model: str, reference: Objects, predicted: Objects
) -> NDArray[np.int64]:
    """Pixels that objects share, of each pair of them once."""
    found = [np.zeros((3, 0), np.int64)]
    for n, tile in enumerate(tiles):
        i, j, pixels = tile.shared[model]
        i = reference.number[reference.first[n] + i] - 1
        j = predicted.number[predicted.first[n] + j] - 1
        found.append(np.stack([i, j, pixels]))
    all_of = np.concatenate(found, axis=1)
    pairs, at = np.unique(all_of[:2], axis=1, return_inverse=True)
    pixels = np.bincount(at.ravel(), weights=all_of[2], minlength=pairs.shape[1])
    return np.concatenate([pairs, pixels[np.newaxis].astype(np.int64)])


def _table(pixels: NDArray[np.int64], tile: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    """Objects by tile and size."""
    out = np.zeros((tiles, len(SIZE_PX) - 1), np.int64)
    np.add.at(out, (tile, size_of(pixels)), 1)
    return out
