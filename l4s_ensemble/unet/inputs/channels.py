"""Which channels a network is shown, and how they are made of units.

Clipping and standardising are left to `l4s_ensemble.unet.inputs.normalisation`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.bands import L4S_BANDS
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.errors import ConfigError

LOG_BANDS = ("B10",)
"""Heavy-tailed bands: log(1 + x) tames them. Cirrus has p99 24 and maximum 50 as stored."""

RELIEF_BANDS = ("dem",)
"""Bands of which only the difference to the tile's median is shown: height alone is no slide."""

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


@dataclass(frozen=True)
class Channels:
    """What a network is shown of the bands of a sensor.

    Attributes
    ----------
    bands : tuple of str
        All bands of the sensor, in the order of the file.
    shown : tuple of str
        Bands shown, in order.
    standard : {'fit', 'official'}
    """

    bands: tuple[str, ...]
    shown: tuple[str, ...]
    standard: str = "fit"

    @classmethod
    def choose(cls, sensor: Sensor, config: UNetConfig) -> Channels:
        """Channels of a sensor that the settings ask for.

        Raises
        ------
        ConfigError
            If a band is not known, or named twice, none is left, or the published constants are
            asked for where they say nothing.
        """
        bands = sensor.band_names
        shown = bands if config.bands is None else config.bands
        if not shown or not set(shown) <= set(bands) or len(set(shown)) < len(shown):
            raise ConfigError(
                f"not some bands of the sensor {sensor.name}, each named once", where="unet.bands",
                found=", ".join(shown) or "no band", allowed=", ".join(bands),
            )  # fmt: skip
        chosen = cls(bands, shown, config.standard)
        if config.standard == "official":
            _require_official(sensor, config)
        return chosen

    @property
    def relief(self) -> bool:
        """Whether elevation is shown about the tile's median."""
        return self.standard == "fit"

    def make(self, units: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
        """Channels of units, before they are clipped and standardised.

        Parameters
        ----------
        units : float32 Tensor, shape (n, band, y, x)
        gain : Tensor, shape (n, band), optional
            Factors of the augmentation.

        Returns
        -------
        float32 Tensor, shape (n, channel, y, x)
            New, or the units themselves where nothing is to be done.
        """
        x, fresh = units, False
        if self.shown != self.bands:
            x, fresh = units[:, self._shown_at], True
            gain = None if gain is None else gain[:, self._shown_at]
        if gain is not None:
            x, fresh = x * gain[:, :, None, None], True
        if self._tamed:
            x = x if fresh else x.clone()
            for c in self._tamed:
                x[:, c].clamp_min_(0).log1p_()
        return x

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Channels:
        """Read what `as_dict` gave."""
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**kept)

    @cached_property
    def _shown_at(self) -> list[int]:
        return [self.bands.index(b) for b in self.shown]

    @cached_property
    def _tamed(self) -> list[int]:
        fit = self.standard == "fit"
        return [c for c, b in enumerate(self.shown) if fit and b in LOG_BANDS]


def _require_official(sensor: Sensor, config: UNetConfig) -> None:
    """The published constants are those of the stored values of the released files."""
    where = "unet.standard=official"
    if sensor.bands != L4S.bands:
        raise ConfigError(
            "the published mean and deviation are those of the released files", where=where,
            found=f"{sensor.name}: {', '.join(sensor.band_names)}",
            allowed=f"{L4S.name}: {', '.join(L4S.band_names)}", fix="set unet.standard=fit",
        )  # fmt: skip
    if config.bands is not None:
        raise ConfigError(
            "the published mean and deviation are those of all 14 bands, as stored",
            where=f"unet.bands, with {where}", found=config.bands,
            fix="leave unet.bands out, or set unet.standard=fit",
        )  # fmt: skip


def official_statistics() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Published mean and deviation of the 14 bands, in units."""
    mean = tuple(OFFICIAL_MEAN[b.name] * b.divisor for b in L4S_BANDS)
    return mean, tuple(OFFICIAL_STD[b.name] * b.divisor for b in L4S_BANDS)
