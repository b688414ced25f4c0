"""Networks by name. Every one takes standardised bands and gives one logit a pixel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from l4s_ensemble.errors import ConfigError

LANDSLIDE_PRIOR = 0.05
"""Probability that a fresh network gives everywhere; starts the loss near its plateau."""


class ConvNorm(nn.Module):
    """Convolution without bias, norm, and optionally ReLU."""

    def __init__(
        self, inside: int, outside: int, kernel: int, norm: str, *, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
        self.norm = _norm(norm, outside)
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inside, y, x) -> (n, outside, y, x)."""
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self.active else x


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, inside: int, outside: int, norm: str) -> None:
        super().__init__()
        self.first = ConvNorm(inside, outside, 3, norm)
        self.second = ConvNorm(outside, outside, 3, norm, active=False)
        self.shortcut = (
            nn.Identity() if inside == outside else ConvNorm(inside, outside, 1, norm, active=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inside, y, x) -> (n, outside, y, x)."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


class UNet(nn.Module):
    """A U-Net whose first stage keeps full resolution, thin where pixels are many.

    After Ronneberger et al. 2015 (https://arxiv.org/abs/1505.04597), with residual blocks. The
    full-resolution stage is one convolution on the way down and one on the way up: small slides
    stay sharp, and most of the arithmetic happens at half resolution and below, where a pixel
    sees more for less.

    Parameters
    ----------
    bands : int
        Input channels.
    width : int
        Channels at full resolution; doubled from level to level.
    depth : int
        Resolution levels, the first included. Each halves the resolution.
    norm : {'batch', 'group'}
        Group norm does not mix the tiles of a batch.
    """

    def __init__(self, bands: int, width: int = 16, depth: int = 5, norm: str = "batch") -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        steps = list(itertools.pairwise(widths))
        self.stem = ConvNorm(bands, width, 3, norm)
        self.down = nn.ModuleList(Residual(a, b, norm) for a, b in steps)
        self.reduce = nn.ModuleList(ConvNorm(b, a, 1, norm) for a, b in steps)
        self.up = nn.ModuleList(
            ConvNorm(2 * a, a, 3, norm) if level == 0 else Residual(2 * a, a, norm)
            for level, a in enumerate(widths[:-1])
        )
        self.head = nn.Conv2d(width, 1, 1)
        self._initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised bands (n, band, y, x) -> logits (n, 1, y, x); any size >= 2**(depth-1)."""
        x = self.stem(x)
        skips = [x]
        for block in self.down:
            x = block(F.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(self.up))):
            skip = skips.pop()
            x = self.reduce[level](x)
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = self.up[level](torch.cat([x, skip], dim=1))
        return self.head(x)  # type: ignore[no-any-return]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, Residual):
                # A block starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677).
                nn.init.zeros_(module.second.norm.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        odds = torch.tensor(LANDSLIDE_PRIOR / (1 - LANDSLIDE_PRIOR))
        nn.init.constant_(self.head.bias, float(odds.log()))  # type: ignore[arg-type]


NETWORKS: dict[str, Callable[..., nn.Module]] = {"unet": UNet}
"""Constructors by name; each takes ``bands`` and its own settings."""


def build(name: str, bands: int, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Make a network with seeded weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    bands : int
        Input channels.
    seed : int
        Seed of the first weights; the global generator of torch is left as it was.
    **settings
        Arguments of the network, for example ``width`` and ``depth``. With them, the name and the
        bands, a saved network can be built again.

    Raises
    ------
    ConfigError
        If there is no such network or it does not take these settings.
    """
    if name not in NETWORKS:
        raise ConfigError(
            "no network of that name", where="unet.network", found=name, allowed=sorted(NETWORKS)
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return NETWORKS[name](bands, **settings)
        except TypeError as error:
            raise ConfigError(
                "the network does not take these settings", where=name, found=error
            ) from None


def count_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in network.parameters())


def _norm(kind: str, channels: int) -> nn.BatchNorm2d | nn.GroupNorm:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    raise ConfigError("no such norm", where="unet.norm", found=kind, allowed="batch, group")
