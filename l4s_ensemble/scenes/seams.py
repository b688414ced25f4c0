"""Find which tiles adjoin, from the pixels alone: scene, row and column of every tile.

`solve` works on arrays, `solve_dataset` on the dataset of patches. The evidence for a seam is
weighed in `evidence`, tiles are put together in `placing`. A tile that is doubtful gets no place.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.evidence import weigh
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.placing import DOUBT, Parts, assemble

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger("l4s_ensemble")

LEAST_PIXELS = 8


def solve(
    images: Any,
    *,
    ids: Any = None,
    spectral: Any = None,
    relative: bool = False,
) -> Placement:
    """Find which tiles adjoin edge to edge, without overlap.

    All bands are used. What a true seam looks like is learned from cuts inside the tiles, and what
    chance can do from rims that cannot adjoin, so there is nothing to tune. Tiles may be missing
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
        Bands that measure light, compared as logarithms; default all. Others (slope, elevation)
        are compared as they are.
    relative : bool
        The level of every tile is unknown: spectral bands are compared up to a factor a tile.

    Returns
    -------
    Placement
        Scenes by falling number of tiles.

    Raises
    ------
    DataError
        If the array is not of four axes, holds tiles under 8 pixels, or ids or bands do not fit.
    """
    found_ids, bands = _check(images, ids, spectral)
    started = time.monotonic()
    n = len(found_ids)
    if n < 2:
        none = np.full(n, -1, np.int64)
        return Placement(found_ids, none, none.copy(), none.copy(), np.zeros(n))
    placement = _placement(found_ids, assemble(weigh(images, bands, relative)))
    log.info(
        "seams: %d of %d tiles placed in %d scenes, %.1f s", placement.placed.sum(), n,
        len(np.unique(placement.scene[placement.placed])), time.monotonic() - started,
    )  # fmt: skip
    return placement


def solve_dataset(patches: xr.Dataset) -> Placement:
    """Find which patches of a dataset adjoin; see `solve`.

    Parameters
    ----------
    patches : xarray.Dataset
        As the data stage stores it: ``image (patch, band, y, x)`` in counts, coordinate ``patch``,
        attribute ``sensor``. Read in small pieces.
    """
    sensor = Sensor.model_validate_json(patches.attrs["sensor"])
    light = set(sensor.spectral)
    return solve(
        patches["image"],
        ids=patches["patch"].values,
        spectral=[str(b) in light for b in patches["band"].values],
        relative=sensor.level == "relative",
    )


def _check(images: Any, ids: Any, spectral: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    shape = tuple(images.shape)
    if len(shape) != 4 or min(shape[2:], default=0) < LEAST_PIXELS or not shape[1]:
        raise DataError(
            "tiles of this shape cannot be put together", found=shape,
            allowed=f"(tile, band, y, x) with at least one band and {LEAST_PIXELS} x "
            f"{LEAST_PIXELS} pixels",
        )  # fmt: skip
    found = np.arange(shape[0]) if ids is None else np.asarray(ids)
    if found.shape != shape[:1] or len(np.unique(found)) != len(found):
        raise DataError("one id is needed for each tile, none twice", found=found.shape,
                        allowed=shape[:1])  # fmt: skip
    bands = np.ones(shape[1], bool) if spectral is None else np.asarray(spectral, bool)
    if bands.shape != shape[1:2]:
        raise DataError("one flag is needed for each band", where="spectral",
                        found=bands.shape, allowed=shape[1:2])  # fmt: skip
    return found.astype(np.int64), bands


def _placement(ids: NDArray[np.int64], parts: Parts) -> Placement:
    n = len(ids)
    scene, row, col = (np.full(n, -1, np.int64) for _ in range(3))
    sure = 1 / (1 + DOUBT * np.exp(-np.maximum(parts.odds, -50)))
    confidence = np.zeros(n)
    members = [np.flatnonzero(parts.part == p) for p in np.unique(parts.part)]
    several = [tiles for tiles in members if len(tiles) > 1]
    for number, tiles in enumerate(sorted(several, key=lambda t: (-len(t), ids[t].min())), start=1):
        scene[tiles] = number
        row[tiles], col[tiles] = (parts.at[tiles] - parts.at[tiles].min(0)).T
        confidence[tiles] = sure[tiles]
    return Placement(ids, scene, row, col, confidence)
