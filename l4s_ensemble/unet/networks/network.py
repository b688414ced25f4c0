"""Networks by name. Every one takes standardised channels and gives one logit a pixel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import nn
from torch.nn import functional as F

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.networks.encoders import EncoderNetwork, parse_name
from l4s_ensemble.unet.networks.official import OfficialUNet, load_official
from l4s_ensemble.unet.networks.upsampling import twice
from l4s_ensemble.unet.networks.weights import load_pretrained

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
    deep_levels : int
        Coarser levels that give logits of their own in training (deep supervision, Lee et al. 2015,
        https://arxiv.org/abs/1409.5185), from half resolution on; at most depth - 1. The other
        weights start the same with and without.
    """

    def __init__(
        self,
        bands: int,
        width: int = 16,
        depth: int = 5,
        norm: str = "batch",
        deep_levels: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= deep_levels < depth:
            raise ConfigError(
                "that many levels cannot be supervised", where="unet.deep_supervision",
                found=deep_levels, allowed=f"0 to {depth - 1} at unet.depth={depth}",
            )  # fmt: skip
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
        # After the rest, so that the rest draws the same numbers without them.
        self.deep_heads = nn.ModuleList(nn.Conv2d(w, 1, 1) for w in widths[1 : deep_levels + 1])
        for head in self.deep_heads:
            _initialise_head(head)

    @property
    def deep_levels(self) -> int:
        """Coarser levels that give logits of their own in training."""
        return len(self.deep_heads)

    @overload
    def forward(self, x: torch.Tensor, deep: Literal[False] = False) -> torch.Tensor: ...

    @overload
    def forward(self, x: torch.Tensor, deep: Literal[True]) -> list[torch.Tensor]: ...

    def forward(self, x: torch.Tensor, deep: bool = False) -> torch.Tensor | list[torch.Tensor]:
        """Standardised channels (n, channel, y, x) -> logits (n, 1, y, x).

        Parameters
        ----------
        x : Tensor
            Any size >= 2**(depth-1).
        deep : bool
            Whether to return a list of logits, all (n, 1, y, x): the final ones, then those of the
            coarser levels, brought to full size, from half resolution on.
        """
        size = x.shape[-2:]
        x = self.stem(x)
        skips = [x]
        for block in self.down:
            x = block(F.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        coarse = [x]
        for level in reversed(range(len(self.up))):
            skip = skips.pop()
            x = self.reduce[level](x)
            x = _upsampled(x, skip.shape[-2:])
            x = self.up[level](torch.cat([x, skip], dim=1))
            if deep:
                coarse.append(x)
        if not deep:
            return self.head(x)  # type: ignore[no-any-return]
        # `coarse` goes from the deepest level to full resolution.
        logits = [self.head(coarse[-1])]
        for head, features in zip(self.deep_heads, reversed(coarse[:-1]), strict=False):
            logits.append(_resized(head(features), size))
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, Residual):
                # A block starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677).
                nn.init.zeros_(module.second.norm.weight)
        _initialise_head(self.head)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "baseline": OfficialUNet}
"""Constructors by name; each takes ``bands`` and its own settings.

Besides, ``smp:<arch>/<encoder>`` is `l4s_ensemble.unet.networks.encoders.EncoderNetwork`.
"""

SMP = "smp:"
"""How the names of networks of segmentation-models-pytorch begin."""


def arguments_of(config: UNetConfig, bands: int) -> dict[str, Any]:
    """What `build` wants for the network of the settings, ready for JSON and to be saved with it.

    Seed and first weights are left out: a finished network is built without them.

    Parameters
    ----------
    config : UNetConfig
        Settings that the network does not have (``width`` of the official one) are passed over.
    bands : int
        Input channels.
    """
    arguments: dict[str, Any] = {"name": config.network, "bands": bands}
    if config.network == "unet":
        arguments |= {"width": config.width, "depth": config.depth, "norm": config.norm}
        if config.deep_supervision > 0:
            # Not the bottom of the U, where a slide is a pixel; but it is all there is at depth 2.
            arguments["deep_levels"] = max(1, config.depth - 2)
    elif config.network.startswith(SMP):
        arguments["upsample"] = config.upsample
    return arguments


def build(
    name: str,
    bands: int,
    *,
    seed: int = 0,
    weights: str | None = None,
    channels: Sequence[str] = (),
    **settings: Any,
) -> nn.Module:
    """Make a network with seeded weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, or ``smp:<arch>/<encoder>``.
    bands : int
        Input channels.
    seed : int
        Seed of the first weights; the global generator of torch is left as it was.
    weights : str, optional
        First weights that are not drawn: for ``smp:`` networks the name or file of a pretrained
        encoder, for ``baseline`` a file of the official weights. Not needed to load a finished
        network.
    channels : sequence of str
        Names of the input channels, such as ``B4``: pretrained filters of a colour go to its band.
    **settings
        Arguments of the network, for example ``width`` and ``depth``. With them, the name and the
        bands, a saved network can be built again.

    Raises
    ------
    ConfigError
        If there is no such network, it does not take these settings or weights, or it needs a
        package that is not installed.
    ModelError
        If the weights cannot be had or do not fit.
    """
    make = _constructor(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = make(bands, **settings)
        except TypeError as error:
            raise ConfigError(
                "the network does not take these settings", where=name, found=error
            ) from None
        if weights is None:
            return network
        if name == "baseline":
            return load_official(Path(weights), bands).train()
        if isinstance(network, EncoderNetwork):
            load_pretrained(network, weights, channels)
            return network
    raise ConfigError(
        "there are no pretrained weights of this network", where="unet.weights", found=weights,
        allowed=f"{SMP}<arch>/<encoder>, baseline", fix="leave unet.weights out",
    )  # fmt: skip


def count_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in network.parameters())


def _constructor(name: str) -> Callable[..., nn.Module]:
    if name.startswith(SMP):
        arch, encoder = parse_name(name)
        return partial(EncoderNetwork, arch=arch, encoder=encoder)
    if name not in NETWORKS:
        raise ConfigError(
            "no network of that name", where="unet.network", found=name,
            allowed=f"{', '.join(sorted(NETWORKS))}, {SMP}<arch>/<encoder>",
        )  # fmt: skip
    return NETWORKS[name]


def _initialise_head(head: nn.Module) -> None:
    """Start with little opinion, at the share of landslides."""
    odds = torch.tensor(LANDSLIDE_PRIOR / (1 - LANDSLIDE_PRIOR))
    nn.init.normal_(head.weight, std=0.01)  # type: ignore[arg-type]
    nn.init.constant_(head.bias, float(odds.log()))  # type: ignore[arg-type]


def _upsampled(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(size) == (2 * x.shape[-2], 2 * x.shape[-1]):
        return twice(x, align_corners=False)
    return _resized(x, size)  # an odd size was halved on the way down


def _resized(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _norm(kind: str, channels: int) -> nn.BatchNorm2d | nn.GroupNorm:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    raise ConfigError("no such norm", where="unet.norm", found=kind, allowed="batch, group")
