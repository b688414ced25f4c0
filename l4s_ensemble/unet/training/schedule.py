"""Learning rate by step, and the optimiser that follows it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from l4s_ensemble.config import UNetConfig

WARM_UP = 0.3
"""Share of the steps in which the learning rate rises."""

LR_START, LR_END = 0.04, 0.001
"""Learning rate of the first and the last step, as shares of the peak."""


def learning_rate(
    step: int, steps: int, peak: float, kind: Literal["one_cycle", "constant"] = "one_cycle"
) -> float:
    """Learning rate of a step: a pure function of its number, so there is no state to lose.

    Parameters
    ----------
    step : int
        From 0.
    steps : int
        Of the whole training.
    peak : float
    kind : {'one_cycle', 'constant'}
        ``one_cycle``: half a cosine up, half a cosine down, after Smith and Topin 2017,
        https://arxiv.org/abs/1708.07120. ``constant``: always the peak.
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
    """Optimiser of a network's weights.

    ``adamw`` pulls weights towards 0 apart from the gradient (Loshchilov and Hutter 2019,
    https://arxiv.org/abs/1711.05101); norms and biases do not decay. ``adam`` is the official
    baseline's: its decay is part of the gradient (L2), and every value decays.
    """
    parameters = list(network.parameters())
    if config.optimiser == "adam":
        return torch.optim.Adam(
            parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)
