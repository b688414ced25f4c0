"""Pictures of scenes: every tile in its place, what is missing left dark."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.scenes.layout import Layout

CHUNK_TILES = 64
EMPTY = (44, 47, 52)


def draw_scene(small: NDArray[np.float32], layout: Layout, scene: int) -> NDArray[np.uint8]:
    """Draw one scene, each band between its own 1 % and 99 % quantiles; shape (y, x, 3).

    Parameters
    ----------
    small : ndarray, shape (tile, edge, edge, 3)
        From `thumbnails`, of all tiles of the layout.
    """
    here = layout.scene == scene
    tiles, rows, cols = small[here], layout.row[here], layout.col[here]
    low, high = np.quantile(tiles, [0.01, 0.99], axis=(0, 1, 2))
    shown = 255 * np.clip((tiles - low) / np.maximum(high - low, 1e-6), 0, 1) ** 0.8
    return place_tiles(shown.astype(np.uint8), rows, cols, EMPTY)


def place_tiles(tiles: NDArray[Any], row: Any, col: Any, empty: Any) -> NDArray[Any]:
    """Put tiles (tile, edge, edge, channel) of one scene in their places; `empty` elsewhere."""
    rows, cols = row - row.min(), col - col.min()
    edge = tiles.shape[1]
    shape = (int(rows.max() + 1), edge, int(cols.max() + 1), edge, tiles.shape[-1])
    panel = np.empty(shape, tiles.dtype)
    panel[:] = empty
    panel[rows, :, cols] = tiles
    return panel.reshape(shape[0] * edge, -1, shape[-1])


def thumbnails(images: Any, bands: tuple[int, ...], tile_px: int) -> NDArray[np.float32]:
    """Means over blocks of pixels, shape (tile, tile_px, tile_px, band).

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts; read in small pieces. What is not finite counts as 0.
    """
    n, _, height, width = images.shape
    rows = np.linspace(0, height, tile_px + 1).astype(int)[:-1]
    cols = np.linspace(0, width, tile_px + 1).astype(int)[:-1]
    small = np.empty((n, len(bands), tile_px, tile_px), np.float32)
    for start in range(0, n, CHUNK_TILES):
        block = np.asarray(images[start : start + CHUNK_TILES])[:, list(bands)]
        block = np.nan_to_num(block.astype(np.float32), posinf=0.0, neginf=0.0)
        if height < tile_px or width < tile_px:
            small[start : start + len(block)] = block[:, :, rows][..., cols]
            continue
        sums = np.add.reduceat(np.add.reduceat(block, rows, 2), cols, 3)
        area = np.diff(rows, append=height)[:, None] * np.diff(cols, append=width)[None]
        small[start : start + len(block)] = sums / area
    return small.transpose(0, 2, 3, 1)
