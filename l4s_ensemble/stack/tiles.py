"""Tiles as the meta-learner sees them, a few at a time: each chunk on disk is read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.store import open_store, sensor_of
from l4s_ensemble.errors import RunError
from l4s_ensemble.run.scores import CHUNK_TILES, open_scores
from l4s_ensemble.stack.inputs import Seen

if TYPE_CHECKING:
    import xarray as xr

BLOCK_TILES = 4 * CHUNK_TILES
"""Tiles in memory at once: whole chunks of the scores."""

RELIEF_PX = 21
"""Edge of the window whose range of height is the relief, pixels."""


@dataclass(frozen=True)
class Block:
    """Some tiles in a row.

    Attributes
    ----------
    at : slice
        Their positions.
    seen : list of Seen
    truth : bool array, shape (tile, y, x)
    """

    at: slice
    seen: list[Seen]
    truth: NDArray[np.bool_]


class OutOfFold:
    """Both models' out-of-fold logits on the same tiles, with the truth.

    Parameters
    ----------
    pixel, unet : Path
        Their ``oof.zarr``.
    store : Path
        ``patches.zarr`` with masks.

    Attributes
    ----------
    patch, fold : int64 array, shape (tile,)
    size : tuple of int
        Height and width of a tile.

    Raises
    ------
    RunError
        If the two were made on other tiles or folds.
    """

    def __init__(self, pixel: Path, unet: Path, store: Path) -> None:
        self.paths = (pixel, unet, store)
        self._pixel = open_scores(pixel)
        self._unet = open_scores(unet)
        self._store = open_store(store)
        self.patch: NDArray[np.int64] = self._pixel["patch"].values
        self.fold: NDArray[np.int64] = self._pixel["fold"].values
        same = np.array_equal(self.patch, self._unet["patch"].values) and np.array_equal(
            self.fold, self._unet["fold"].values
        )
        if not same:
            raise RunError(
                "the two models were scored on other tiles or folds", where=f"{pixel}, {unet}",
                fix="run `l4s-ensemble fit-all` again with this run folder",
            )  # fmt: skip
        mask = self._store["mask"]
        self.size = (int(mask.sizes["y"]), int(mask.sizes["x"]))

    def truth(self, at: slice) -> NDArray[np.bool_]:
        """Masks of some tiles, bool (tile, y, x)."""
        masks = self._store["mask"].sel(patch=self.patch[at])
        return np.asarray(masks.values == 1)

    def blocks(self) -> Iterator[Block]:
        """All tiles, in order."""
        for at in slices(len(self.patch)):
            ids = self.patch[at]
            truth = self.truth(at)
            seen = seen_of(
                self._pixel["logit"][at].values,
                self._unet["logit"][at].values,
                *terrain(self._store, ids),
            )
            yield Block(at, seen, truth)


def slices(tiles: int) -> list[slice]:
    """Blocks of tiles, in order."""
    return [slice(i, min(i + BLOCK_TILES, tiles)) for i in range(0, tiles, BLOCK_TILES)]


def seen_of(
    pixel: NDArray[np.float32],
    unet: NDArray[np.float32],
    slope_deg: NDArray[np.float32] | None,
    relief_m: NDArray[np.float32] | None,
) -> list[Seen]:
    """What a learner sees of each tile; all arrays are (tile, y, x)."""
    return [
        Seen(
            pixel[i],
            unet[i],
            None if slope_deg is None else slope_deg[i],
            None if relief_m is None else relief_m[i],
        )
        for i in range(len(pixel))
    ]


def terrain(
    dataset: xr.Dataset, ids: ArrayLike
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Slope (degrees) and relief (metres) of some tiles, float32 (tile, y, x); None if unknown."""
    from scipy.ndimage import maximum_filter, minimum_filter

    slope = _band(dataset, "slope", ids)
    dem = _band(dataset, "dem", ids)
    if dem is None:
        return slope, None
    size = (1, RELIEF_PX, RELIEF_PX)
    return slope, maximum_filter(dem, size) - minimum_filter(dem, size)


GUIDE_BANDS = ("B4", "B3", "B2")
"""What a filter that follows the image looks at: the colours that every sensor here has."""


class Guide:
    """Colours of tiles for a filter that follows the image, read a block at a time.

    Parameters
    ----------
    dataset : xarray.Dataset
        With ``image``.
    patch : array_like of int, shape (tile,)
        Ids, in order.
    """

    def __init__(self, dataset: xr.Dataset, patch: ArrayLike) -> None:
        self._image = dataset["image"]
        self._patch = np.asarray(patch)

    def __getitem__(self, block: slice) -> NDArray[np.float32]:
        """Colours of a block, float32 (tile, y, x, channel), in the unit of the store."""
        found = self._image.sel(patch=self._patch[block], band=list(GUIDE_BANDS))
        return np.moveaxis(found.values, 1, -1).astype(np.float32)


def guide_of(dataset: xr.Dataset, patch: ArrayLike) -> Guide | None:
    """Colours of some tiles; None where the sensor lacks one of them."""
    known = set(GUIDE_BANDS) <= set(sensor_of(dataset).band_names)
    return Guide(dataset, patch) if known else None


def _band(dataset: xr.Dataset, name: str, ids: ArrayLike) -> NDArray[np.float32] | None:
    sensor = sensor_of(dataset)
    if name not in sensor.band_names:
        return None
    values = dataset["image"].sel(band=name, patch=np.asarray(ids)).values.astype(np.float32)
    if dataset.attrs.get("values") == "unit":
        return np.asarray(values)
    return np.asarray(values * sensor.count_to_unit[sensor.band_names.index(name)])
