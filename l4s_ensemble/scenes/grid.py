"""Where the tiles lie: scene, row and column of each patch.

The official training patches are edge-adjacent tiles in raster order: four scenes, whose first ids
and widths stand below (correlation of true neighbours across their edges is 0.88-0.95 in the
true-colour tiles of scene 1, of other pairs 0.03). Of other tiles the pixels tell where they lie
(`l4s_ensemble.scenes.seams`), unless a manifest does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError

log = logging.getLogger("l4s_ensemble")

GridName = Literal["official", "manifest", "pixels", "none"]
UNKNOWN = -1
ALONE = -2
"""First scene id of the tiles that no seam joins: -2, -3 and so on, each a scene of its own."""

_ROW_BITS = 20  # rows and columns of one scene fit into 20 bits each

AROUND = tuple((r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))
"""Steps in rows and columns to the eight neighbours."""


@dataclass(frozen=True)
class OfficialScene:
    """One scene of the official training ids: first and last id, and tiles in a row."""

    scene: int
    first: int
    last: int
    columns: int


OFFICIAL_SCENES: tuple[OfficialScene, ...] = (
    OfficialScene(1, 1, 3034, 41),
    OfficialScene(2, 3035, 3184, 15),
    OfficialScene(3, 3185, 3305, 11),
    OfficialScene(4, 3306, 3799, 26),
)


@dataclass(frozen=True)
class Grid:
    """Place of each patch; -1 where it is not known.

    Attributes
    ----------
    name : {'official', 'manifest', 'pixels', 'none'}
        Where the places come from.
    patch : int64 array, shape (patch,)
    scene, row, col : int32 array, shape (patch,)
        Found in the pixels, a tile that no seam joins is a scene of its own: its scene is -2 or
        less and no other tile's, its row and column are -1.
    """

    name: GridName
    patch: NDArray[np.int64]
    scene: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]

    @property
    def place(self) -> NDArray[np.int64]:
        """One number a tile, such that tiles of equal number lie at one place, shape (patch,).

        Where no place is known, ids in a row stand for tiles in a row.
        """
        if self.name == "none":
            return _place(np.zeros_like(self.patch), np.zeros_like(self.patch), self.patch)
        return _place(self.scene, self.row, self.col)

    def touching(self, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tiles that are one of the eight neighbours of a chosen tile (chosen ones included)."""
        place = self.place
        steps = [r * (1 << _ROW_BITS) + c for r, c in AROUND]
        around = np.unique(np.concatenate([place[which] + step for step in steps]))
        return np.isin(place, around)


def manifest_places(dataset: xr.Dataset) -> tuple[NDArray[np.int32], ...]:
    """Scene, row and column of a store's tiles as its data folder says, each of shape (patch,)."""
    return tuple(dataset[name].values.astype(np.int32) for name in ("scene", "row", "col"))


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
    for known in OFFICIAL_SCENES:
        inside = (ids >= known.first) & (ids <= known.last)
        offset = ids[inside] - known.first
        scene[inside] = known.scene
        row[inside] = offset // known.columns
        col[inside] = offset % known.columns
    return scene, row, col


def grid_of(
    dataset: xr.Dataset,
    sensor: Sensor,
    choice: Literal["auto", "official", "manifest", "pixels", "none"] = "auto",
) -> Grid:
    """Find the places of a split's patches.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `l4s_ensemble.data.store.open_store`.
    choice : {'auto', 'official', 'manifest', 'pixels', 'none'}
        ``auto``: the manifest's places if the data root has a ``scenes.csv``, else the official
        ones for the training split of an official sensor, else what the pixels tell; none where
        they place less than half of the tiles.

    Raises
    ------
    DataError
        If the places asked for are not known, or known for some tiles only.
    """
    patch = dataset["patch"].values.astype(np.int64)
    manifest = manifest_places(dataset)
    official = official_places(patch)
    if choice == "auto":
        if (manifest[0] != UNKNOWN).any():
            choice = "manifest"
        elif sensor.grid != "official" or dataset.attrs.get("split") != "train":
            choice = "pixels"
        elif (official[0] == UNKNOWN).any():
            log.warning("scenes: some ids are no official training ids, so the pixels decide")
            choice = "pixels"
        else:
            choice = "official"
        if choice == "pixels":
            found = grid_of_pixels(dataset)
            if 2 * (found.scene >= 0).sum() >= len(patch):
                return found
            # Ids in a row are a safer guess than tiles that nearly all stand alone.
            choice = "none"
    elif choice == "pixels":
        return grid_of_pixels(dataset)
    if choice == "none":
        log.warning(
            "scenes: the places of the tiles are not known. Runs of ids stand for blocks and only "
            "id - 1 and id + 1 count as neighbours; tiles above and below may leak between folds, "
            "so scores may be too good. A scenes.csv in the data folder (split, patch, scene, "
            "row, col) gives true blocks"
        )
        nowhere = np.full(patch.shape, UNKNOWN, np.int32)
        return Grid("none", patch, nowhere, nowhere, nowhere)
    scene, row, col = manifest if choice == "manifest" else official
    unknown = patch[(scene == UNKNOWN) | (row < 0) | (col < 0)]
    if len(unknown):
        raise DataError(
            f"{len(unknown)} of {len(patch)} tiles have no place in the {choice} grid",
            where=dataset.attrs.get("root"),
            found="patches " + ", ".join(map(str, unknown)),
            fix=("complete scenes.csv, or " if choice == "manifest" else "")
            + "set scenes.grid=pixels or scenes.grid=none",
        )  # fmt: skip
    return Grid(choice, patch, scene, row, col)


def grid_of_pixels(dataset: xr.Dataset) -> Grid:
    """Places that the seams between the tiles tell; tiles that no seam joins are scenes alone.

    Parameters
    ----------
    dataset : xarray.Dataset
        ``image (patch, band, y, x)`` in counts, coordinate ``patch``, attribute ``sensor``.
    """
    from l4s_ensemble.scenes.seams import solve_dataset

    patches = dataset.sizes["patch"]
    once = np.arange(patches)
    if "content_hash" in dataset.coords:
        # Equal tiles fit equally well, so the solver would place none of them and nobody would know
        # their neighbours. One is placed; the folds keep the others with it.
        once = np.sort(np.unique(dataset["content_hash"].values, return_index=True)[1])
    placement = solve_dataset(dataset if len(once) == patches else dataset.isel(patch=once))
    scene, row, col = (np.full(patches, UNKNOWN, np.int32) for _ in range(3))
    scene[once], row[once], col[once] = placement.scene, placement.row, placement.col
    alone = scene < 0
    scene[alone] = ALONE - np.arange(alone.sum())
    scenes = len(np.unique(scene[~alone]))
    log.info(
        "scenes: %d of %d tiles placed by their pixels, in %d scenes", (~alone).sum(), len(alone),
        scenes,
    )  # fmt: skip
    if alone.any():
        log.warning(
            "scenes: no seam tells where %d of %d tiles lie. Each stands alone; those that touch "
            "another tile after all may leak between folds, so scores may be too good. A "
            "scenes.csv in the data folder (split, patch, scene, row, col) settles it",
            alone.sum(), len(alone),
        )  # fmt: skip
    return Grid("pixels", dataset["patch"].values.astype(np.int64), scene, row, col)


def _place(scene: ArrayLike, row: ArrayLike, col: ArrayLike) -> NDArray[np.int64]:
    """Pack scene, row and column; one cell of margin keeps a row's end off the next one's start."""
    s, r, c = (np.asarray(v, dtype=np.int64) for v in (scene, row, col))
    packed: NDArray[np.int64] = (s << (2 * _ROW_BITS)) + ((r + 1) << _ROW_BITS) + c + 1
    return packed
