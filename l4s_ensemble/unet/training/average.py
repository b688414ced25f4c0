"""The averaged network: an exponential moving average of weights, with its own batch statistics."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move an average of weights towards the network after `step` steps (the first is 1).

    Early steps count less: the decay grows as (1 + step) / (10 + step) until it meets `decay`.
    The running statistics of batch norm are not averaged. They belong to weights that no longer
    exist, so `recalibrate` measures them anew for the averaged weights.
    """
    decay = min(decay, (1 + step) / (10 + step))
    mine: list[torch.Tensor] = list(average.parameters())
    new: list[torch.Tensor] = list(network.parameters())
    torch._foreach_lerp_(mine, new, 1 - decay)  # a GPU wants one launch, not one a weight


@torch.no_grad()
def recalibrate(network: nn.Module, inputs: Iterable[torch.Tensor], share: float = 1.0) -> bool:
    """Replace the running statistics of batch norm by the plain mean over some batches.

    `torch.optim.swa_utils.update_bn` would also turn on what is random in training, such as the
    dropped paths of some encoders.

    Parameters
    ----------
    network : Module
        Left in evaluation mode.
    inputs : iterable of Tensor
        Batches of equal size; run under the caller's autocast.
    share : float
        Of the new statistics; the rest is that of the old ones. Variances are mixed as they are.

    Returns
    -------
    bool
        Whether there is any batch norm.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    network.eval()
    old = [[b.clone() for b in _statistics(norm)] for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative mean
        norm.train()
    for batch in inputs if norms else ():
        network(batch)
    for norm, momentum, before in zip(norms, momenta, old, strict=True):
        for now, was in zip(_statistics(norm), before, strict=True):
            now.lerp_(was, 1 - share)
        norm.momentum = momentum
        norm.eval()
    return bool(norms)


def _statistics(norm: nn.Module) -> list[torch.Tensor]:
    """Mean and variance of a batch norm; none where it keeps none."""
    return [b for b in norm.buffers() if b.is_floating_point()]
