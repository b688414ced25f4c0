"""Thumbnails of all tiles, many to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report.browser.photos import THUMB_PX
from l4s_ensemble.report.pictures import draw as pictures

EDGE_TILES = 10
"""Thumbnails in a row and in a column of a full sheet."""

QUALITY = 80


def write_sheets(
    thumbs: NDArray[np.uint8], order: NDArray[np.int64], folder: Path, name: str
) -> list[str]:
    """Write thumbnails in the order given, `EDGE_TILES`² a sheet, row by row.

    Parameters
    ----------
    thumbs : uint8 array, shape (tile, THUMB_PX, THUMB_PX, 3)
    order : int64 array, shape (tile,)
        Position of the tile that comes first, second …
    folder : Path
        Gets ``<name>-<number>.webp``.

    Returns
    -------
    list of str
        Names of the files. All sheets have the same size; the last one may be partly empty.
    """
    full = EDGE_TILES**2
    files = []
    for n, start in enumerate(range(0, len(order), full)):
        own = thumbs[order[start : start + full]]
        cells = np.zeros((full, *own.shape[1:]), np.uint8)
        cells[: len(own)] = own
        grid = cells.reshape(EDGE_TILES, EDGE_TILES, THUMB_PX, THUMB_PX, 3)
        sheet = grid.swapaxes(1, 2).reshape(EDGE_TILES * THUMB_PX, EDGE_TILES * THUMB_PX, 3)
        files.append(f"{name}-{n}.webp")
        pictures.save(np.ascontiguousarray(sheet), folder / files[-1], QUALITY)
    return files


def described(files: dict[str, list[str]]) -> dict[str, Any]:
    """Say how to find a thumbnail."""
    return {"edge_tiles": EDGE_TILES, "edge_px": THUMB_PX, "files": files}
