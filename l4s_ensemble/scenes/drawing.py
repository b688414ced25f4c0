"""Pictures of scenes: every tile in its place, what is missing left dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.scenes.placement import Placement

CHUNK_TILES = 64
GAP_PX = 8
LABEL_PX = 14
DARK = (24, 26, 30)
EMPTY = (44, 47, 52)


def draw_mosaic(
    images: Any,
    placement: Placement,
    path: Path,
    *,
    bands: tuple[int, int, int] = (3, 2, 1),
    log_gain: Any = None,
    tile_px: int = 24,
) -> Path:
    """Draw all scenes of a placement as one PNG, one below the other.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts; read in small pieces.
    placement : Placement
        Of the same tiles, in the same order.
    path : Path
        Where the PNG goes.
    bands : tuple of int
        Positions of the bands shown red, green and blue.
    log_gain : array-like, shape (tile,), optional
        Gains of tiles of unknown level, see `l4s_ensemble.scenes.harmonise.harmonise`.
    tile_px : int
        Edge of a tile in the picture.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DataError
        If the placement is of another number of tiles, or a band is not there.
    """
    from PIL import Image, ImageDraw

    n, count = images.shape[:2]
    if n != len(placement) or not n:
        raise DataError("the placement is not of these tiles", found=len(placement), allowed=n)
    if max(bands) >= count or min(bands) < 0:
        raise DataError("no such band to draw", found=bands, allowed=f"0 to {count - 1}")
    small = thumbnails(images, bands, tile_px)
    if log_gain is not None:
        small = small * np.exp(np.asarray(log_gain, np.float32))[:, None, None, None]
    scenes = np.unique(placement.scene[placement.placed]).tolist()
    panels = {scene: draw_scene(small, placement, scene) for scene in scenes}
    width = max((p.shape[1] for p in panels.values()), default=0) + 2 * GAP_PX
    height = sum(p.shape[0] + LABEL_PX + GAP_PX for p in panels.values()) + GAP_PX
    sheet = Image.new("RGB", (max(width, 120), height + LABEL_PX), DARK)
    pen = ImageDraw.Draw(sheet)
    top = GAP_PX
    for scene, panel in panels.items():
        pen.text((GAP_PX, top), f"scene {scene}", fill=(225, 225, 225))
        sheet.paste(Image.fromarray(panel), (GAP_PX, top + LABEL_PX))
        top += panel.shape[0] + LABEL_PX + GAP_PX
    lone = int((~placement.placed).sum())
    pen.text((GAP_PX, top), f"without a place: {lone}" if lone else "", fill=(225, 225, 225))
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG")
    return path


def draw_scene(small: NDArray[np.float32], placement: Placement, scene: int) -> NDArray[np.uint8]:
    """Draw one scene, each band between its own 1 % and 99 % quantiles; shape (y, x, 3).

    Parameters
    ----------
    small : ndarray, shape (tile, edge, edge, 3)
        From `thumbnails`, of all tiles of the placement.
    """
    edge = small.shape[1]
    here = placement.scene == scene
    tiles, rows, cols = small[here], placement.row[here], placement.col[here]
    rows, cols = rows - rows.min(), cols - cols.min()
    low, high = np.quantile(tiles, [0.01, 0.99], axis=(0, 1, 2))
    shown = 255 * np.clip((tiles - low) / np.maximum(high - low, 1e-6), 0, 1) ** 0.8
    panel = np.empty((int(rows.max() + 1), edge, int(cols.max() + 1), edge, 3), np.uint8)
    panel[:] = EMPTY
    panel[rows, :, cols] = shown
    return panel.reshape(panel.shape[0] * edge, -1, 3)


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
