"""From counts in memory to what the network sees.

Tiles stay as the uint16 counts of the store, 2 bytes a value, on the device. A batch of them is
normalised when it is used: counts -> units -> channels -> clip -> standardise. The statistics come
from the training tiles of one fold and are saved with its model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.counts import to_units
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.errors import DataError, ModelError
from l4s_ensemble.unet.channels import RELIEF_BANDS, Channels, official_statistics

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.scenes.surroundings import Surroundings

CLIP_PERCENT = 0.1
"""Values below this percentile or above 100 - this are clipped."""

SAMPLE_STEP_PX = 8
"""Statistics look at every 8th row and column: 256 pixels a tile are plenty."""

MIDDLE_STEP_PX = 2
"""Medians of a tile look at every second row and column."""

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
        Number of the scene, below 0 where it is not known.
    middle : float32 Tensor, shape (tile, band), or None
        What light is divided by: the median of the tile or its scene in units; 1 for other bands.
    level : {'keep', 'tile', 'scene'}
        Whose median `middle` is. See `prepared`.
    relief : bool
        Whether `centre` holds the median elevation.
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
    middle: torch.Tensor | None = None
    level: str = "keep"
    relief: bool = True

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

    def prepared(self, level: str, *, relief: bool = True) -> TileSet:
        """These tiles, ready to be shown relative to a level.

        Parameters
        ----------
        level : {'keep', 'tile', 'scene'}
            Whose median light is divided by. For a scene that is the median over its tiles in this
            set of the median of each, with light at the level of the scene: `own` is left out. A
            tile of unknown scene has its own median.
        relief : bool
            Whether elevation is shown about the tile's median.

        Returns
        -------
        TileSet
            Itself where it is prepared so already.
        """
        if (self.level, self.relief) == (level, relief):
            return self
        if (self.level, self.relief) != ("keep", True):
            raise ValueError(f"the tiles are prepared for the level {self.level!r} already")
        out = replace(self, level=level, relief=relief)
        if not relief:
            out = replace(out, centre=torch.zeros_like(self.centre))
        if level == "scene":
            out = replace(out, own=None)
        if level != "keep":
            out = replace(out, middle=_usable(_middles(out), self.spectral))
        return out

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

    def middle_of(self, index: torch.Tensor) -> torch.Tensor | None:
        """What light of some tiles is divided by, (n, band); None where the level is kept."""
        return None if self.middle is None else self.middle[index]


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

    ``input = (clip(channel, low, high) - mean) / std``, see `l4s_ensemble.unet.channels` for what
    the channels are.

    Attributes
    ----------
    shown : Channels
    mean, std : tuple of float
        Of the clipped values, one a channel.
    low, high : tuple of float, or None
        Percentiles of the channel; None where nothing is clipped.
    typical : tuple of float, or None
        Median of each band's light over all tiles, 1 for other bands; what light is divided by
        where its logarithm is shown at the level it has. One value a band of the sensor.
    tiles : int
        Number of tiles they come from; 0 for published constants.
    """

    shown: Channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    typical: tuple[float, ...] | None = None
    tiles: int = 0

    @classmethod
    def fit(
        cls, tiles: TileSet, positions: ArrayLike, config: UNetConfig | None = None
    ) -> Normalisation:
        """Learn the statistics of the tiles at `positions` of the set.

        Raises
        ------
        ConfigError
            If the settings ask for channels that the sensor does not have.
        """
        shown = Channels.choose(tiles.sensor, config or UNetConfig())
        if shown.standard == "official":
            return cls(shown, *official_statistics())
        tiles = tiles.prepared(shown.level, relief=shown.relief)
        index = torch.as_tensor(np.asarray(positions, np.int64), device=tiles.counts.device)
        units = torch.cat([_sparse(tiles, i, SAMPLE_STEP_PX) for i in torch.split(index, _BLOCK)])
        typical, middle = None, tiles.middle_of(index)
        if shown.relative and middle is None:
            median = units.transpose(0, 1).flatten(1).median(dim=1).values
            middle = _usable(median[None], tiles.spectral)
            typical = tuple(middle[0].tolist())
        channels = shown.make(units, middle=middle)
        sample = channels.transpose(0, 1).flatten(1).cpu().numpy().astype(np.float64)
        low, high = np.percentile(sample, [CLIP_PERCENT, 100 - CLIP_PERCENT], axis=1)
        clipped = np.clip(sample, low[:, None], high[:, None])
        mean, std = clipped.mean(axis=1), clipped.std(axis=1)
        # A constant channel says nothing; it must not divide by zero either.
        std = np.where(std > 0, std, 1.0)
        low_, high_, mean_, std_ = (tuple(v.tolist()) for v in (low, high, mean, std))
        return cls(shown, mean_, std_, low_, high_, typical, tiles=len(index))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the inputs, in order: bands, then indices."""
        return self.shown.names

    @property
    def bands(self) -> tuple[str, ...]:
        """All bands of the sensor, shown or not."""
        return self.shown.bands

    def prepare(self, tiles: TileSet) -> TileSet:
        """Tiles whose light and elevation are relative to what the inputs are relative to.

        Windows are cut from such tiles. Costs one pass over all of them the first time, and
        nothing once they are prepared.
        """
        return tiles.prepared(self.shown.level, relief=self.shown.relief)

    def inputs(self, tiles: TileSet, index: torch.Tensor) -> torch.Tensor:
        """Inputs of whole tiles at `index`, float32 (n, channel, y, x)."""
        tiles = self.prepare(tiles)
        return self.apply(tiles.units(index), middle=tiles.middle_of(index))

    def apply(
        self,
        units: torch.Tensor,
        gain: torch.Tensor | None = None,
        middle: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Make inputs of units.

        Parameters
        ----------
        units : float32 Tensor, shape (n, band, y, x)
            As `TileSet.units` or `l4s_ensemble.unet.windows.cut` give them for tiles that
            `prepare` returned.
        gain : Tensor, shape (n, band), optional
            Factors of the augmentation.
        middle : Tensor, shape (n, band), optional
            `TileSet.middle_of` the same tiles.

        Returns
        -------
        float32 Tensor, shape (n, channel, y, x)
        """
        low, high, mean, std, typical = _constants(self, units.device)
        x = self.shown.make(units, gain, typical if middle is None else middle)
        x = x - mean if low is None or high is None else x.clamp(low, high).sub_(mean)
        return x.div_(std)

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
        values = {k: getattr(self, k) for k in _STATISTICS}
        kept = {k: None if v is None else list(v) for k, v in values.items()}
        return {
            "channels": list(self.channels),
            "shown": self.shown.as_dict(),
            **kept,
            "tiles": self.tiles,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Normalisation:
        """Read what `as_dict` gave."""
        kept = {k: None if value[k] is None else tuple(value[k]) for k in _STATISTICS}
        shown = Channels.from_dict(value["shown"])
        return cls(shown, **kept, tiles=int(value["tiles"]))  # type: ignore[arg-type]


_STATISTICS = ("mean", "std", "low", "high", "typical")


@lru_cache(maxsize=64)
def _constants(of: Normalisation, device: torch.device) -> tuple[torch.Tensor | None, ...]:
    """Low, high, mean, std as planes, and typical as (1, band).

    Kept, because every copy of a constant to a GPU waits for it. Not as inference tensors: who
    asks for gradients of inputs may come later.
    """
    with torch.inference_mode(False):
        return tuple(
            None
            if values is None
            else torch.tensor(values, dtype=torch.float32, device=device).reshape(shape)
            for values, shape in (
                (of.low, (-1, 1, 1)),
                (of.high, (-1, 1, 1)),
                (of.mean, (-1, 1, 1)),
                (of.std, (-1, 1, 1)),
                (of.typical, (1, -1)),
            )
        )


def _sparse(tiles: TileSet, index: torch.Tensor, step: int) -> torch.Tensor:
    """Units of every step-th pixel of some tiles, (n, band, y / step, x / step)."""
    return tiles.units(index, tiles.counts[index][..., step // 2 :: step, step // 2 :: step])


def _middles(tiles: TileSet) -> torch.Tensor:
    """Median of each tile, or of its scene where that is the level, (tile, band), in units."""
    every = torch.split(torch.arange(len(tiles), device=tiles.counts.device), _BLOCK)
    parts = [_sparse(tiles, i, MIDDLE_STEP_PX).flatten(2).median(dim=2).values for i in every]
    out = torch.cat(parts) if parts else torch.zeros_like(tiles.scale)
    if tiles.level == "scene" and tiles.scene is not None:
        for scene in np.unique(tiles.scene[tiles.scene >= 0]):
            of = torch.from_numpy(np.flatnonzero(tiles.scene == scene)).to(out.device)
            out[of] = out[of].median(dim=0).values
    return out


def _usable(middle: torch.Tensor, spectral: NDArray[np.bool_]) -> torch.Tensor:
    """Middles to divide by: 1 for bands that are no light, and for black tiles."""
    light = torch.from_numpy(spectral).to(middle.device)
    return torch.where(light & (middle > 0), middle, 1.0)


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
