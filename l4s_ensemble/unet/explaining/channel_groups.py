"""Channels that belong together: what is hidden from a network, or explained, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from l4s_ensemble.data.sensor import Sensor

_LIGHT = (
    ("visible", ("B2", "B3", "B4")),
    ("red edge", ("B5", "B6", "B7")),
    ("near infrared", ("B8", "B8A")),
    ("short-wave infrared", ("B11", "B12")),
    ("aerosol, vapour, cirrus", ("B1", "B9", "B10")),
)

_GROUND = {"slope": "slope", "dem": "elevation"}

ALL_LIGHT = "all light together"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels with a name.

    Attributes
    ----------
    name : str
    at : tuple of int
        Positions among the network's channels.
    whole : bool
        Whether it holds other groups, as all light together does.
    """

    name: str
    at: tuple[int, ...]
    whole: bool = False


def channel_groups(
    channels: Sequence[str], sensor: Sensor, *, whole: bool = True
) -> tuple[ChannelGroup, ...]:
    """Group the channels of a network; every channel is in one group, and light in one more.

    Light is grouped by wavelength. Where all light is visible, each band is a group. What is no
    band (a normalised difference of two) is in the group of indices.

    Parameters
    ----------
    channels : sequence of str
        As `l4s_ensemble.unet.inputs.normalisation.Normalisation.channels` gives them.
    sensor : Sensor
        Of the tiles.
    whole : bool
        Whether to add all light together.
    """
    found: dict[str, list[int]] = {}
    of_band = {band: name for name, bands in _LIGHT for band in bands}
    bands = [c for c in channels if c in sensor.spectral]
    spread = {of_band.get(b, b) for b in bands}
    light = []
    for i, channel in enumerate(channels):
        if channel in sensor.spectral:
            name = of_band.get(channel, channel) if len(spread) > 1 else channel
            light.append(i)
        elif channel in sensor.band_names:
            name = _GROUND.get(channel, channel)
        else:
            name = "indices"
            light.append(i)
        found.setdefault(name, []).append(i)
    groups = [ChannelGroup(name, tuple(at)) for name, at in found.items()]
    if whole and len([g for g in groups if g.at[0] in light]) > 1:
        groups.append(ChannelGroup(ALL_LIGHT, tuple(light), whole=True))
    return tuple(groups)
