"""The averaged network: an exponential moving average of weights, with its own batch statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn


class Average:
    """Exponential moving average of a network's weights (Polyak averaging).

    Early steps count less: the decay grows as (1 + step) / (10 + step) until it meets `decay`.
    The running statistics of batch norm are not averaged. They belong to weights that no longer
    exist, so `recalibrate` measures them anew for the averaged weights.

    Parameters
    ----------
    network : Module
        Its weights are the start.
    decay : float
        Below 1; 0 follows the network without delay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network after `step` steps (the first is 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine: list[torch.Tensor] = list(self.network.parameters())
        new: list[torch.Tensor] = list(network.parameters())
        torch._foreach_lerp_(mine, new, 1 - decay)  # a GPU wants one launch, not one a weight


@torch.no_grad()
def recalibrate(network: nn.Module, inputs: Iterable[torch.Tensor]) -> None:
    """Replace the running statistics of batch norm by the plain mean over some batches.

    Parameters
    ----------
    network : Module
        Left in evaluation mode. Without batch norm nothing happens.
    inputs : iterable of Tensor
        Batches of equal size, normalised; run under the caller's autocast.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    network.eval()
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative mean
        norm.train()
    for batch in inputs:
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
