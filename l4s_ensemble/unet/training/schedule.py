"""Learning rate by step, and the optimiser that follows it."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.training.muon import Muon, by_decay

WARM_UP = 0.3
"""Share of the steps in which the learning rate rises."""

LR_START, LR_END = 0.04, 0.001
"""Learning rate of the first and the last step, as shares of the peak."""


def learning_rate(
    step: int, steps: int, peak: float, kind: Literal["one_cycle", "constant"] = "one_cycle"
) -> float:
    """Learning rate of a step, from 0: a pure function of its number, so there is no state to lose.

    ``one_cycle`` is half a cosine up to the peak and half a cosine down, after Smith and Topin
    2017, https://arxiv.org/abs/1708.07120; ``constant`` is always the peak.
    """
    if kind == "constant":
        return peak
    top = max(1.0, WARM_UP * steps)
    if step < top:
        low, share = LR_START, step / top
    else:
        low, share = LR_END, 1 - (step - top) / max(1.0, steps - 1 - top)
    return peak * (low + (1 - low) * 0.5 * (1 - math.cos(math.pi * share)))


def optimiser_of(network: nn.Module, config: UNetConfig) -> torch.optim.Optimizer:
    """Optimiser of a network; on a GPU its rate is a tensor there, which a captured step follows.

    ``adamw`` pulls weights towards 0 apart from the gradient (Loshchilov and Hutter 2019,
    https://arxiv.org/abs/1711.05101); norms and biases do not decay. ``adam`` is the official
    baseline's: its decay is part of the gradient (L2), and every value decays.
    ``muon``: see `Muon`.
    """
    parameters = list(network.parameters())
    device = parameters[0].device
    more: dict[str, Any] = {"lr": config.lr, "fused": True}
    if device.type == "cuda":
        more |= {"lr": torch.tensor(config.lr, device=device), "capturable": True}
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, weight_decay=config.weight_decay, **more)
    if config.optimiser == "muon":
        return Muon(parameters, weight_decay=config.weight_decay, **more)
    return torch.optim.AdamW(by_decay(parameters, config.weight_decay), **more)


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def restore(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state, from whatever device; what the device decides stays as it is."""
    own = [{k: group[k] for k in _OF_DEVICE} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, kept in zip(optimiser.param_groups, own, strict=True):
        group.update(kept)


_OF_DEVICE = ("lr", "capturable", "fused", "foreach")
"""Settings of an optimiser that follow its device; the rate is set at every step."""
