"""How many windows a network is shown at once when nothing is learnt."""

from __future__ import annotations

from collections.abc import Callable

import torch

CPU_PIXELS = 8 * 128 * 128
"""Pixels at once on a CPU. Measured: 8 tiles of 128 x 128 are as fast as any number below, and a
third faster a tile than 32, of which the activations no longer fit a cache."""

CUDA_MOST = 256
"""Most windows at once on a GPU: more keep it no busier."""

CUDA_TRIAL = 4
"""Windows of the batch that tells how much memory a window takes."""

CUDA_SHARE = 0.5
"""Share of the free memory of a GPU that a batch may take."""


def fits_cpu(size_px: int) -> int:
    """Windows of a size at once on a CPU."""
    return max(1, CPU_PIXELS // size_px**2)


def fits_cuda(score: Callable[[torch.Tensor], object], index: torch.Tensor) -> int:
    """Windows at once on a GPU, a power of two, by the memory that a few of them take.

    Parameters
    ----------
    score : callable
        Scores the windows at some positions.
    index : int64 Tensor, shape (n,)
        Positions to try, on the GPU; at least one.
    """
    device = index.device
    some = index[torch.arange(CUDA_TRIAL, device=device) % len(index)]
    score(some)  # cuDNN's search for algorithms takes memory of its own
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    score(some)
    each = (torch.cuda.max_memory_allocated(device) - before) / CUDA_TRIAL
    # What torch holds and does not use is free too.
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - before
    return within(CUDA_SHARE * free / max(each, 1.0))


def within(most: float) -> int:
    """Largest power of two that is not above `most` and `CUDA_MOST`; at least 1."""
    whole = max(1, int(min(most, CUDA_MOST)))
    return 1 << (whole.bit_length() - 1)


def to_power_of_two(index: torch.Tensor) -> torch.Tensor:
    """Repeat the last position until their number is a power of two.

    cuDNN searches its best algorithm anew for every size of a batch: let there be few sizes.
    """
    more = (1 << (len(index) - 1).bit_length()) - len(index)
    return torch.cat([index, index[-1:].expand(more)])
