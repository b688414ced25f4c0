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
UNPLACED_MAX = 400


def draw_mosaic(
    images: Any,
    placement: Placement,
    path: Path,
    *,
    bands: tuple[int, int, int] = (3, 2, 1),
    log_gain: Any = None,
    tile_px: int = 24,
    tint: Any = None,
) -> Path:
    """Draw all scenes of a placement as one PNG.

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
    tint : array-like of uint8, shape (tile, 3), optional
        A colour mixed into each tile, for example its fold's.

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
    small = _thumbnails(images, bands, tile_px)
    if log_gain is not None:
        small = small * np.exp(np.asarray(log_gain, np.float32))[:, None, None, None]
    small = _stretch(small, placement)
    if tint is not None:
        small = 0.6 * small + 0.4 * np.asarray(tint, np.float32)[:, None, None, :]
    panels = [(f"scene {s}", _panel(small, placement, s))
              for s in np.unique(placement.scene[placement.placed]).tolist()]  # fmt: skip
    lone = np.flatnonzero(~placement.placed)
    if len(lone):
        panels.append((f"without a place: {len(lone)}", _strip(small, lone[:UNPLACED_MAX])))
    spots, width, height = _shelves([p.shape[:2] for _, p in panels])
    sheet = Image.new("RGB", (width, height), DARK)
    pen = ImageDraw.Draw(sheet)
    for (label, panel), (top, left) in zip(panels, spots, strict=True):
        if panel.shape[1] >= 6 * len(label) or label.startswith("without"):
            pen.text((left, top), label, fill=(225, 225, 225))
        sheet.paste(Image.fromarray(panel), (left, top + LABEL_PX))
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG")
    return path


def _thumbnails(images: Any, bands: tuple[int, int, int], tile_px: int) -> NDArray[np.float32]:
    """Means over blocks of pixels, shape (tile, tile_px, tile_px, 3)."""
    n, _, height, width = images.shape
    rows = np.linspace(0, height, tile_px + 1).astype(int)[:-1]
    cols = np.linspace(0, width, tile_px + 1).astype(int)[:-1]
    small = np.empty((n, 3, tile_px, tile_px), np.float32)
    for start in range(0, n, CHUNK_TILES):
        block = np.asarray(images[start : start + CHUNK_TILES])[:, list(bands)].astype(np.float32)
        if height < tile_px or width < tile_px:
            small[start : start + len(block)] = block[:, :, rows][..., cols]
            continue
        sums = np.add.reduceat(np.add.reduceat(block, rows, 2), cols, 3)
        area = np.diff(rows, append=height)[:, None] * np.diff(cols, append=width)[None]
        small[start : start + len(block)] = sums / area
    return small.transpose(0, 2, 3, 1)


def _stretch(small: NDArray[np.float32], placement: Placement) -> NDArray[np.float32]:
    """Bring each band of each scene to 0..255 between its own 1 % and 99 % quantiles."""
    out = np.empty_like(small)
    for scene in np.unique(placement.scene):
        here = placement.scene == scene
        low, high = np.quantile(small[here], [0.01, 0.99], axis=(0, 1, 2))
        out[here] = np.clip((small[here] - low) / np.maximum(high - low, 1e-6), 0, 1)
    return np.asarray(255 * out**0.8)


def _panel(small: NDArray[np.float32], placement: Placement, scene: int) -> NDArray[np.uint8]:
    edge = small.shape[1]
    here = np.flatnonzero(placement.scene == scene)
    rows, cols = placement.row[here], placement.col[here]
    rows, cols = rows - rows.min(), cols - cols.min()
    panel = np.empty((int(rows.max() + 1) * edge, int(cols.max() + 1) * edge, 3), np.uint8)
    panel[:] = EMPTY
    for t, row, col in zip(here, rows, cols, strict=True):
        panel[row * edge : (row + 1) * edge, col * edge : (col + 1) * edge] = small[t]
    return panel


def _strip(small: NDArray[np.float32], tiles: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Tiles side by side with a gap: they belong to nothing."""
    edge, gap = small.shape[1], 2
    cols = min(len(tiles), 40)
    rows = -(-len(tiles) // cols)
    panel = np.empty((rows * (edge + gap), cols * (edge + gap), 3), np.uint8)
    panel[:] = DARK
    for i, t in enumerate(tiles):
        top, left = i // cols * (edge + gap), i % cols * (edge + gap)
        panel[top : top + edge, left : left + edge] = small[t]
    return panel


def _shelves(sizes: list[tuple[int, ...]]) -> tuple[list[tuple[int, int]], int, int]:
    """Top left corners of panels put on shelves, and the size of the sheet, in pixels."""
    area = sum((h + LABEL_PX + GAP_PX) * (w + GAP_PX) for h, w in sizes)
    limit = max(max(w for _, w in sizes), int((1.6 * area) ** 0.5)) + 2 * GAP_PX
    spots = []
    top, left, tallest, width = GAP_PX, GAP_PX, 0, 0
    for h, w in sizes:
        if left > GAP_PX and left + w + GAP_PX > limit:
            top, left, tallest = top + tallest + GAP_PX, GAP_PX, 0
        spots.append((top, left))
        left += w + GAP_PX
        width = max(width, left)
        tallest = max(tallest, h + LABEL_PX)
    return spots, width, top + tallest + GAP_PX
