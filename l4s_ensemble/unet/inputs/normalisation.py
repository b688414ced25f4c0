"""Normalisation of counts to network inputs.

Tiles are normalised when they are used: counts -> units -> channels -> clip -> standardise. The
statistics come from the training tiles and are saved with the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.config import Section, UNetConfig
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.hardware import LAYOUT
from l4s_ensemble.unet.inputs.tileset import BLOCK_TILES, TileSet, sent

LOG_BANDS = ("B10",)
"""Heavy-tailed bands: log(1 + x) tames them. Cirrus has p99 24 and maximum 50 as stored."""

CLIP_PERCENT = 0.1
"""Values below this percentile or above 100 - this are clipped."""

SAMPLE_STEP_PX = 8
"""Statistics look at every 8th row and column: 256 pixels a tile are plenty."""

OFFICIAL_MEAN = dict(zip(L4S.band_names, (
    -0.4914, -0.3074, -0.1277, -0.0625, 0.0439, 0.0803, 0.0644,
    0.0802, 0.3000, 0.4082, 0.0823, 0.0516, 0.3338, 0.7819,
), strict=True))  # fmt: skip
"""Published mean of the stored values (units / divisor), by band.

From the data loader of the official baseline, https://github.com/iarai/Landslide4Sense-2022. They
do not describe the released files; they are here to repeat what the baseline does.
"""

OFFICIAL_STD = dict(zip(L4S.band_names, (
    0.9325, 0.8775, 0.8860, 0.8869, 0.8857, 0.8418, 0.8354,
    0.8491, 0.9061, 1.6072, 0.8848, 0.9232, 0.9018, 1.2913,
), strict=True))  # fmt: skip
"""Published deviation of the stored values, by band."""

Values = tuple[float, ...]


class Normalisation(Section):
    """How units become inputs: ``(clip(channel, low, high) - mean) / std``.

    A channel is a band in units: elevation relative to the tile's median, the logarithm of
    `LOG_BANDS`. By published constants (``official``) all bands are shown as they are.

    Attributes
    ----------
    bands : tuple of str
        All bands of the sensor, in the order of the file.
    channels : tuple of str
        Bands that are shown, in order.
    standard : {'fit', 'official'}
    mean, std : tuple of float
        Of the clipped values, one a channel.
    low, high : tuple of float, or None
        Percentiles of the channel; None where nothing is clipped.
    tiles : int
        Number of tiles they come from; 0 for published constants.
    """

    bands: tuple[str, ...]
    channels: tuple[str, ...]
    standard: Literal["fit", "official"] = "fit"
    mean: Values
    std: Values
    low: Values | None = None
    high: Values | None = None
    tiles: int = 0

    @classmethod
    def fit(cls, tiles: TileSet, config: UNetConfig) -> Normalisation:
        """Learn the statistics of training tiles.

        Raises
        ------
        ConfigError
            If the settings ask for channels that the sensor does not have, or for the published
            constants where they say nothing.
        """
        bands, channels = tiles.sensor.band_names, channels_of(tiles.sensor, config)
        if config.standard == "official":
            mean, std = (
                tuple(table[b.name] * b.stored_to_count for b in L4S.bands)
                for table in (OFFICIAL_MEAN, OFFICIAL_STD)
            )
            return cls(bands=bands, channels=channels, standard="official", mean=mean, std=std)
        each = len(channels)
        plain = cls(bands=bands, channels=channels, mean=(0.0,) * each, std=(1.0,) * each)
        every = slice(SAMPLE_STEP_PX // 2, None, SAMPLE_STEP_PX)
        parts = torch.split(torch.arange(len(tiles), device=tiles.counts.device), BLOCK_TILES)
        thinned = (tiles.units(i, tiles.counts[i][..., every, every]) for i in parts)
        sample = plain.apply(torch.cat(list(thinned))).transpose(0, 1).flatten(1)
        values = sample.cpu().numpy().astype(np.float64)
        low, high = np.percentile(values, [CLIP_PERCENT, 100 - CLIP_PERCENT], axis=1)
        clipped = np.clip(values, low[:, None], high[:, None])
        deviation = clipped.std(axis=1)
        return plain.model_copy(
            update={
                "mean": tuple(clipped.mean(axis=1).tolist()),
                # A constant channel says nothing; it must not divide by zero either.
                "std": tuple(np.where(deviation > 0, deviation, 1.0).tolist()),
                "low": tuple(low.tolist()),
                "high": tuple(high.tolist()),
                "tiles": len(tiles),
            }
        )

    def inputs(
        self,
        tiles: TileSet,
        index: torch.Tensor,
        counts: torch.Tensor | None = None,
        gain: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Inputs of the tiles at `index`, float32 (n, channel, y, x).

        Augmentation gives their counts (n, band, y, x), turned, and gains (n, band).
        """
        return self.apply(tiles.units(index, counts, relief=self.standard == "fit"), gain)

    def apply(self, units: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
        """Make inputs of units (n, band, y, x), which may be overwritten: see `inputs`."""
        known, x = _constants(self, units.device), units
        if self.channels != self.bands:
            shown = [self.bands.index(c) for c in self.channels]
            x, gain = units[:, shown], None if gain is None else gain[:, shown]
        if gain is not None:
            x.mul_(gain[:, :, None, None])
        for c, name in enumerate(self.channels):
            if self.standard == "fit" and name in LOG_BANDS:
                x[:, c].clamp_min_(0).log1p_()
        if self.low is not None:
            x.clamp_(known["low"], known["high"])
        return x.sub_(known["mean"]).div_(known["std"])


def channels_of(sensor: Sensor, config: UNetConfig) -> tuple[str, ...]:
    """Bands that a network is shown.

    Raises
    ------
    ConfigError
        If a band is not known, or named twice, none is left, or the published constants are asked
        for where they say nothing: they are those of the stored values of the released files.
    """
    bands, where = sensor.band_names, "unet.standard=official"
    channels = bands if config.bands is None else config.bands
    if not channels or not set(channels) <= set(bands) or len(set(channels)) < len(channels):
        raise ConfigError(
            f"not some bands of the sensor {sensor.name}, each named once",
            where="unet.bands",
            found=", ".join(channels) or "no band",
            allowed=", ".join(bands),
        )
    if config.standard == "official" and sensor.bands != L4S.bands:
        raise ConfigError(
            "the published mean and deviation are those of the released files",
            where=where,
            found=f"{sensor.name}: {', '.join(bands)}",
            allowed=f"{L4S.name}: {', '.join(L4S.band_names)}",
            fix="set unet.standard=fit",
        )
    if config.standard == "official" and config.bands is not None:
        raise ConfigError(
            "the published mean and deviation are those of all 14 bands, as stored",
            where=f"unet.bands, with {where}",
            found=config.bands,
            fix="leave unet.bands out, or set unet.standard=fit",
        )
    return channels


def plain_batches(
    tiles: TileSet, normalisation: Normalisation, *, most: int, batch: int
) -> Iterator[torch.Tensor]:
    """Inputs, not augmented, of up to `most` tiles, evenly spread, in the networks' layout.

    Batches are of equal size, so that statistics are the mean of theirs.
    """
    batch = min(batch, len(tiles))
    count = min(most, len(tiles)) // batch
    for where in np.split(spread(len(tiles), count * batch), count):
        x = normalisation.inputs(tiles, sent(where, tiles.counts.device))
        yield x.contiguous(memory_format=LAYOUT)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Up to `most` positions of `count`, evenly spread."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)


@lru_cache(maxsize=64)
def _constants(of: Normalisation, device: torch.device) -> dict[str, Any]:
    """Statistics as tensors (channel, 1, 1), or None. Kept: every copy to a GPU waits for it."""
    values = {k: getattr(of, k) for k in ("mean", "std", "low", "high")}
    with torch.inference_mode(False):  # training may use them after scoring
        return {
            k: v and torch.tensor(v, dtype=torch.float32, device=device)[:, None, None]
            for k, v in values.items()
        }
