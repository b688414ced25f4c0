"""Find where tiles lie from their pixels: which adjoin, edge to edge.

The evidence for a seam is weighed in `l4s_ensemble.scenes.evidence`, tiles are put together in
`l4s_ensemble.scenes.assembly`. A tile that is doubtful gets no place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.patches import find_patches, read_image
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.assembly import assemble
from l4s_ensemble.scenes.evidence import weigh
from l4s_ensemble.scenes.layout import (
    ALONE,
    UNKNOWN,
    Layout,
    is_official,
    known_layout,
    manifest_places,
    official_places,
)

log = logging.getLogger("l4s_ensemble")

LEAST_PIXELS = 8


def find_layout(
    dataset: xr.Dataset,
    sensor: Sensor,
    choice: Literal["auto", "official", "manifest", "pixels", "none"] = "auto",
) -> Layout:
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
    patch, chosen = dataset["patch"].values.astype(np.int64), choice
    if choice == "auto":
        chosen = known_layout(dataset, sensor).grid
        if chosen == "none" and is_official(dataset, sensor):
            log.warning("scenes: some ids are no official training ids, so the pixels decide")
        if chosen == "none":
            chosen = "pixels"
    if chosen == "pixels":
        found = _layout_from_pixels(dataset, sensor)
        if choice == "pixels" or 2 * found.placed.sum() >= len(patch):
            return found
        # Ids in a row are a safer guess than tiles that nearly all stand alone.
        chosen = "none"
    if chosen == "none":
        log.warning(
            "scenes: the places of the tiles are not known. Runs of ids stand for blocks and only "
            "id - 1 and id + 1 count as neighbours; tiles above and below may leak between folds, "
            "so scores may be too good. A scenes.csv in the data folder (split, patch, scene, "
            "row, col) gives true blocks"
        )
        nowhere = np.full(patch.shape, UNKNOWN, np.int32)
        return Layout("none", patch, nowhere, nowhere, nowhere)
    manifest = chosen == "manifest"
    scene, row, col = manifest_places(dataset) if manifest else official_places(patch)
    unknown = patch[(scene == UNKNOWN) | (row < 0) | (col < 0)]
    if len(unknown):
        raise DataError(
            f"{len(unknown)} of {len(patch)} tiles have no place in the {chosen} grid",
            where=dataset.attrs.get("root"),
            found="patches " + ", ".join(map(str, unknown)),
            fix=("complete scenes.csv, or " if manifest else "")
            + "set scenes.grid=pixels or scenes.grid=none",
        )
    return Layout("manifest" if manifest else "official", patch, scene, row, col)


def solve(
    images: Any,
    *,
    ids: ArrayLike | None = None,
    spectral: ArrayLike | None = None,
    relative: bool = False,
) -> Layout:
    """Find which tiles adjoin edge to edge, without overlap.

    All bands are used. What a true seam looks like is learned from cuts inside the tiles, and what
    chance can do from edges that cannot adjoin, so there is nothing to tune. Tiles may be missing
    and in any order. Equal tiles, tiles without structure and tiles that fit in two places are not
    placed. Parts that no seam joins are scenes of their own.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts (uint16, or float32): a numpy array, or anything with a shape that gives a numpy
        array for a slice of tiles (a zarr array, an ``xarray.DataArray``). Read in small pieces.
    ids : array-like of int, shape (tile,), optional
        Patch ids; default positions. Their order says nothing.
    spectral : array-like of bool, shape (band,), optional
        Bands of reflectance, compared as logarithms; default all. Others (slope, elevation) are
        compared as they are.
    relative : bool
        The gain of every tile is unknown: spectral bands are compared up to a factor a tile.

    Returns
    -------
    Layout
        Scenes from 1, by falling number of tiles; -1 for a tile without a place.

    Raises
    ------
    DataError
        If the array is not of four axes, or holds tiles under 8 pixels.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or min(shape[2:], default=0) < LEAST_PIXELS or not shape[1]:
        raise DataError(
            "tiles of this shape cannot be put together",
            found=shape,
            allowed=f"(tile, band, y, x) with at least one band and {LEAST_PIXELS} x "
            f"{LEAST_PIXELS} pixels",
        )
    started, n = time.monotonic(), shape[0]
    patch = np.arange(n) if ids is None else np.asarray(ids, np.int64)
    bands = np.ones(shape[1], bool) if spectral is None else np.asarray(spectral, bool)
    scene, row, col = (np.full(n, UNKNOWN, np.int32) for _ in range(3))
    if n > 1:
        part, at = assemble(weigh(images, bands, relative))
        members = [np.flatnonzero(part == p) for p in np.unique(part)]
        several = [tiles for tiles in members if len(tiles) > 1]
        # Of equally many tiles, those with the lowest id come first.
        several.sort(key=lambda tiles: (-len(tiles), patch[tiles].min()))
        for number, tiles in enumerate(several, start=1):
            scene[tiles] = number
            row[tiles], col[tiles] = (at[tiles] - at[tiles].min(0)).T
        log.info(
            "seams: %d of %d tiles placed in %d scenes, %.1f s",
            (scene >= 0).sum(),
            n,
            len(several),
            time.monotonic() - started,
        )
    return Layout("pixels", patch, scene, row, col)


def survey(root: Path, split: str, sensor: Sensor) -> dict[str, Any]:
    """Find which patches of a split adjoin, for ``data scenes``.

    Parameters
    ----------
    root : Path
        Folder in the official or the Hugging Face layout.

    Returns
    -------
    dict
        ``tiles, placed``; ``scenes``: for each ``scene, tiles, rows, cols`` (extent of what is
        there).
    """
    files = find_patches(root, split, sensor)
    layout = solve(
        TileFiles([file.image for file in files], sensor),
        ids=[file.id for file in files],
        spectral=_spectral(sensor),
        relative=sensor.radiometry == "relative",
    )
    scenes = []
    for scene in np.unique(layout.scene[layout.placed]).tolist():
        here = layout.scene == scene
        rows, cols = (int(np.ptp(a[here])) + 1 for a in (layout.row, layout.col))
        scenes.append({"scene": scene, "tiles": int(here.sum()), "rows": rows, "cols": cols})
    return {"tiles": len(layout), "placed": int(layout.placed.sum()), "scenes": scenes}


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


def _layout_from_pixels(dataset: xr.Dataset, sensor: Sensor) -> Layout:
    """Find places from the seams between tiles; a tile without a seam is a scene of its own."""
    patches = dataset.sizes["patch"]
    # Equal tiles fit equally well, so the solver would place none of them and nobody would know
    # their neighbours. One is placed; the folds keep the others with it.
    once = np.sort(np.unique(dataset["content_hash"].values, return_index=True)[1])
    own = dataset if len(once) == patches else dataset.isel(patch=once)
    solved = solve(
        own["image"],
        ids=own["patch"].values,
        spectral=_spectral(sensor),
        relative=sensor.radiometry == "relative",
    )
    scene, row, col = (np.full(patches, UNKNOWN, np.int32) for _ in range(3))
    scene[once], row[once], col[once] = solved.scene, solved.row, solved.col
    alone = scene < 0
    scene[alone] = ALONE - np.arange(alone.sum())
    log.info(
        "scenes: %d of %d tiles placed by their pixels, in %d scenes",
        (~alone).sum(),
        patches,
        len(np.unique(scene[~alone])),
    )
    if alone.any():
        log.warning(
            "scenes: no seam tells where %d of %d tiles lie. Each stands alone; those that touch "
            "another tile after all may leak between folds, so scores may be too good. A "
            "scenes.csv in the data folder (split, patch, scene, row, col) settles it",
            alone.sum(),
            patches,
        )
    return Layout("pixels", dataset["patch"].values.astype(np.int64), scene, row, col)


def _spectral(sensor: Sensor) -> list[bool]:
    return [name in set(sensor.spectral) for name in sensor.band_names]
