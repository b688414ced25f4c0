"""Tiles in memory: uint16 counts of the store, 2 bytes a value, on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.counts import to_units
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.errors import DataError
from l4s_ensemble.unet.inputs.channels import RELIEF_BANDS

if TYPE_CHECKING:
    import xarray as xr

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
        store was not exact.
    scale : float32 Tensor, shape (tile, band)
        Units = counts x scale. Holds the level of each tile of a relative sensor.
    centre : float32 Tensor, shape (tile, band)
        Subtracted from units: the tile's median elevation, 0 for other bands.
    mask : uint8 Tensor, shape (tile, y, x), or None
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

    def to(self, device: torch.device) -> TileSet:
        """Move the arrays to a device."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {
            name: sent(value, device)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        return replace(self, **moved)

    def units(self, index: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
        """Units of some tiles, float32 (n, band, y, x), relief bands about their median.

        Parameters
        ----------
        index : int64 Tensor, shape (n,)
            Positions in this set.
        counts : Tensor, shape (n, band, ...), optional
            Their counts, where these have been turned or thinned out.
        """
        raw = self.counts[index] if counts is None else counts
        scale = self.scale[index][:, :, None, None]
        out = plain(raw)
        # In place where that is safe: new memory costs more than the arithmetic.
        out = out * scale if out is raw else out.mul_(scale)
        return out.sub_(self.centre[index][:, :, None, None])


def plain(counts: torch.Tensor) -> torch.Tensor:
    """Counts as float32: int16 holds the bits of uint16, so -1 stands for 65535."""
    if counts.dtype == torch.float32:
        return counts
    return counts.to(torch.int32).bitwise_and_(0xFFFF).float()


def load(ds: xr.Dataset, positions: ArrayLike | None = None, *, masks: bool = True) -> TileSet:
    """Read tiles of a store into memory.

    Parameters
    ----------
    ds : xarray.Dataset
        As `l4s_ensemble.data.store.open_store` gives it.
    positions : array_like of int, optional
        Positions of the tiles; all of them by default.
    masks : bool
        Whether to read the masks too.

    Raises
    ------
    DataError
        If masks are wanted and the store has none.
    """
    if masks and "mask" not in ds:
        raise DataError(
            "the tiles have no masks", where=ds.attrs.get("root", "store"),
            fix="a U-Net is trained on tiles with masks",
        )  # fmt: skip
    sensor = sensor_of(ds)
    ready = ds.attrs.get("values") == "unit"  # opened from files, not from a store
    where = np.arange(ds.sizes["patch"]) if positions is None else np.asarray(positions, np.int64)
    image = ds["image"]
    exact = image.dtype == np.uint16
    shape = (len(where), *image.shape[1:])
    counts = np.empty(shape, np.uint16 if exact else np.float32)
    scale = np.empty(shape[:2], np.float32)
    centre = np.zeros(shape[:2], np.float32)
    relief = np.flatnonzero(np.isin(sensor.band_names, RELIEF_BANDS))
    for start in range(0, len(where), BLOCK_TILES):
        part = slice(start, start + BLOCK_TILES)
        counts[part] = image.isel(patch=where[part]).values
        units = counts[part] if ready else to_units(counts[part], sensor)
        scale[part] = _scale(counts[part], units, sensor)
        for band in relief:
            centre[part, band] = np.median(units[:, band], axis=(-2, -1))
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
