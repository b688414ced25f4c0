"""All features of a few tiles, and what each adds to the logit, for whoever looks at single pixels.

``tile_values.npz`` holds (T tiles, F features, h x w pixels, every `STRIDE_PX`-th both ways)::

    patch, fold (T,)          id, and the fold whose model is explained
    why (T,)                  why the tile was chosen, see `l4s_ensemble.metrics.telling`
    stride_px                 pixel (i, j) here is pixel (i * stride_px, j * stride_px) of the tile
    names, groups (F,)        the features, in the order of the model
    values (T, F, h, w)       uint8: low + (high - low) * value / 255
    low, high (T, F)          float32, in the feature's unit
    added (T, F, h, w)        float16, log-odds
    expected (T,)             float32: added.sum(axis=1) + expected is the model's logit

Out of fold a tile is explained by the model that did not see it; in a prediction the models take
turns, a tile each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.pixel.unseen import in_threads
from l4s_ensemble.run.files import atomic_path

TILE_VALUES_FILE = "tile_values.npz"
STRIDE_PX = 4
TILES_KEPT = 24
"""Tiles kept of the out-of-fold scores, and as many of a prediction."""


@dataclass(frozen=True)
class TileToKeep:
    """A tile whose features are kept.

    Attributes
    ----------
    patch, fold : int
    why : str
    """

    patch: int
    fold: int
    why: str


def save_tile_values(
    path: Path, model: PixelModel, source: FeatureSource, tiles: list[TileToKeep], jobs: int = 1
) -> None:
    """Write ``tile_values.npz`` atomically; see the module."""
    positions = source.positions([t.patch for t in tiles])
    cubes = [
        np.ascontiguousarray(cube[:, ::STRIDE_PX, ::STRIDE_PX]) for cube in source.each(positions)
    ]
    tasks = [
        (model, t.fold, np.ascontiguousarray(np.moveaxis(c, 0, -1)).reshape(-1, len(c)), 1)
        for t, c in zip(tiles, cubes, strict=True)
    ]
    told = in_threads(contributions, tasks, jobs)
    shape = (len(tiles), len(model.features), *(cubes[0].shape[1:] if cubes else (0, 0)))
    added, values = np.zeros(shape, np.float16), np.zeros(shape, np.uint8)
    low, high = (np.zeros(shape[:2], np.float32) for _ in range(2))
    for n, (cube, (more, _)) in enumerate(zip(cubes, told, strict=True)):
        added[n] = more.T.reshape(shape[1:])
        values[n], low[n], high[n] = in_bytes(cube)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            patch=np.array([t.patch for t in tiles], np.int64),
            fold=np.array([t.fold for t in tiles], np.int64),
            why=np.array([t.why for t in tiles], str),
            stride_px=np.array(STRIDE_PX),
            names=np.array(model.features, str),
            groups=np.array(model.groups, str),
            values=values,
            low=low,
            high=high,
            added=added,
            expected=np.array([start for _, start in told], np.float32),
        )


def in_bytes(
    cube: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Round each layer to 256 steps between its own ends.

    Parameters
    ----------
    cube : float32 array, shape (layer, y, x)
        All finite.

    Returns
    -------
    steps : uint8 array, of the same shape
    low, high : float32 array, shape (layer,)
    """
    low, high = cube.min(axis=(1, 2)), cube.max(axis=(1, 2))
    span = np.where(high > low, high - low, 1)
    steps = np.rint(255 * (cube - low[:, None, None]) / span[:, None, None])
    return steps.astype(np.uint8), low, high
