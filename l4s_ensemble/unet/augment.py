"""Augmentation on the device, each sample by its own key.

What happens to a tile depends on (seed, fold, epoch, patch id) alone: not on its place in the
batch, not on what ran before. A training that was killed goes on with the same pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

SYMMETRIES = 8
"""Rotations and reflections of the square, the dihedral group D4."""

_SAMPLE, _ORDER = 1, 2  # first word of a key: what the draw is for


@dataclass(frozen=True)
class Draw:
    """What happens to the samples of one batch.

    Attributes
    ----------
    symmetry : int array, shape (n,)
        Number of the symmetry, 0 (nothing) to 7.
    gain : float32 array, shape (n, band)
        Factor of each band in units.
    """

    symmetry: NDArray[np.int64]
    gain: NDArray[np.float32]


def draw(
    key: Sequence[int],
    epoch: int,
    ids: ArrayLike,
    spectral: ArrayLike,
    *,
    jitter_gain: float,
    jitter_band: float,
) -> Draw:
    """Draw symmetry and gains of samples.

    Parameters
    ----------
    key : sequence of int
        Seed and fold.
    epoch : int
    ids : array_like of int, shape (n,)
        Patch ids.
    spectral : array_like of bool, shape (band,)
        Bands that measure light; the others keep their values.
    jitter_gain, jitter_band : float
        Sigma of the log-gain of a whole tile and of each band.
    """
    numbers = np.asarray(ids, dtype=np.int64)
    light = np.asarray(spectral, dtype=bool)
    symmetry = np.empty(len(numbers), np.int64)
    log_gain = np.zeros((len(numbers), len(light)))
    for i, patch in enumerate(numbers):
        rng = np.random.default_rng([_SAMPLE, *key, epoch, int(patch)])
        symmetry[i] = rng.integers(SYMMETRIES)
        whole, each = rng.standard_normal(), rng.standard_normal(len(light))
        log_gain[i, light] = jitter_gain * whole + jitter_band * each[light]
    return Draw(symmetry, np.exp(log_gain).astype(np.float32))


def order(key: Sequence[int], epoch: int, count: int) -> NDArray[np.int64]:
    """Shuffled positions 0 … count-1 of an epoch."""
    return np.random.default_rng([_ORDER, *key, epoch]).permutation(count)


def apply_symmetry(x: torch.Tensor, number: int) -> torch.Tensor:
    """Transform the last two axes (square) by one symmetry; a view where torch can."""
    if number & 4:
        x = x.transpose(-1, -2)
    flips = [axis for bit, axis in ((1, -1), (2, -2)) if number & bit]
    return x.flip(flips) if flips else x


def undo_symmetry(x: torch.Tensor, number: int) -> torch.Tensor:
    """Undo `apply_symmetry`."""
    flips = [axis for bit, axis in ((1, -1), (2, -2)) if number & bit]
    x = x.flip(flips) if flips else x
    return x.transpose(-1, -2) if number & 4 else x


def apply_symmetries(x: torch.Tensor, symmetry: NDArray[np.int64]) -> torch.Tensor:
    """Transform each sample of (n, …, y, x) by its own symmetry, into a new tensor."""
    out = torch.empty_like(x)
    for number in np.unique(symmetry):
        which = torch.from_numpy(np.flatnonzero(symmetry == number)).to(x.device)
        out[which] = apply_symmetry(x[which], int(number))
    return out
