"""Tiles in memory: uint16 counts of the store, 2 bytes a value, on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.counts import to_units
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

RELIEF_BANDS = ("dem",)
"""Bands of which only the difference to the tile's median is shown: height alone is no sign."""

BLOCK_TILES = 64
"""Tiles read, or looked at, at once."""


@dataclass(frozen=True)
class TileSet:
    """Tiles in memory.

    Attributes
    ----------
    patch : int64 array, shape (tile,)
        Ids.
    counts : Tensor, shape (tile, band, y, x)
        int16 that holds the bits of uint16 (torch indexes int16 everywhere), or float32 where the
        values are no exact counts.
    scale : float32 Tensor, shape (tile, band)
        Units = counts x scale. Holds the level of each tile of a relative sensor.
    centre : float32 Tensor, shape (tile, band)
        The tile's median elevation in units, 0 for other bands.
    mask : uint8 Tensor, shape (tile, y, x), or None
        Reference, 1 = landslide.
    sensor : Sensor
    """

    patch: NDArray[np.int64]
    counts: torch.Tensor
    scale: torch.Tensor
    centre: torch.Tensor
    mask: torch.Tensor | None
    sensor: Sensor

    def __len__(self) -> int:
        return len(self.patch)

    @property
    def spectral(self) -> NDArray[np.bool_]:
        """Which bands measure reflectance, shape (band,)."""
        return np.isin(self.sensor.band_names, self.sensor.spectral)

    def at(self, positions: ArrayLike) -> TileSet:
        """Copy the tiles at some positions."""
        index = np.asarray(positions, np.int64)
        where = sent(index, self.counts.device)
        return replace(self._each(lambda values: values[where]), patch=self.patch[index])

    def to(self, device: torch.device) -> TileSet:
        """Move the arrays to a device."""
        return self._each(lambda values: sent(values, device))

    def units(
        self, index: torch.Tensor, counts: torch.Tensor | None = None, *, relief: bool = True
    ) -> torch.Tensor:
        """Units of some tiles, float32 (n, band, y, x), in new memory.

        Parameters
        ----------
        index : int64 Tensor, shape (n,)
            Positions in this set.
        counts : Tensor, shape (n, band, ...), optional
            Their counts, where these have been turned or thinned out; float32 is overwritten.
        relief : bool
            Whether `RELIEF_BANDS` are relative to their median over the tile.
        """
        raw = self.counts[index] if counts is None else counts
        out = plain(raw).mul_(self.scale[index][:, :, None, None])
        return out.sub_(self.centre[index][:, :, None, None]) if relief else out

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> TileSet:
        tensors = {k: v for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        changed: dict[str, Any] = {name: change(value) for name, value in tensors.items()}
        return replace(self, **changed)


def plain(counts: torch.Tensor) -> torch.Tensor:
    """Counts as float32: int16 holds the bits of uint16, so -1 stands for 65535."""
    if counts.dtype == torch.float32:
        return counts
    return counts.to(torch.int32).bitwise_and_(0xFFFF).float()


def as_tiles(X: Any, y: ArrayLike | None = None, *, sensor: Sensor, masks: bool) -> TileSet:
    """Convert the input of an estimator to a `TileSet`.

    Parameters
    ----------
    X, y
        As of `UNetClassifier.fit`.
    sensor : Sensor
        Of an array, which is in its units. A dataset names its own.
    masks : bool
        Whether masks are needed.

    Raises
    ------
    DataError
        If the shapes do not fit, masks are needed and missing, or hold other values than 0 and 1.
    """
    import xarray as xr

    if isinstance(X, TileSet):
        tiles = X
    else:
        ds = X if isinstance(X, xr.Dataset) else _dataset(np.asarray(X, np.float32), sensor)
        tiles = load(ds, masks=masks and y is None)
    if y is not None:
        mask = np.asarray(y)
        wanted = (len(tiles), *tiles.counts.shape[-2:])
        if mask.shape != wanted or not np.isin(mask, (0, 1)).all():
            raise DataError(
                "these are no masks of the tiles",
                found=f"shape {mask.shape}, values {mask.min(initial=0)} to {mask.max(initial=0)}",
                allowed=f"shape {wanted}, values 0 and 1",
            )
        tiles = replace(tiles, mask=torch.from_numpy(mask.astype(np.uint8)))
    if masks and tiles.mask is None:
        raise DataError("the tiles have no masks", fix="give y, or tiles with masks")
    return tiles


def _dataset(units: NDArray[np.float32], sensor: Sensor) -> xr.Dataset:
    import xarray as xr

    if units.ndim != 4 or units.shape[1] != len(sensor.bands):
        raise DataError(
            "the array does not hold tiles of the sensor",
            where=sensor.name,
            found=units.shape,
            allowed=f"(tile, {len(sensor.bands)}, y, x): {', '.join(sensor.band_names)}",
        )
    return xr.Dataset(
        {"image": (("patch", "band", "y", "x"), units)},
        coords={"patch": np.arange(len(units))},
        attrs={"sensor": sensor.model_dump_json(), "values": "unit"},
    )


def load(ds: xr.Dataset, positions: ArrayLike | None = None, *, masks: bool = True) -> TileSet:
    """Read tiles of a dataset into memory.

    Parameters
    ----------
    ds : xarray.Dataset
        As `l4s_ensemble.data.store.open_store` or ``open_patches`` gives it.
    positions : array_like of int, optional
        All of them by default.
    masks : bool
        Whether to read the masks too, where there are any.
    """
    sensor = sensor_of(ds)
    ready = ds.attrs.get("values") == "unit"  # opened from files, not from a store
    where = np.arange(ds.sizes["patch"]) if positions is None else np.asarray(positions, np.int64)
    image = ds["image"]
    exact = image.dtype == np.uint16
    shape = (len(where), *image.shape[1:])
    counts = np.empty(shape, np.uint16 if exact else np.float32)
    scale = np.ones(shape[:2], np.float32)
    centre = np.zeros(shape[:2], np.float32)
    relief = np.flatnonzero(np.isin(sensor.band_names, RELIEF_BANDS))
    for start in range(0, len(where), BLOCK_TILES):
        part = slice(start, start + BLOCK_TILES)
        counts[part] = image.isel(patch=where[part]).values
        units = counts[part] if ready else to_units(counts[part], sensor)
        if not ready:
            scale[part] = _scale(counts[part], units, sensor)
        for band in relief:
            centre[part, band] = np.median(units[:, band], axis=(-2, -1))
    masks = masks and "mask" in ds
    mask = ds["mask"].isel(patch=where).values.astype(np.uint8) if masks else None
    return TileSet(
        patch=ds["patch"].values[where].astype(np.int64),
        counts=torch.from_numpy(counts.view(np.int16) if exact else counts),
        scale=torch.from_numpy(scale),
        centre=torch.from_numpy(centre),
        mask=None if mask is None else torch.from_numpy(mask),
        sensor=sensor,
    )


def _scale(counts: NDArray[Any], units: NDArray[np.float32], sensor: Sensor) -> NDArray[np.float32]:
    """Factor of each tile and band from counts to units, as the data stage applied it."""
    below = counts.sum(axis=(-2, -1), dtype=np.float64)
    above = units.sum(axis=(-2, -1), dtype=np.float64)
    nothing = below == 0
    ratio = above / np.where(nothing, 1.0, below)
    return np.where(nothing, sensor.count_to_unit, ratio).astype(np.float32)


def sent(values: torch.Tensor | NDArray[Any], device: torch.device) -> torch.Tensor:
    """Values on a device. A GPU takes them when it comes to it: whoever sends does not wait.

    From memory that is not pinned each copy to a GPU waits for all that was launched before it.
    """
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(values)
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
