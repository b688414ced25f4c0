"""Muon: steps of a layer that move all of its directions alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

MOMENTUM = 0.95

STEPS = 5
"""Newton-Schulz iterations."""

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic; it brings singular values to .7-1.2 in five iterations, not to 1."""

RMS = 1.2
"""Root mean square of a kernel's step at a learning rate of 1.

With .2 it is about that of Adam's, for which the rate of all else is made. Kernels before a norm
bear more: out of fold in true colour F1 is .724, .728, .731, .731 with .2, .5, 1.2, 3 and AdamW's
.713 (``benchmarks/results/unet_muon.json``)."""

FEWEST = 4
"""Rows of the smallest matrix: a last layer of one or two outputs has no directions to even out."""


class Muon(torch.optim.AdamW):
    """Muon for the kernels of convolutions, AdamW for all else: norms, biases, the last layer.

    A kernel is a matrix, outputs by inputs and places. The step is its momentum (Nesterov's) with
    all singular values brought near 1, so that rare directions are learnt as fast as common ones.
    After Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; that a step's size does
    not depend on the shape is from Liu et al. 2025, https://arxiv.org/abs/2502.16982.

    Kernels of one shape are worked on together. On a GPU in bfloat16, as the method was made, and
    without waiting for it, so that a step can be captured; elsewhere in float32.

    `torch.optim.Muon` (torch 2.9 and later) takes matrices only, one at a time, and reads the rate
    back from the GPU.

    Parameters
    ----------
    parameters, lr, **more
        Of `torch.optim.AdamW`.
    weight_decay : float
        Of kernels and other matrices, apart from the gradient; norms and biases do not decay.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float | torch.Tensor,
        weight_decay: float = 0.0,
        **more: Any,
    ) -> None:
        every = list(parameters)
        kernels = [p for p in every if is_kernel(p)]
        rest = by_decay([p for p in every if not is_kernel(p)], weight_decay)
        groups = [
            {"params": kernels, "weight_decay": weight_decay, "kernels": True},
            *({**group, "kernels": False} for group in rest),
        ]
        super().__init__([g for g in groups if g["params"]], lr=lr, **more)

    def __setstate__(self, state: dict[str, Any]) -> None:
        every = state["param_groups"]
        rest = {**state, "param_groups": _without_kernels(every)}
        super().__setstate__(rest)  # type: ignore[no-untyped-call]
        self.param_groups = every

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all groups."""
        every = self.param_groups
        self.param_groups = _without_kernels(every)
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = every
        for group in every:
            if group["kernels"]:
                self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        """Move kernels; nothing changes where ``found_inf`` is 1, see `torch.amp.GradScaler`."""
        lr, skip = group["lr"], getattr(self, "found_inf", None)
        if skip is not None:
            lr = lr * (1 - skip)
        alike: dict[tuple[int, int], list[nn.Parameter]] = {}
        for p in group["params"]:
            if p.grad is not None:
                alike.setdefault((len(p), p.numel() // len(p)), []).append(p)
        for (rows, columns), kernels in alike.items():
            gradient = torch.stack([p.grad.reshape(rows, columns) for p in kernels])  # type: ignore[union-attr]
            momentum = torch.stack([self._momentum(p) for p in kernels])
            if skip is not None:
                gradient = torch.where(skip > 0, momentum, gradient)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            move = evened(gradient.lerp(momentum, MOMENTUM)) * (RMS * max(rows, columns) ** 0.5)
            for p, m, step in zip(kernels, momentum, move, strict=True):
                self._momentum(p).copy_(m)
                p.mul_(1 - lr * group["weight_decay"]).sub_(step.view_as(p) * lr)

    def _momentum(self, p: nn.Parameter) -> torch.Tensor:
        state = self.state[p]
        if not state:
            state["momentum"] = p.new_zeros(len(p), p.numel() // len(p))
        momentum: torch.Tensor = state["momentum"]
        return momentum


def by_decay(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW: norms and biases do not decay."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _without_kernels(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups that AdamW moves and looks into."""
    return [g for g in groups if not g["kernels"]]


def is_kernel(p: torch.Tensor) -> bool:
    """Whether Muon moves a parameter: a kernel over several inputs with `FEWEST` outputs or more.

    Depthwise kernels, one input each, are no matrices between features.
    """
    return p.ndim == 4 and len(p) >= FEWEST and p.shape[1] > 1


def evened(matrices: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of (matrix, row, column) near 1, by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    if matrices.is_cuda:
        for _ in range(STEPS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    else:
        # The same on the small side: all factors are polynomials of one Gram matrix, so that they
        # commute. A kernel is some nine times as wide as high: two fifths of the work. In bfloat16
        # squares would lose the small directions.
        gram = x @ x.mT
        factor = product = torch.empty(0)
        for i in range(STEPS):
            factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            factor.diagonal(dim1=1, dim2=2).add_(a)
            product = factor @ product if i else factor
            gram = factor @ gram @ factor
        x = product @ x
    return (x.mT if tall else x).to(matrices.dtype)
