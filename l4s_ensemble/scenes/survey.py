"""Which tiles of a folder adjoin, told by their pixels: ``data scenes`` and ``data check``.

Tiles of different splits that adjoin are named because a score there is not one of a place never
seen. The search costs about as much as finding the scenes, so ``data check`` does it on demand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.inspection import Fault
from l4s_ensemble.data.layout import list_split, splits_in
from l4s_ensemble.data.patches import find_patches, read_image
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.seams import solve

log = logging.getLogger("l4s_ensemble")

SIDES = {"x": ("left of", "right of"), "y": ("above", "below")}


@dataclass(frozen=True)
class TileFiles:
    """Image files as an array ``(tile, band, y, x)`` of counts that reads slices of tiles.

    A file that cannot be read is a black tile, which says nothing: the check of files names it.
    """

    paths: Sequence[Path]
    sensor: Sensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array."""
        edge = self.sensor.patch_pixels
        return len(self.paths), len(self.sensor.bands), edge, edge

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: slice) -> NDArray[np.float32]:
        chosen = self.paths[which]
        counts = np.zeros((len(chosen), *self.shape[1:]), np.float32)
        for place, path in zip(counts, chosen, strict=True):
            try:
                stored: NDArray[Any] = read_image(path, self.sensor)
            except DataError:
                continue
            if np.isfinite(stored).all():
                place[:] = np.moveaxis(stored * self.sensor.stored_to_count, -1, 0)
        return counts


def survey(root: Path, split: str, sensor: Sensor) -> dict[str, Any]:
    """Find which patches of a split adjoin.

    Parameters
    ----------
    root : Path
        Folder in the official or the Hugging Face layout.
    split : {'train', 'valid', 'test'}
    sensor : Sensor

    Returns
    -------
    dict
        ``tiles, placed, confidence_min, scenes``, and ``places``: for every placed tile ``patch,
        scene, row, col, confidence``.
    """
    files = find_patches(root, split, sensor)
    images = TileFiles([file.image for file in files], sensor)
    ids, relative = [file.id for file in files], sensor.level == "relative"
    placement = solve(images, ids=ids, spectral=_light(sensor), relative=relative)
    places = [
        {
            "patch": int(placement.ids[i]),
            "scene": int(placement.scene[i]),
            "row": int(placement.row[i]),
            "col": int(placement.col[i]),
            "confidence": round(float(placement.confidence[i]), 4),
        }
        for i in placement.placed.nonzero()[0]
    ]
    return {**placement.summary(), "places": places}


def adjoining_splits(root: str | Path, sensor: Sensor) -> list[Fault]:
    """Find tiles of different splits that adjoin.

    Parameters
    ----------
    root : str or Path
        Folder in the official or the Hugging Face layout.
    sensor : Sensor

    Returns
    -------
    list of Fault
        A warning, code ``neighbour``, for each pair, under the later of the two splits.
    """
    root = Path(root)
    splits = splits_in(root)
    tiles = [
        (split, path)
        for split in splits
        if (listing := list_split(root, split)) is not None
        for path in listing.images.values()
    ]
    if len(splits) < 2 or len(tiles) < 2:
        return []
    log.info("neighbours between splits: comparing the edges of %d tiles", len(tiles))
    images = TileFiles([path for _, path in tiles], sensor)
    placement = solve(images, spectral=_light(sensor), relative=sensor.level == "relative")
    found = []
    for axis in ("x", "y"):
        for before, after in placement.pairs(axis).tolist():
            first, second = tiles[before], tiles[after]
            if first[0] == second[0]:
                continue
            sure = float(min(placement.confidence[before], placement.confidence[after]))
            pair = [(first, second, SIDES[axis][0]), (second, first, SIDES[axis][1])]
            (split, path), other, side = max(pair, key=lambda p: splits.index(p[0][0]))
            text = (
                f"lies {side} {other[1].name} of split {other[0]} (confidence {sure:.3f}): "
                "not a place that a model fitted there has never seen"
            )
            found.append(Fault("warning", "neighbour", str(path), text, split))
    return sorted(found, key=lambda f: (splits.index(f.split), f.where, f.message))


def _light(sensor: Sensor) -> list[bool]:
    return [name in set(sensor.spectral) for name in sensor.band_names]
