"""From counts in memory to what the network sees.

Tiles stay as the uint16 counts of the store, 2 bytes a value, on the device. A batch of them is
normalised when it is used: counts -> units -> band-wise transform -> clip -> standardise. The
statistics come from the training tiles of one fold and are saved with its model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.counts import to_units
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.errors import DataError, ModelError

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.scenes.surroundings import Surroundings

LOG_BANDS = ("B10",)
"""Heavy-tailed bands: log(1 + units) tames them. Cirrus has p99 24 and maximum 50 as stored."""

RELIEF_BANDS = ("dem",)
"""Bands of which only the difference to the tile's median is shown: height alone is no slide."""

CLIP_PERCENT = 0.1
"""Values below this percentile or above 100 - this are clipped."""

SAMPLE_STEP_PX = 8
"""Statistics look at every 8th row and column: 256 pixels a tile are plenty."""

_BLOCK = 64  # tiles read at once


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
    known : uint8 Tensor, shape (tile, y, x), or None
        Pixels whose mask may be learnt from; None means all.
    around : int64 Tensor, shape (tile, 3, 3), or None
        Positions in this set of each tile's neighbours by row and column, -1 where there is none;
        the tile itself stands in the middle.
    own : float32 Tensor, shape (tile,), or None
        Where `scale` brings light to the level of the scene: the factor from there to the level
        that the tile has by itself. None means that they are the same.
    scene : int64 array, shape (tile,), or None
        Number of the scene, -1 where it is not known.
    """

    patch: NDArray[np.int64]
    counts: torch.Tensor
    scale: torch.Tensor
    centre: torch.Tensor
    mask: torch.Tensor | None
    sensor: Sensor
    known: torch.Tensor | None = None
    around: torch.Tensor | None = None
    own: torch.Tensor | None = None
    scene: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.patch)

    @property
    def spectral(self) -> NDArray[np.bool_]:
        """Which bands measure light, shape (band,)."""
        return np.isin(self.sensor.band_names, self.sensor.spectral)

    def to(self, device: torch.device) -> TileSet:
        """Move the arrays to a device."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {
            name: _pinned(value, device)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        return replace(self, **moved)

    def units(self, index: torch.Tensor, symmetrised: torch.Tensor | None = None) -> torch.Tensor:
        """Units of some tiles, float32 (n, band, y, x), relief bands about their median.

        Parameters
        ----------
        index : int64 Tensor, shape (n,)
            Positions in this set.
        symmetrised : Tensor, optional
            Their counts, transformed already.
        """
        raw = self.counts[index] if symmetrised is None else symmetrised
        scale = self.scale[index]
        if self.own is not None:
            light = torch.from_numpy(self.spectral).to(scale.device)
            scale = torch.where(light, scale * self.own[index][:, None], scale)
        return plain(raw) * _plane(scale) - _plane(self.centre[index])


def plain(counts: torch.Tensor) -> torch.Tensor:
    """Counts as float32: int16 holds the bits of uint16, so -1 stands for 65535."""
    return counts if counts.dtype == torch.float32 else (counts.to(torch.int32) & 0xFFFF).float()


def load(
    ds: xr.Dataset,
    positions: ArrayLike | None = None,
    *,
    masks: bool = True,
    surroundings: Surroundings | None = None,
) -> TileSet:
    """Read tiles of a store into memory.

    Parameters
    ----------
    ds : xarray.Dataset
        As `l4s_ensemble.data.store.open_store` gives it.
    positions : array_like of int, optional
        Positions of the tiles; all of them by default.
    masks : bool
        Whether to read the masks too.
    surroundings : Surroundings, optional
        Of all tiles of the store: which adjoin, and what brings their light to one level. Tiles
        that are not read are no neighbours; a tile that is set aside is one only to such tiles.

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
    for start in range(0, len(where), _BLOCK):
        part = slice(start, start + _BLOCK)
        counts[part] = image.isel(patch=where[part]).values
        units = counts[part] if ready else to_units(counts[part], sensor)
        scale[part] = _scale(counts[part], units, sensor)
        for band in relief:
            centre[part, band] = np.median(units[:, band], axis=(-2, -1))
    mask = ds["mask"].isel(patch=where).values.astype(np.uint8) if masks else None
    around = own = scene = None
    if surroundings is not None:
        scene = surroundings.scene[where].astype(np.int64)
        around = torch.from_numpy(surroundings.table(where))
        if sensor.level == "relative":
            factor = surroundings.own_level(where).astype(np.float32)
            own = torch.from_numpy(factor)
            light = np.isin(sensor.band_names, sensor.spectral)
            scale[:, light] /= factor[:, None]
    return TileSet(
        patch=ds["patch"].values[where].astype(np.int64),
        counts=torch.from_numpy(counts.view(np.int16) if exact else counts),
        scale=torch.from_numpy(scale),
        centre=torch.from_numpy(centre),
        mask=None if mask is None else torch.from_numpy(mask),
        sensor=sensor,
        around=around,
        own=own,
        scene=scene,
    )


@dataclass(frozen=True)
class Normalisation:
    """How units become inputs, learned from training tiles.

    ``input = (clip(f(units), low, high) - mean) / std`` with f = log(1 + x) for `LOG_BANDS`, the
    height over the tile's median for `RELIEF_BANDS`, and nothing for the rest.

    Attributes
    ----------
    bands : tuple of str
    low, high, mean, std : tuple of float
        One value a band. Percentiles of f(units), then mean and deviation of the clipped values.
    tiles : int
        Number of tiles they come from.
    """

    bands: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tiles: int

    @classmethod
    def fit(cls, tiles: TileSet, positions: ArrayLike) -> Normalisation:
        """Learn the statistics of the tiles at `positions` of the set."""
        index = torch.as_tensor(np.asarray(positions, np.int64), device=tiles.counts.device)
        step = SAMPLE_STEP_PX
        parts = []
        for some in torch.split(index, _BLOCK):
            sparse = tiles.counts[some][..., step // 2 :: step, step // 2 :: step]
            parts.append(_transform(tiles.units(some, sparse), tiles.sensor.band_names).cpu())
        sample = torch.cat(parts).transpose(0, 1).flatten(1).numpy().astype(np.float64)
        low, high = np.percentile(sample, [CLIP_PERCENT, 100 - CLIP_PERCENT], axis=1)
        clipped = np.clip(sample, low[:, None], high[:, None])
        mean, std = clipped.mean(axis=1), clipped.std(axis=1)
        # A constant band says nothing; it must not divide by zero either.
        std = np.where(std > 0, std, 1.0)
        low_, high_, mean_, std_ = (tuple(v.tolist()) for v in (low, high, mean, std))
        return cls(tiles.sensor.band_names, low_, high_, mean_, std_, tiles=len(index))

    def apply(self, units: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
        """Make inputs of units.

        Parameters
        ----------
        units : float32 Tensor, shape (n, band, y, x)
            As `TileSet.units` gives them.
        gain : Tensor, shape (n, band), optional
            Factors of the augmentation.

        Returns
        -------
        float32 Tensor, shape (n, band, y, x)
        """
        if gain is not None:
            units = units * _plane(gain)
        x = _transform(units, self.bands)
        low, high, mean, std = (
            torch.tensor(v, dtype=torch.float32, device=x.device)[:, None, None]
            for v in (self.low, self.high, self.mean, self.std)
        )
        return x.clamp(low, high).sub_(mean).div_(std)

    def require(self, sensor: Sensor) -> None:
        """Refuse bands other than those that were learned.

        Raises
        ------
        ModelError
        """
        if sensor.band_names != self.bands:
            raise ModelError(
                "the bands are not those the network was trained on", where=sensor.name,
                found=", ".join(sensor.band_names), allowed=", ".join(self.bands),
                fix="predict files of the same sensor, or fit a model for this one",
            )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "bands": list(self.bands),
            "log": [b for b in self.bands if b in LOG_BANDS],
            "relief": [b for b in self.bands if b in RELIEF_BANDS],
            **{k: list(getattr(self, k)) for k in ("low", "high", "mean", "std")},
            "tiles": self.tiles,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Normalisation:
        """Read what `as_dict` gave."""
        names = ("bands", "low", "high", "mean", "std")
        bands, low, high, mean, std = (tuple(value[k]) for k in names)
        return cls(bands, low, high, mean, std, tiles=int(value["tiles"]))


def _transform(units: torch.Tensor, bands: tuple[str, ...]) -> torch.Tensor:
    heavy = [i for i, name in enumerate(bands) if name in LOG_BANDS]
    if heavy:
        units = units.clone()
        units[:, heavy] = torch.log1p(units[:, heavy].clamp_min(0))
    return units


def _scale(counts: NDArray[Any], units: NDArray[np.float32], sensor: Sensor) -> NDArray[np.float32]:
    """Factor of each tile and band from counts to units, as the data room applied it."""
    below = counts.sum(axis=(-2, -1), dtype=np.float64)
    above = units.sum(axis=(-2, -1), dtype=np.float64)
    nothing = below == 0
    ratio = above / np.where(nothing, 1.0, below)
    return np.where(nothing, sensor.count_to_unit, ratio).astype(np.float32)


def _plane(values: torch.Tensor) -> torch.Tensor:
    return values[:, :, None, None]


def _pinned(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    return values.pin_memory().to(device, non_blocking=True)
