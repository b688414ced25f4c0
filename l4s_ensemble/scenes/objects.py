"""Whole landslides of reference and predicted masks, joined over seams and matched one to one.

Tiles are looked at one after the other, in any process; what is kept of each are the areas of its
parts, its lines of edge pixels and the pixels that parts share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.objects import SIZE_PX, ObjectCounts, matches, size_of
from l4s_ensemble.scenes.outlines import Objects, Parts, Place, join, parts_of

SIZES = len(SIZE_PX) - 1


@dataclass(frozen=True, eq=False)
class TileObjects:
    """Parts of landslides in one tile.

    Attributes
    ----------
    reference : Parts
    predicted : dict of str to Parts
        By model.
    shared : dict of str to int64 array, shape (3, n)
        Part of the reference, part of the prediction (both from 0) and pixels that both hold.
    """

    reference: Parts
    predicted: dict[str, Parts]
    shared: dict[str, NDArray[np.int64]]


def tile_objects(reference: ArrayLike, predicted: Mapping[str, ArrayLike]) -> TileObjects:
    """Look at one tile.

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
    tiles : sequence of TileObjects
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
        predicted = join(theirs, place)
        away = home_of(predicted, theirs)
        pairs = matches(
            _shared(tiles, model, reference, predicted), reference.pixels, predicted.pixels
        )
        unmatched = np.setdiff1d(np.arange(len(predicted)), pairs[1])
        counted = [
            _table(objects.pixels[at], tile[at], len(tiles))
            for objects, tile, at in (
                (reference, home, np.arange(len(reference))), (reference, home, pairs[0]),
                (predicted, away, np.arange(len(predicted))), (predicted, away, unmatched),
            )
        ]  # fmt: skip
        out[model] = ObjectCounts(*counted)
    return out


def home_of(objects: Objects, parts: Sequence[Parts]) -> NDArray[np.int64]:
    """Position of the tile that most of each object lies in, the first of equal ones."""
    area = np.concatenate([np.zeros(0, np.int64), *(p.area for p in parts)])
    tile = np.repeat(np.arange(len(parts)), np.diff(objects.first))
    order = np.lexsort((-area, objects.number))
    _, at = np.unique(objects.number[order], return_index=True)
    return np.asarray(tile[order[at]], np.int64)


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
    out = np.zeros((tiles, SIZES), np.int64)
    np.add.at(out, (tile, size_of(pixels)), 1)
    return out
