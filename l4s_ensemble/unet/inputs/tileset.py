"""Tiles in memory: uint16 counts of the store, 2 bytes a value, on the device.

What a set of tiles is shown relative to (its own median, that of its scene) is settled here, so
that windows over several tiles and whole tiles agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
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

    from l4s_ensemble.scenes.surroundings import Surroundings

MIDDLE_STEP_PX = 2
"""Medians of a tile look at every second row and column."""

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

    @property
    def light(self) -> torch.Tensor:
        """`spectral` on the device, bool (band,)."""
        return _light(tuple(self.spectral.tolist()), self.counts.device)

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
            out = replace(out, middle=usable(_middles(out), self.spectral))
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
            scale = torch.where(self.light, scale * self.own[index][:, None], scale)
        out = plain(raw)
        # In place where that is safe: new memory costs more than the arithmetic.
        out = out * _plane(scale) if out is raw else out.mul_(_plane(scale))
        return out.sub_(_plane(self.centre[index]))

    def middle_of(self, index: torch.Tensor) -> torch.Tensor | None:
        """What light of some tiles is divided by, (n, band); None where the level is kept."""
        return None if self.middle is None else self.middle[index]


def plain(counts: torch.Tensor) -> torch.Tensor:
    """Counts as float32: int16 holds the bits of uint16, so -1 stands for 65535."""
    if counts.dtype == torch.float32:
        return counts
    return counts.to(torch.int32).bitwise_and_(0xFFFF).float()


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
    for start in range(0, len(where), BLOCK_TILES):
        part = slice(start, start + BLOCK_TILES)
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


def sparse(tiles: TileSet, index: torch.Tensor, step: int) -> torch.Tensor:
    """Units of every step-th pixel of some tiles, (n, band, y / step, x / step)."""
    return tiles.units(index, tiles.counts[index][..., step // 2 :: step, step // 2 :: step])


def _middles(tiles: TileSet) -> torch.Tensor:
    """Median of each tile, or of its scene where that is the level, (tile, band), in units."""
    every = torch.split(torch.arange(len(tiles), device=tiles.counts.device), BLOCK_TILES)
    parts = [sparse(tiles, i, MIDDLE_STEP_PX).flatten(2).median(dim=2).values for i in every]
    out = torch.cat(parts) if parts else torch.zeros_like(tiles.scale)
    if tiles.level == "scene" and tiles.scene is not None:
        for scene in np.unique(tiles.scene[tiles.scene >= 0]):
            of = torch.from_numpy(np.flatnonzero(tiles.scene == scene)).to(out.device)
            out[of] = out[of].median(dim=0).values
    return out


def usable(middle: torch.Tensor, spectral: NDArray[np.bool_]) -> torch.Tensor:
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


def sent(values: torch.Tensor | NDArray[Any], device: torch.device) -> torch.Tensor:
    """Values on a device. A GPU takes them when it comes to it: whoever sends does not wait.

    From memory that is not pinned each copy to a GPU waits for all that was launched before it.
    """
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(values)
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@lru_cache(maxsize=16)
def _light(spectral: tuple[bool, ...], device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.tensor(spectral, device=device)
