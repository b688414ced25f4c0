"""Where tiles lie: scene, row and column of each.

The official training patches are edge-adjacent tiles in raster order: four scenes, whose first ids
and widths stand below (correlation of true neighbours across their edges is 0.88-0.95 in the
true-colour tiles of scene 1, of other pairs 0.03). Of other tiles a manifest tells where they lie,
or the pixels do (`l4s_ensemble.scenes.seams`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError

GridName = Literal["official", "manifest", "pixels", "none"]
UNKNOWN = -1
ALONE = -2
"""First scene id of the tiles that no seam joins: -2, -3 and so on, each a scene of its own."""

_ROW_BITS = 20  # rows and columns of one scene fit into 20 bits each

AROUND = tuple((r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))
"""Steps in rows and columns to the eight neighbours."""

OFFICIAL_SCENES: tuple[tuple[int, int, int, int], ...] = (
    (1, 1, 3034, 41),
    (2, 3035, 3184, 15),
    (3, 3185, 3305, 11),
    (4, 3306, 3799, 26),
)
"""Scenes of the official training ids: scene, first and last id, tiles in a row."""


@dataclass(frozen=True)
class Layout:
    """Place of each tile; -1 where it is not known.

    Attributes
    ----------
    grid : {'official', 'manifest', 'pixels', 'none'}
        Where the places come from.
    patch : int64 array, shape (tile,)
        Ids.
    scene, row, col : int32 array, shape (tile,)
        A scene of -2 or less is that of one tile that no seam joins; its row and column are -1.
    """

    grid: GridName
    patch: NDArray[np.int64]
    scene: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.patch)

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which tiles have a place, shape (tile,)."""
        return np.asarray(self.scene >= 0)

    @property
    def place(self) -> NDArray[np.int64]:
        """One number a tile, such that tiles of equal number lie at one place, shape (tile,).

        Where no place is known, ids in a row stand for tiles in a row.
        """
        if self.grid == "none":
            return _packed(0, 0, self.patch)
        return _packed(self.scene, self.row, self.col)

    def touching(self, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tiles that are one of the eight neighbours of a chosen tile (chosen ones included)."""
        place = self.place
        steps = [r * (1 << _ROW_BITS) + c for r, c in AROUND]
        around = np.unique(np.concatenate([place[which] + step for step in steps]))
        return np.isin(place, around)

    def cells(self) -> dict[tuple[int, int, int], int]:
        """Position of the tile at each (scene, row, column).

        Raises
        ------
        DataError
            If two tiles claim one place.
        """
        where = np.flatnonzero(self.placed).tolist()
        keys = np.column_stack([self.scene, self.row, self.col])[where].tolist()
        found: dict[tuple[int, int, int], int] = {}
        for tile, (scene, row, col) in zip(where, keys, strict=True):
            other = found.setdefault((scene, row, col), tile)
            if other != tile:
                raise DataError(
                    "two tiles claim one place",
                    where=f"scene {scene}, row {row}, column {col}",
                    found=f"patches {self.patch[other]} and {self.patch[tile]}",
                    fix="correct the manifest, or let the seams decide",
                )
        return found

    def pairs(self, axis: Literal["x", "y"]) -> NDArray[np.intp]:
        """Adjoining tiles as positions, shape (pair, 2): left and right, or upper and lower."""
        down, right = (0, 1) if axis == "x" else (1, 0)
        cells = self.cells()
        beside = (((s, r + down, c + right), t) for (s, r, c), t in cells.items())
        found = [(t, cells[cell]) for cell, t in beside if cell in cells]
        return np.array(found, np.intp).reshape(-1, 2)


def layout_of(patch: ArrayLike, scene: ArrayLike, row: ArrayLike, col: ArrayLike) -> Layout:
    """Make a layout of known places; -1 where a place is not known.

    Raises
    ------
    DataError
        If two tiles claim one place.
    """
    places = (np.asarray(a, dtype=np.int32) for a in (scene, row, col))
    made = Layout("manifest", np.asarray(patch, dtype=np.int64), *places)
    made.cells()
    return made


def official_places(patch: ArrayLike) -> tuple[NDArray[np.int32], ...]:
    """Scene, row and column of official training ids; -1 for ids that are none.

    Parameters
    ----------
    patch : array_like of int, shape (patch,)

    Returns
    -------
    scene, row, col : int32 array, shape (patch,)
        Scenes count from 1, rows and columns from 0.
    """
    ids = np.asarray(patch, dtype=np.int64)
    scene, row, col = (np.full(ids.shape, UNKNOWN, np.int32) for _ in range(3))
    for number, first, last, columns in OFFICIAL_SCENES:
        inside = (ids >= first) & (ids <= last)
        scene[inside] = number
        row[inside], col[inside] = np.divmod(ids[inside] - first, columns)
    return scene, row, col


def known_layout(dataset: xr.Dataset, sensor: Sensor) -> Layout:
    """Places of a store's tiles as far as they are known without a search.

    Those of the manifest; else the official ones, for the training split of an official sensor
    whose ids are all official; else none.
    """
    patch = dataset["patch"].values.astype(np.int64)
    manifest = manifest_places(dataset)
    if (manifest[0] >= 0).any():
        return Layout("manifest", patch, *manifest)
    official = official_places(patch)
    if is_official(dataset, sensor) and (official[0] >= 0).all():
        return Layout("official", patch, *official)
    return Layout("none", patch, *manifest)


def manifest_places(dataset: xr.Dataset) -> tuple[NDArray[np.int32], ...]:
    """Scene, row and column of a store's tiles as its data folder says, each of shape (patch,)."""
    return tuple(dataset[name].values.astype(np.int32) for name in ("scene", "row", "col"))


def is_official(dataset: xr.Dataset, sensor: Sensor) -> bool:
    """Whether a store's ids are meant as official training ids."""
    return sensor.grid == "official" and dataset.attrs.get("split") == "train"


def _packed(scene: ArrayLike, row: ArrayLike, col: ArrayLike) -> NDArray[np.int64]:
    """Pack scene, row and column; one cell of margin keeps a row's end off the next one's start."""
    s, r, c = (np.asarray(v, dtype=np.int64) for v in (scene, row, col))
    packed: NDArray[np.int64] = (s << (2 * _ROW_BITS)) + ((r + 1) << _ROW_BITS) + c + 1
    return packed
