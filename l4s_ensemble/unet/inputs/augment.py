"""Augmentation on the device, each sample by its own key.

What happens to a sample depends on (seed, fold, epoch, patch id) alone: not on its place in the
batch, not on what ran before. A training that was killed goes on with the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.inputs.tileset import sent

SYMMETRIES = 8
"""Rotations and reflections of the square, the dihedral group D4."""

_SAMPLE = 1  # first word of a key: what the draw is for


def draw(
    key: Sequence[int],
    epoch: int,
    patch: NDArray[np.int64],
    spectral: NDArray[np.bool_],
    config: UNetConfig,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draw the augmentation of tiles by their ids.

    Parameters
    ----------
    spectral : bool array, shape (band,)
        Bands that measure reflectance; the others keep their values.

    Returns
    -------
    symmetry : int64 array, shape (n,)
        Number of the symmetry, 0 (nothing) to 7.
    gain : float32 array, shape (n, band)
        Factor of each band in units.
    """
    symmetry = np.empty(len(patch), np.int64)
    log_gain = np.zeros((len(patch), len(spectral)))
    for i, number in enumerate(patch.tolist()):
        rng = np.random.default_rng([_SAMPLE, *key, epoch, number])
        symmetry[i] = rng.integers(SYMMETRIES)
        whole, each = rng.standard_normal(), rng.standard_normal(len(spectral))
        log_gain[i, spectral] = config.jitter_gain * whole + config.jitter_band * each[spectral]
    if not config.symmetries:
        symmetry[:] = 0
    return symmetry, np.exp(log_gain).astype(np.float32)


def apply_symmetry(x: torch.Tensor, number: int) -> torch.Tensor:
    """Transform the last two axes (square) by one symmetry; a view where torch can."""
    return _flipped(x.transpose(-1, -2) if number & 4 else x, number)


def undo_symmetry(x: torch.Tensor, number: int) -> torch.Tensor:
    """Undo `apply_symmetry`."""
    x = _flipped(x, number)
    return x.transpose(-1, -2) if number & 4 else x


def _flipped(x: torch.Tensor, number: int) -> torch.Tensor:
    flips = [axis for bit, axis in ((1, -1), (2, -2)) if number & bit]
    return x.flip(flips) if flips else x


def apply_symmetries(x: torch.Tensor, symmetry: NDArray[np.int64]) -> torch.Tensor:
    """Transform each sample of (n, …, y, x) by its own symmetry, into a new tensor."""
    if x.device.type != "cpu":
        return gathered(x, symmetry)
    out = torch.empty_like(x)  # one by one they stay in the cache
    for sample, into, number in zip(x, out, symmetry.tolist(), strict=True):
        into.copy_(apply_symmetry(sample, number))
    return out


def gathered(x: torch.Tensor, symmetry: NDArray[np.int64]) -> torch.Tensor:
    """`apply_symmetries` by one look-up of every pixel: a GPU wants few large copies."""
    source = _sources(x.shape[-1], x.device)[sent(symmetry, x.device)]
    flat = x.flatten(-2)
    where = source.reshape(len(x), *[1] * (flat.ndim - 2), -1).expand_as(flat)
    return flat.gather(-1, where).view_as(x)


@lru_cache(maxsize=8)
def _sources(size_px: int, device: torch.device) -> torch.Tensor:
    """Pixel that each pixel shows after each symmetry, (8, y * x)."""
    pixel = torch.arange(size_px**2).reshape(size_px, size_px)
    every = [apply_symmetry(pixel, number).flatten() for number in range(SYMMETRIES)]
    return torch.stack(every).to(device)
