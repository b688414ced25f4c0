"""Faster forms of a step: a network compiled by torch, a step captured as one CUDA graph.

A small network on a large GPU waits for its own launches: hundreds of kernels a step, each shorter
than it takes to ask for it. A graph asks once. Where a form does not work, training goes on without
it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from l4s_ensemble.unet.hardware import Hardware

log = logging.getLogger("l4s_ensemble")

WARM_UP = 3
"""Steps before the capture, as torch asks for: they find algorithms and make the optimiser's state.
What they learn is taken back."""

Step = Callable[..., torch.Tensor]


def capture(
    step: Step,
    inputs: Sequence[torch.Tensor],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Step | str:
    """Capture a step; network and optimiser are as they were when this returns.

    Parameters
    ----------
    step : callable
        Learns from its tensors and returns what it found; it may not wait for the device.
    inputs : sequence of Tensor
        As training will bring them.

    Returns
    -------
    callable or str
        Called as the step is; it returns memory of its own. Where capturing does not work the
        reason, with a warning.
    """
    try:
        return _captured(step, inputs, network, optimiser)
    except RuntimeError as error:
        optimiser.zero_grad(set_to_none=True)
        return _warned("steps are not captured", error)


def _captured(
    step: Step,
    inputs: Sequence[torch.Tensor],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Step:
    own = [x.clone() for x in inputs]
    put_back = _keep(network, optimiser)
    here = torch.cuda.current_stream()
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    try:
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                step(*own)
        here.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        optimiser.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()  # a graph has memory of its own, and takes none that is kept
        # On the same stream: what sums up gradients stays on the one it began on, as long as
        # anything keeps it alive, and work of another stream ends a capture.
        with torch.cuda.graph(graph, stream=beside):
            found = step(*own)
    finally:
        put_back()

    def replay(*inputs: torch.Tensor) -> torch.Tensor:
        for mine, new in zip(own, inputs, strict=True):
            mine.copy_(new)
        graph.replay()
        return found.clone()

    return replay


def _keep(network: nn.Module, optimiser: torch.optim.Optimizer) -> Callable[[], None]:
    """Save the values of a network and its optimiser; return a function that restores them.

    They go back in place, as a graph keeps addresses. Moments that were not there become 0, as
    they begin.
    """
    # Detached: a graph of these copies would tie the gradients to the stream of today.
    values = [(v, v.detach().clone()) for v in (*network.parameters(), *network.buffers())]
    moments: dict[Any, dict[str, torch.Tensor]] = {
        parameter: {name: value.clone() for name, value in state.items()}
        for parameter, state in optimiser.state.items()
    }

    @torch.no_grad()
    def put_back() -> None:
        for value, before in values:
            value.copy_(before)
        for parameter, state in optimiser.state.items():
            for name, value in state.items():
                known = moments.get(parameter)
                value.zero_() if known is None else value.copy_(known[name])

    return put_back


def compiled(network: nn.Module, x: torch.Tensor, hardware: Hardware) -> Any:
    """Compiled form of a network, tried on a batch x (n, channel, y, x); else the network itself.

    Compilation needs a C++ compiler on a CPU and Triton on a GPU, and happens at the first use: so
    the first use is here, forward and backward, where a failure costs nothing but a warning. It is
    one too where the compiled form gives no finite gradient, as torch 2.13 does on a CPU in
    bfloat16. The network is left as it was, gradients cleared; its state keeps its names.
    """
    before = [(value, value.clone()) for value in network.buffers()]
    try:
        fast: Any = torch.compile(network)
        with hardware.autocast():
            logit = fast(x)
        logit.float().sum().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        if not all(bool(torch.isfinite(g).all()) for g in gradients):
            raise ArithmeticError("its gradient would not be finite")
    except Exception as error:  # torch raises many kinds, of several of its packages
        _warned("the network is not compiled", error)
        return network
    finally:
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for value, old in before:
                value.copy_(old)
    return fast


def _warned(what: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    log.warning("unet: %s: %s", what, reason)
    return reason
