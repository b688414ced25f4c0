"""How much arithmetic a network is, how fast the machine could do it, and in which form it does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.clocks import clocked
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.networks.network import build

MATMUL_EDGE = {"cpu": 2048, "cuda": 8192}
"""Edge of the square matrices; on a GPU smaller ones would not fill it."""


def flops_per_patch(network: str, bands: int, edge_px: int, **settings: Any) -> int:
    """Floating-point operations of one patch's forward and backward pass; a multiply-add is two.

    Counted from the shapes, so that nothing is computed (`torch.utils.flop_counter`).
    """
    from torch.utils.flop_counter import FlopCounterMode

    net = build(network, bands, **settings).to("meta").train()
    patches = 2  # batch norm wants more than one value
    x = torch.empty(patches, bands, edge_px, edge_px, device="meta")
    counter = FlopCounterMode(display=False)
    with counter:
        net(x).sum().backward()
    return int(counter.get_total_flops()) // patches


def matmul_flops_per_s(device: torch.device, repeats: int = 10) -> float:
    """Best measured rate of a square bf16 matrix product: what the machine can give."""
    edge = MATMUL_EDGE.get(device.type, 2048)
    a = torch.randn(edge, edge, device=device, dtype=torch.bfloat16)
    b = torch.randn(edge, edge, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(repeats + 1):
        wait(device)
        started = time.perf_counter()
        torch.mm(a, b)
        wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * edge**3 / min(seconds[1:])


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare_forms(
    device: torch.device, *, bands: int, edge_px: int, batch: int, turns: int, compiled: bool
) -> dict[str, Any]:
    """Training steps of the official network in each precision and layout, in turns.

    Forward pass, backward pass and a step of Adam on one random batch, nothing else. Seconds are
    the processor's on a CPU, so that load by others counts little, and the wall's on a GPU.
    """
    forms = {
        f"{precision}{', channels last' if last else ''}": Hardware(device, precision, last, "")
        for precision in ("float32", "bfloat16")
        for last in (False, True)
    }
    ways = {name: _step(form, bands, edge_px, batch) for name, form in forms.items()}
    if compiled:
        last = list(forms.items())[-1]
        ways[f"{last[0]}, compiled"] = _step(last[1], bands, edge_px, batch, compiled=True)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            clock = clocked(way)
            if turn:  # the first is not counted: memory, kernels, compiler
                spent[name].append(clock.busy if device.type == "cpu" else clock.wall)
    middle = {name: statistics.median(s) for name, s in spent.items()}
    return {
        "batch": batch,
        "seconds": {name: round(s, 4) for name, s in middle.items()},
        "times_as_fast": {name: round(middle["float32"] / s, 2) for name, s in middle.items()},
    }


def _step(
    hardware: Hardware, bands: int, edge_px: int, batch: int, *, compiled: bool = False
) -> Callable[[], None]:
    network = hardware.place(build("baseline", bands)).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    x = torch.randn(batch, bands, edge_px, edge_px, device=hardware.device)
    target = (torch.rand(batch, 1, edge_px, edge_px, device=hardware.device) < 0.05).float()
    called: nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with hardware.autocast():
            logit = called(x.contiguous(memory_format=hardware.memory_format))
        loss = F.binary_cross_entropy_with_logits(logit.float(), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        wait(hardware.device)

    return step


def print_forms(forms: dict[str, Any]) -> None:
    """Show precision and layout."""
    print(f"\nOfficial network, one step of {forms['batch']} patches in each form\n")
    print("| precision, layout | seconds | times |")
    print("|---|--:|--:|")
    for name, seconds in forms["seconds"].items():
        print(f"| {name} | {seconds:.3f} | {forms['times_as_fast'][name]:.2f} |")
