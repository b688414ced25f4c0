"""The official network of Landslide4Sense, parameter for parameter.

The U-Net of the competition's baseline (Ghorbanzadeh et al. 2022,
https://doi.org/10.1109/JSTARS.2022.3220845; https://github.com/iarai/Landslide4Sense-2022): widths
64-128-256-512-512, two biased 3x3 convolutions with batch norm a level, bilinear upsampling with
aligned corners, two outputs. Names of modules are those of the released weights, so that these load
strictly; the first weights are torch's defaults, as there.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from l4s_ensemble.errors import ModelError
from l4s_ensemble.unet.networks.upsampling import twice
from l4s_ensemble.unet.networks.weights import read_state

BANDS = 14
"""Input channels of the released weights."""

WIDTHS = (64, 128, 256, 512, 512)
"""Channels by level, the full-resolution level first."""


class DoubleConv(nn.Module):
    """Twice: 3x3 convolution with bias, batch norm, ReLU."""

    def __init__(self, inside: int, outside: int, middle: int | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((inside, middle or outside, outside)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inside, y, x) -> (n, outside, y, x)."""
        return self.double_conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Twice the resolution, joined with what was there on the way down, then `DoubleConv`."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inside, outside, inside // 2)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(n, a, y, x) and (n, b, Y, X) -> (n, outside, Y, X), a + b = inside."""
        x = twice(x, align_corners=True)
        rows, columns = (skip.shape[d] - x.shape[d] for d in (-2, -1))
        if rows or columns:  # an odd size was halved on the way down
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return self.conv(torch.cat([skip, x], dim=1))  # type: ignore[no-any-return]


def _down(inside: int, outside: int) -> nn.Module:
    """(n, inside, y, x) -> (n, outside, y // 2, x // 2): the maximum, then `DoubleConv`."""
    return _named("maxpool_conv", nn.Sequential(nn.MaxPool2d(2), DoubleConv(inside, outside)))


def _named(name: str, module: nn.Module) -> nn.Module:
    """A module inside another one, by that name in the released weights."""
    return nn.Sequential(OrderedDict([(name, module)]))


class OfficialUNet(nn.Module):
    """The baseline network; 17,273,794 parameters for 14 bands.

    Parameters
    ----------
    bands : int
        Input channels.
    """

    def __init__(self, bands: int = BANDS) -> None:
        super().__init__()
        w = WIDTHS
        self.inc = DoubleConv(bands, w[0])
        self.down1 = _down(w[0], w[1])
        self.down2 = _down(w[1], w[2])
        self.down3 = _down(w[2], w[3])
        self.down4 = _down(w[3], w[4])
        self.up1 = Up(w[4] + w[3], w[2])
        self.up2 = Up(w[2] + w[2], w[1])
        self.up3 = Up(w[1] + w[1], w[0])
        self.up4 = Up(w[0] + w[0], w[0])
        self.outc = _named("conv", nn.Conv2d(w[0], 2, 1))  # no landslide, landslide

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised bands (n, band, y, x) -> logits (n, 1, y, x); any size >= 16.

        The logit is the second output minus the first: its sigmoid is the softmax of the two, its
        sign is their argmax, and binary cross-entropy on it is their softmax cross-entropy.
        """
        raw = self.outputs(x)
        return raw[:, 1:] - raw[:, :1]

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """The two outputs before softmax, (n, 2, y, x): no landslide, landslide."""
        skips = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, skips.pop())
        return self.outc(x)  # type: ignore[no-any-return]


def load_official(path: Path, bands: int = BANDS) -> OfficialUNet:
    """Read released weights: a state dict in a ``.pth`` file, see `read_state`.

    The network, in evaluation mode, expects the inputs of the official loader
    (``unet.standard=official``).

    Raises
    ------
    ModelError
        If the file cannot be read, holds anything but a state dict, or does not fit the network.
    """
    network = OfficialUNet(bands)
    try:
        network.load_state_dict(read_state(path))
    except RuntimeError as error:
        raise ModelError(
            "the weights are not those of the official network",
            where=path,
            found=error,
            allowed=f"all of its weights and no others, {bands} bands",
        ) from None
    return network.eval()
