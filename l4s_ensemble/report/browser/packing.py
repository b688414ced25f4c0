"""What a page without a network can read: maps as text, and thumbnails, many to a file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report.browser.photos import THUMB_PX
from l4s_ensemble.report.pictures import draw as pictures

LEVEL = 7

EDGE_TILES = 10
"""Thumbnails in a row and in a column of a full sheet."""

SHEET_QUALITY = 80

REFERENCE_BIT, PREDICTED_BIT = 1, 2
"""Bits of the last plane of a tile."""


def in_steps(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Round values in 0 to 1 to 1/255."""
    return np.asarray(np.rint(255 * np.clip(np.nan_to_num(values), 0, 1)), np.uint8)


def flags(predicted: NDArray[np.bool_], reference: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Plane of bits: reference and prediction."""
    plane = PREDICTED_BIT * predicted.astype(np.uint8)
    return plane if reference is None else plane | (REFERENCE_BIT * reference.astype(np.uint8))


def deflated(parts: Sequence[NDArray[np.uint8]]) -> str:
    """Deflate what is put one after the other (zlib's form), in base64."""
    whole = b"".join(p.tobytes() for p in parts)
    return base64.b64encode(zlib.compress(whole, LEVEL)).decode("ascii")


def call(function: str, *values: Any) -> str:
    """Write a script that hands values to a function of the page."""
    arguments = ",".join(
        json.dumps(v, separators=(",", ":"), allow_nan=False, ensure_ascii=False) for v in values
    )
    return f"{function}({arguments});\n"


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
    full, edge = EDGE_TILES**2, EDGE_TILES * THUMB_PX
    files = []
    for n, start in enumerate(range(0, len(order), full)):
        own = thumbs[order[start : start + full]]
        cells = np.zeros((full, *own.shape[1:]), np.uint8)
        cells[: len(own)] = own
        grid = cells.reshape(EDGE_TILES, EDGE_TILES, THUMB_PX, THUMB_PX, 3)
        sheet = np.ascontiguousarray(grid.swapaxes(1, 2).reshape(edge, edge, 3))
        files.append(f"{name}-{n}.webp")
        pictures.save(sheet, folder / files[-1], SHEET_QUALITY)
    return files
