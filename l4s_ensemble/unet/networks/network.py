"""Networks by name. Every one takes standardised channels and gives one logit a pixel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.networks.encoders import SMP, EncoderNetwork
from l4s_ensemble.unet.networks.official import OfficialUNet, load_official
from l4s_ensemble.unet.networks.upsampling import twice
from l4s_ensemble.unet.networks.weights import load_pretrained

LANDSLIDE_PRIOR = 0.05
"""Probability that a fresh network gives everywhere; starts the loss near its plateau."""


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, and optionally ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int, *, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outside)
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inside, y, x) -> (n, outside, y, x)."""
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self.active else x


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first = ConvNorm(inside, outside, 3)
        self.second = ConvNorm(outside, outside, 3, active=False)
        self.shortcut = (
            nn.Identity() if inside == outside else ConvNorm(inside, outside, 1, active=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inside, y, x) -> (n, outside, y, x)."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


class UNet(nn.Module):
    """A U-Net whose first stage keeps full resolution, thin where pixels are many.

    After Ronneberger et al. 2015 (https://arxiv.org/abs/1505.04597), with residual blocks. The
    full-resolution stage is one convolution on the way down and one on the way up: small
    landslides stay sharp, and most of the arithmetic happens at half resolution and below, where a
    pixel sees more for less.

    Parameters
    ----------
    bands : int
        Input channels.
    width : int
        Channels at full resolution; doubled from level to level.
    depth : int
        Resolution levels, the first included. Each halves the resolution.
    """

    def __init__(self, bands: int, width: int = 16, depth: int = 5) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        steps = list(itertools.pairwise(widths))
        self.stem = ConvNorm(bands, width, 3)
        self.down = nn.ModuleList(Residual(a, b) for a, b in steps)
        self.reduce = nn.ModuleList(ConvNorm(b, a, 1) for a, b in steps)
        self.up = nn.ModuleList(
            ConvNorm(2 * a, a, 3) if level == 0 else Residual(2 * a, a)
            for level, a in enumerate(widths[:-1])
        )
        self.head = nn.Conv2d(width, 1, 1)
        self._initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised channels (n, channel, y, x) -> logits (n, 1, y, x), size >= 2**(depth-1)."""
        x = self.stem(x)
        skips = [x]
        for block in self.down:
            x = block(F.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(self.up))):
            skip = skips.pop()
            x = _upsampled(self.reduce[level](x), skip.shape[-2:])
            x = self.up[level](torch.cat([x, skip], dim=1))
        return self.head(x)  # type: ignore[no-any-return]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, Residual):
                # A block starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677).
                nn.init.zeros_(module.second.norm.weight)
        # Start with little opinion, at the share of landslides.
        odds = torch.tensor(LANDSLIDE_PRIOR / (1 - LANDSLIDE_PRIOR))
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, float(odds.log()))  # type: ignore[arg-type]


NETWORKS: dict[str, Callable[[UNetConfig, int], nn.Module]] = {
    "baseline": lambda config, bands: OfficialUNet(bands),
    "unet": lambda config, bands: UNet(bands, config.width, config.depth),
}
"""Value of ``unet.network`` to what makes the network, from settings and number of bands.

A network takes float32 ``(patch, band, y, x)`` and gives logits ``(patch, 1, y, x)``.
"""


def build(
    config: UNetConfig, channels: Sequence[str], *, seed: int = 0, pretrained: bool = True
) -> nn.Module:
    """Make the network of the settings with seeded weights.

    Parameters
    ----------
    config : UNetConfig
    channels : sequence of str
        Names of the input channels, such as ``B4``: pretrained filters of a colour go to its band.
    seed : int
        Seed of the first weights; the global generator of torch is left as it was.
    pretrained : bool
        Whether ``config.weights`` are read; a network whose weights are at hand needs none.

    Raises
    ------
    ConfigError
        If there is no such network, it does not take weights, or it needs a package that is not
        installed.
    ModelError
        If the weights cannot be had or do not fit.
    """
    name, bands, weights = config.network, len(channels), config.weights if pretrained else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith(SMP):
            network = EncoderNetwork(name, bands)
            if weights is not None:
                load_pretrained(network, weights, channels)
            return network
        if name == "baseline" and weights is not None:
            return load_official(Path(weights), bands).train()
        if name in NETWORKS and weights is None:
            return NETWORKS[name](config, bands)
    if name in NETWORKS:
        raise ConfigError(
            "there are no pretrained weights of this network",
            where="unet.weights",
            found=weights,
            allowed=f"{SMP}<arch>/<encoder>, baseline",
            fix="leave unet.weights out",
        )
    raise ConfigError(
        "no network of that name",
        where="unet.network",
        found=name,
        allowed=", ".join([*NETWORKS, f"{SMP}<arch>/<encoder>"]),
    )


def count_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in network.parameters())


def _upsampled(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(size) == (2 * x.shape[-2], 2 * x.shape[-1]):
        return twice(x, align_corners=False)
    # An odd size was halved on the way down.
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
