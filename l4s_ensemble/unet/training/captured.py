"""A step of training as one CUDA graph: launched whole, not kernel by kernel.

A small network on a large GPU waits for its own launches: hundreds of kernels a step, each shorter
than it takes to ask for it. A graph asks once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

log = logging.getLogger("l4s_ensemble")

WARM_UP = 3
"""Steps before the capture, as torch asks for: they find algorithms and make the optimiser's state.
What they learn is taken back."""

Step = Callable[..., torch.Tensor]


class Captured:
    """A captured step; called as the step is, with tensors of the same shapes.

    Parameters
    ----------
    step : callable
        Learns from its tensors and returns what it found; it may not wait for the device.
    inputs : sequence of Tensor
        As training will bring them.
    network : Module
    optimiser : Optimizer
        Capturable. Both are as they were when this returns.
    """

    def __init__(
        self,
        step: Step,
        inputs: Sequence[torch.Tensor],
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self._inputs = [x.clone() for x in inputs]
        before = _State(network, optimiser)
        here = torch.cuda.current_stream()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        try:
            beside.wait_stream(here)
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    step(*self._inputs)
            here.wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            optimiser.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()  # a graph has memory of its own, and takes none that is kept
            # On the same stream: what sums up gradients stays on the one it began on, as long as
            # anything keeps it alive, and work of another stream ends a capture.
            with torch.cuda.graph(self._graph, stream=beside):
                self._found = step(*self._inputs)
        finally:
            before.put_back()

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """One step; what it returns, in memory of its own."""
        for mine, new in zip(self._inputs, inputs, strict=True):
            mine.copy_(new)
        self._graph.replay()
        return self._found.clone()


def capture(
    step: Step,
    inputs: Sequence[torch.Tensor],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Captured | str:
    """Capture a step; where that does not work the reason, with a warning."""
    try:
        return Captured(step, inputs, network, optimiser)
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("unet: steps are not captured: %s", reason)
        optimiser.zero_grad(set_to_none=True)
        return reason


class _State:
    """Values of a network and its optimiser, to be put back in place: a graph keeps addresses."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self.network, self.optimiser = network, optimiser
        # Detached: a graph of these copies would tie the gradients to the stream of today.
        self.values = {name: value.detach().clone() for name, value in _tensors(network)}
        self.moments: dict[Any, dict[str, torch.Tensor]] = {
            parameter: {name: value.clone() for name, value in state.items()}
            for parameter, state in optimiser.state.items()
        }

    @torch.no_grad()
    def put_back(self) -> None:
        """Undo what the steps did; moments that were not there become 0, as they begin."""
        for name, value in _tensors(self.network):
            value.copy_(self.values[name])
        for parameter, state in self.optimiser.state.items():
            for name, value in state.items():
                kept = self.moments.get(parameter)
                value.zero_() if kept is None else value.copy_(kept[name])


def _tensors(network: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]
