"""Tiles of different splits that adjoin: a score there is not one of a place never seen.

Whether two tiles adjoin is told by their pixels alone (`l4s_ensemble.scenes.seams`), so it costs
about as much as finding the scenes, and ``data check`` does it only when asked to.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.check import Fault
from l4s_ensemble.data.layout import list_split, splits_in
from l4s_ensemble.data.patches import read_image
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.seams import solve

log = logging.getLogger("l4s_ensemble")

SIDES = {"x": ("left of", "right of"), "y": ("above", "below")}


@dataclass(frozen=True)
class Tile:
    """One image file of a split."""

    split: str
    path: Path


@dataclass(frozen=True)
class TileFiles:
    """Image files as an array ``(tile, band, y, x)`` that reads slices of tiles.

    A file that cannot be read is a black tile, which says nothing: the check of files names it.
    """

    tiles: Sequence[Tile]
    sensor: Sensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array."""
        edge = self.sensor.patch_pixels
        return len(self.tiles), len(self.sensor.bands), edge, edge

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, which: slice) -> NDArray[np.float32]:
        chosen = self.tiles[which]
        counts = np.zeros((len(chosen), *self.shape[1:]), np.float32)
        for place, tile in zip(counts, chosen, strict=True):
            try:
                stored: NDArray[Any] = read_image(tile.path, self.sensor)
            except DataError:
                continue
            if np.isfinite(stored).all():
                place[:] = np.moveaxis(stored * self.sensor.stored_to_count, -1, 0)
        return counts


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
        Tile(split, path)
        for split in splits
        if (listing := list_split(root, split)) is not None
        for path in listing.images.values()
    ]
    if len(splits) < 2 or len(tiles) < 2:
        return []
    log.info("neighbours between splits: comparing the rims of %d tiles", len(tiles))
    light = set(sensor.spectral)
    placement = solve(
        TileFiles(tiles, sensor),
        spectral=[name in light for name in sensor.band_names],
        relative=sensor.level == "relative",
    )
    found = []
    for axis in ("x", "y"):
        for before, after in placement.pairs(axis).tolist():
            first, second = tiles[before], tiles[after]
            if first.split == second.split:
                continue
            sure = float(min(placement.confidence[before], placement.confidence[after]))
            pair = [(first, second, SIDES[axis][0]), (second, first, SIDES[axis][1])]
            tile, other, side = max(pair, key=lambda p: splits.index(p[0].split))
            text = (
                f"lies {side} {other.path.name} of split {other.split} (confidence {sure:.3f}): "
                "not a place that a model fitted there has never seen"
            )
            found.append(Fault("warning", "neighbour", str(tile.path), text, tile.split))
    return sorted(found, key=lambda f: (splits.index(f.split), f.where, f.message))
