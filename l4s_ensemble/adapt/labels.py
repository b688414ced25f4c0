"""Read labels: masks of some tiles, drawn by a person."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from l4s_ensemble.data.patches import read_mask
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import hashes_of
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.execute import read_manifest
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.stage import SummaryModel

FORMAT = "l4s-ensemble labels 1"
NAMES = "mask_N.h5 or mask_N.png, N the id of a tile"
MODELS = ("pixel", "unet", "stack")
"""Stages whose digests say which fitted models a map is of."""

_NAMED = 8
"""Most tiles that a message names."""

POLYGONS = (".gpkg", ".geojson", ".shp", ".fgb", ".kml")
"""Endings of files that hold polygons."""

log = logging.getLogger(__name__)


class TileLabel(SummaryModel):
    """A labelled tile: its id, why it was chosen, and the content hash of the image shown.

    `runs` are the lengths of runs of equal pixels, row by row; the first is without landslide.
    """

    patch: int
    runs: list[int]
    reason: str | None = None
    content: str | None = None


class LabelFile(SummaryModel):
    """What the labelling page saves.

    Attributes
    ----------
    version : str or None
        Of this package, when it wrote the page.
    run : str or None
        Name of the run whose map was shown.
    models : dict of str to str
        Its models, see `digests_of`.
    split : str or None
        Of the tiles, or the name of their scene.
    size : tuple of int
        Height and width of a tile.
    """

    format: Literal["l4s-ensemble labels 1"]
    version: str | None = None
    run: str | None = None
    models: dict[str, str] = Field(default_factory=dict)
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
    saved : LabelFile or None
        What the labelling page said with them.
    """

    patch: NDArray[np.int64]
    mask: NDArray[np.uint8]
    source: str
    saved: LabelFile | None = None

    @property
    def reasons(self) -> dict[int, str | None]:
        """Why tiles were chosen, by id, as far as known."""
        return {} if self.saved is None else {t.patch: t.reason for t in self.saved.tiles}


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
    path, saved = Path(path), None
    if path.suffix.lower() in POLYGONS:
        raise DataError(
            "polygons are labels of a scene, and tiles of a split have no place in one",
            where=path,
            allowed=f"a JSON file; a folder of {NAMES}",
            fix="name the folder of the scene's map with --scene",
        )
    if path.is_dir():
        found = _read_folder(path, sensor)
    elif path.is_file():
        saved, found = _read_file(path)
    else:
        raise DataError("no such labels", where=path, allowed=f"a JSON file; a folder of {NAMES}")
    if not found:
        raise DataError("there is no labelled tile", where=path, allowed=NAMES)
    wanted = (sensor.patch_pixels, sensor.patch_pixels)
    if other := [n for n, mask in found.items() if mask.shape != wanted]:
        raise DataError(
            "a label has another size than the tiles",
            where=f"tile {other[0]} in {path}",
            found=found[other[0]].shape,
            allowed=wanted,
        )
    patch = np.array(sorted(found), np.int64)
    return Labels(patch, np.stack([found[int(p)] for p in patch]), str(path), saved)


def digests_of(run: Path) -> dict[str, str]:
    """Digests of the fitted models of a run, by stage."""
    return {name: str(read_manifest(run / name)["digest"]) for name in MODELS}


def check_labels(labels: Labels, tiles: xr.Dataset, place: str, models: Mapping[str, str]) -> None:
    """Refuse labels that are not of the tiles of a place; warn where another map was shown.

    Parameters
    ----------
    labels : Labels
    tiles : xarray.Dataset
        The store of a split, or tiles of a scene.
    place : str
        Its name.
    models : mapping of str to str
        Of the run that is adapted, see `digests_of`.

    Raises
    ------
    DataError
        If a tile is not in the place, or its image is another one than that labelled.
    """
    patch, fix = tiles["patch"].values, "name their split with --split, another folder with --data"
    fix += ", or the map of their scene with --scene"
    if len(lost := np.setdiff1d(labels.patch, patch)):
        raise DataError(
            "labels of tiles that are not there",
            where=labels.source,
            found=_some(lost),
            allowed=f"tiles of {place}: {len(patch)} from {patch.min()} to {patch.max()}",
            fix=fix,
        )
    if labels.saved is None:
        return
    shown = hashes_of(tiles)
    content = {t.patch: t.content for t in labels.saved.tiles if t.content is not None}
    if other := [n for n, found in content.items() if shown[n] != found]:
        raise DataError(
            "labels of other images: tiles of these numbers have another content here",
            where=labels.source,
            found=f"{_some(other)} of {labels.saved.split or 'another place'}",
            allowed=f"tiles of {place} that the labels were drawn on",
            fix=fix,
        )
    if labels.saved.models and dict(models) != labels.saved.models:
        log.warning(
            "labels: drawn over the map of other models (run %s); the masks are used as they are",
            labels.saved.run,
        )


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


def _some(numbers: ArrayLike) -> str:
    listed = np.asarray(numbers).tolist()
    more = len(listed) - _NAMED
    return ", ".join(map(str, listed[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _read_file(path: Path) -> tuple[LabelFile, dict[int, NDArray[np.uint8]]]:
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
    return saved, found
