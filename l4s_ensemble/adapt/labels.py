"""Read labels: masks of some tiles, drawn by a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from l4s_ensemble.data.patches import read_mask
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.stage import SummaryModel

FORMAT = "l4s-ensemble labels 1"
NAMES = "mask_N.h5 or mask_N.png, N the id of a tile"


class TileLabel(SummaryModel):
    """A labelled tile.

    Attributes
    ----------
    patch : int
        Id of the tile.
    runs : list of int
        Lengths of runs of equal pixels, row by row; the first is of pixels without landslide.
    """

    patch: int
    runs: list[int]


class LabelFile(SummaryModel):
    """What the labelling page saves.

    Attributes
    ----------
    format : str
    run : str or None
        Name of the run whose map was shown.
    split : str or None
    size : tuple of int
        Height and width of a tile.
    tiles : list of TileLabel
    """

    format: Literal["l4s-ensemble labels 1"]
    run: str | None = None
    split: str | None = None
    size: tuple[int, int]
    tiles: list[TileLabel]


@dataclass(frozen=True)
class Labels:
    """Masks of labelled tiles.

    Attributes
    ----------
    patch : int64 array, shape (tile,)
        Ids, ascending.
    mask : uint8 array, shape (tile, y, x)
        1 = landslide.
    source : str
        The file or folder that they were read from.
    split : str or None
        Split of the tiles, where the file says it.
    """

    patch: NDArray[np.int64]
    mask: NDArray[np.uint8]
    source: str
    split: str | None = None


def read_labels(path: str | Path, sensor: Sensor) -> Labels:
    """Read labels.

    Parameters
    ----------
    path : str or Path
        A JSON file as `LabelFile` describes it, or a folder of masks: ``mask_N.h5`` in the official
        form, or ``mask_N.png``, where any value but 0 is landslide.
    sensor : Sensor
        Says the size of a tile and the dataset of an HDF5 mask.

    Raises
    ------
    DataError
        If there is no label, or one is damaged or of another size.
    """
    path = Path(path)
    if path.is_dir():
        found, split = _read_folder(path, sensor), None
    elif path.is_file():
        found, split = _read_file(path)
    else:
        raise DataError("no such labels", where=path, allowed=f"a JSON file; a folder of {NAMES}")
    if not found:
        raise DataError("there is no labelled tile", where=path, allowed=NAMES)
    wanted = (sensor.patch_pixels, sensor.patch_pixels)
    for number, mask in found.items():
        if mask.shape != wanted:
            raise DataError(
                "a label has another size than the tiles", where=f"tile {number} in {path}",
                found=mask.shape, allowed=wanted,
            )  # fmt: skip
    patch = np.array(sorted(found), np.int64)
    return Labels(patch, np.stack([found[int(p)] for p in patch]), str(path), split)


def encode(mask: ArrayLike) -> list[int]:
    """Lengths of runs of equal pixels of a mask (y, x), see `TileLabel`."""
    flat = np.asarray(mask, bool).ravel()
    change = np.flatnonzero(np.diff(flat, prepend=False))
    return [int(n) for n in np.diff([0, *change, flat.size])]


def decode(runs: ArrayLike, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Mask (y, x) of what `encode` gave.

    Raises
    ------
    ValueError
        If the runs do not fill the mask.
    """
    lengths = np.asarray(runs, np.int64)
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"runs of {int(lengths.sum())} pixels, {size[0] * size[1]} are wanted")
    value = np.arange(len(lengths)) % 2
    return np.repeat(value, lengths).astype(np.uint8).reshape(size)


def _read_folder(folder: Path, sensor: Sensor) -> dict[int, NDArray[np.uint8]]:
    from PIL import Image, UnidentifiedImageError

    found: dict[int, NDArray[np.uint8]] = {}
    for path in sorted([*folder.glob("mask_*.h5"), *folder.glob("mask_*.png")]):
        number = path.stem.removeprefix("mask_")
        if not number.isdecimal() or int(number) in found:
            raise DataError("not the name of one tile's label", where=path, allowed=NAMES)
        if path.suffix == ".h5":
            found[int(number)] = read_mask(path, sensor)
            continue
        try:
            with Image.open(path) as image:
                values = np.array(image.convert("RGB")).any(axis=2)
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise DataError("a label cannot be read", where=path, found=error) from None
        found[int(number)] = np.asarray(values, np.uint8)
    return found


def _read_file(path: Path) -> tuple[dict[int, NDArray[np.uint8]], str | None]:
    fix = "save the labels again from the labelling page"
    try:
        saved = LabelFile.model_validate(read_json(path))
        found = {tile.patch: decode(tile.runs, saved.size) for tile in saved.tiles}
    except (ValidationError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = ": ".join((*map(str, first["loc"]), first["msg"])) if first else error
        raise DataError("these are no labels", where=path, found=what, fix=fix) from None
    if len(found) < len(saved.tiles):
        raise DataError("a tile is labelled twice", where=path, fix=fix)
    return found, saved.split
