"""From counts in memory to what the network sees.

A batch of tiles is normalised when it is used: counts -> units -> channels -> clip -> standardise.
The statistics come from the training tiles of one fold and are saved with its model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import ModelError
from l4s_ensemble.unet.inputs.channels import Channels, official_statistics
from l4s_ensemble.unet.inputs.tileset import BLOCK_TILES, TileSet, load

__all__ = ["Normalisation", "TileSet", "load"]

CLIP_PERCENT = 0.1
"""Values below this percentile or above 100 - this are clipped."""

SAMPLE_STEP_PX = 8
"""Statistics look at every 8th row and column: 256 pixels a tile are plenty."""


@dataclass(frozen=True)
class Normalisation:
    """How units become inputs, learned from training tiles.

    ``input = (clip(channel, low, high) - mean) / std``, see
    `l4s_ensemble.unet.inputs.channels` for what the channels are.

    Attributes
    ----------
    shown : Channels
    mean, std : tuple of float
        Of the clipped values, one a channel.
    low, high : tuple of float, or None
        Percentiles of the channel; None where nothing is clipped.
    tiles : int
        Number of tiles they come from; 0 for published constants.
    """

    shown: Channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
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
        index = torch.as_tensor(np.asarray(positions, np.int64), device=tiles.counts.device)
        every = slice(SAMPLE_STEP_PX // 2, None, SAMPLE_STEP_PX)
        units = torch.cat(
            [
                tiles.units(i, tiles.counts[i][..., every, every])
                for i in torch.split(index, BLOCK_TILES)
            ]
        )
        channels = shown.make(units)
        sample = channels.transpose(0, 1).flatten(1).cpu().numpy().astype(np.float64)
        low, high = np.percentile(sample, [CLIP_PERCENT, 100 - CLIP_PERCENT], axis=1)
        clipped = np.clip(sample, low[:, None], high[:, None])
        mean, std = clipped.mean(axis=1), clipped.std(axis=1)
        # A constant channel says nothing; it must not divide by zero either.
        std = np.where(std > 0, std, 1.0)
        low_, high_, mean_, std_ = (tuple(v.tolist()) for v in (low, high, mean, std))
        return cls(shown, mean_, std_, low_, high_, tiles=len(index))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return self.shown.shown

    @property
    def bands(self) -> tuple[str, ...]:
        """All bands of the sensor, shown or not."""
        return self.shown.bands

    def prepare(self, tiles: TileSet) -> TileSet:
        """Tiles whose elevation is relative to what the inputs are relative to."""
        if self.shown.relief:
            return tiles
        return replace(tiles, centre=torch.zeros_like(tiles.centre))

    def inputs(self, tiles: TileSet, index: torch.Tensor) -> torch.Tensor:
        """Inputs of the tiles at `index`, float32 (n, channel, y, x)."""
        return self.apply(self.prepare(tiles).units(index))

    def apply(self, units: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
        """Make inputs of units.

        Parameters
        ----------
        units : float32 Tensor, shape (n, band, y, x)
            As `TileSet.units` gives them for tiles that `prepare` returned.
        gain : Tensor, shape (n, band), optional
            Factors of the augmentation.

        Returns
        -------
        float32 Tensor, shape (n, channel, y, x)
        """
        known = _constants(self, units.device)
        x = self.shown.make(units, gain)
        if x is units:
            x = x.clone()  # not ours to change
        if self.low is not None:
            x = x.clamp_(known["low"], known["high"])
        return x.sub_(known["mean"]).div_(known["std"])

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
        return {"shown": self.shown.as_dict(), **kept, "tiles": self.tiles}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Normalisation:
        """Read what `as_dict` gave."""
        kept = {k: None if value[k] is None else tuple(value[k]) for k in _STATISTICS}
        shown = Channels.from_dict(value["shown"])
        return cls(shown, **kept, tiles=int(value["tiles"]))  # type: ignore[arg-type]


_STATISTICS = ("mean", "std", "low", "high")


@lru_cache(maxsize=64)
def _constants(of: Normalisation, device: torch.device) -> dict[str, Any]:
    """`_STATISTICS` as tensors (channel, 1, 1) or None. Kept: every copy to a GPU waits for it."""
    values = {k: getattr(of, k) for k in _STATISTICS}
    with torch.inference_mode(False):  # training may use them after scoring
        return {
            k: v and torch.tensor(v, dtype=torch.float32, device=device)[:, None, None]
            for k, v in values.items()
        }
