"""A network compiled by torch, where that works."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from l4s_ensemble.unet.hardware import Hardware

log = logging.getLogger("l4s_ensemble")


def compiled(network: nn.Module, x: torch.Tensor, hardware: Hardware) -> Any:
    """Compile a network for training and try it on one batch.

    Compilation needs a C++ compiler on a CPU and Triton on a GPU, and happens at the first use: so
    the first use is here, forward and backward, where a failure costs nothing. It is one too where
    the compiled form gives no finite gradient, as torch 2.13 does on a CPU in bfloat16.

    Parameters
    ----------
    network : Module
        Left as it was, gradients cleared; its state keeps its names.
    x : Tensor, shape (n, channel, y, x)
        A batch as training will bring them.
    hardware : Hardware

    Returns
    -------
    callable
        The compiled form, or `network` itself, with a warning that says why.
    """
    before = {name: value.clone() for name, value in network.named_buffers()}
    try:
        fast: Any = torch.compile(network)
        with hardware.autocast():
            logit = fast(x)
        logit.float().sum().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        if not all(bool(torch.isfinite(g).all()) for g in gradients):
            raise ArithmeticError("its gradient would not be finite")
    except Exception as error:  # torch raises many kinds, of several of its packages
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("unet: the network is not compiled: %s", reason)
        return network
    finally:
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in network.named_buffers():
                value.copy_(before[name])
    return fast
