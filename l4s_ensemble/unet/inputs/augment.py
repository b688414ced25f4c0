"""Augmentation on the device, each sample by its own key.

What happens to a sample depends on (seed, fold, epoch, patch id, how often the epoch showed it
before) alone: not on its place in the batch, not on what ran before. A training that was killed
goes on with the same pictures, and processes that share an epoch make the same ones as one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.config import UNetConfig

SYMMETRIES = 8
"""Rotations and reflections of the square, the dihedral group D4."""

_SAMPLE, _SCENE = 1, 4  # first word of a key: what the draw is for


@dataclass(frozen=True)
class Samples:
    """What a draw must know of its samples.

    Attributes
    ----------
    patch : int64 array, shape (n,)
        Ids.
    repeat : int64 array, shape (n,)
        How often the epoch has shown the tile before.
    scene : int64 array, shape (n,)
        Below 0 where it is not known.
    near : bool array, shape (n, 3, 3)
        Which neighbours there are, by row and column.
    spectral : bool array, shape (band,)
        Bands that measure light; the others keep their values.
    channels : int
        Number of channels shown.
    """

    patch: NDArray[np.int64]
    repeat: NDArray[np.int64]
    scene: NDArray[np.int64]
    near: NDArray[np.bool_]
    spectral: NDArray[np.bool_]
    channels: int

    def __len__(self) -> int:
        return len(self.patch)


@dataclass(frozen=True)
class Draw:
    """What happens to samples.

    Attributes
    ----------
    symmetry : int64 array, shape (n,)
        Number of the symmetry, 0 (nothing) to 7.
    gain : float32 array, shape (n, band)
        Factor of each band in units.
    alone : bool array, shape (n,)
        Samples whose neighbours count as missing.
    offset_px : int64 array, shape (n, 2)
        Row and column of the window's first pixel from that of its tile.
    shown : bool array, shape (n, channel)
        Channels that are not dropped; at least one each.
    mixed : bool array, shape (n,)
        Samples that a rectangle of another tile is pasted into.
    partner : float array, shape (n,)
        Which one, as a share in [0, 1) of the tiles there are to choose from.
    rectangle : float array, shape (n, 3)
        Share of the area, and of the room there is for its first row and column; all in [0, 1).
    """

    symmetry: NDArray[np.int64]
    gain: NDArray[np.float32]
    alone: NDArray[np.bool_]
    offset_px: NDArray[np.int64]
    shown: NDArray[np.bool_]
    mixed: NDArray[np.bool_]
    partner: NDArray[np.float64]
    rectangle: NDArray[np.float64]


def draw(key: Sequence[int], epoch: int, samples: Samples, config: UNetConfig) -> Draw:
    """Draw what happens to samples.

    Every number is drawn whether a setting needs it or not, so that one setting does not change
    what another one draws.

    Parameters
    ----------
    key : sequence of int
        Seed and fold.
    epoch : int
    samples : Samples
    config : UNetConfig
    """
    n, light = len(samples), samples.spectral
    symmetry = np.empty(n, np.int64)
    log_gain = np.zeros((n, len(light)))
    chance = np.empty((n, 8))  # alone, offset (2), mixed, partner, rectangle (3)
    channel = np.empty((n, samples.channels))
    for i in range(n):
        again = int(samples.repeat[i])
        rng = np.random.default_rng(
            [_SAMPLE, *key, epoch, int(samples.patch[i]), *([again] if again else [])]
        )
        symmetry[i] = rng.integers(SYMMETRIES)
        whole, each = rng.standard_normal(), rng.standard_normal(len(light))
        log_gain[i, light] = config.jitter_gain * whole + config.jitter_band * each[light]
        chance[i] = rng.random(8)
        channel[i] = rng.random(samples.channels)
    if config.jitter_scene > 0:
        log_gain[:, light] += config.jitter_scene * _of_scenes(key, epoch, samples)[:, light]
    shown = channel >= config.band_dropout
    shown[np.arange(n), channel.argmax(axis=1)] = True
    alone = chance[:, 0] < config.drop_neighbours
    reach = config.shift_px if config.neighbours else 0
    offset = np.floor(chance[:, 1:3] * (2 * reach + 1)).astype(np.int64) - reach
    return Draw(
        symmetry if config.symmetries else np.zeros_like(symmetry),
        np.exp(log_gain).astype(np.float32),
        alone,
        np.where(alone[:, None], 0, _into_neighbours(offset, samples.near)),
        shown,
        chance[:, 3] < config.cut_mix,
        chance[:, 4],
        chance[:, 5:],
    )


def rectangle(share: NDArray[np.float64], size_px: int) -> tuple[slice, slice]:
    """Rows and columns of a pasted square.

    Its area is a uniform share of the window's, its place anywhere inside. After CutMix (Yun et
    al. 2019, https://arxiv.org/abs/1905.04899), whose rectangles may be cut off by the edge.

    Parameters
    ----------
    share : float array, shape (3,)
        A row of `Draw.rectangle`.
    size_px : int
        Edge of the window.
    """
    edge = round(float(np.sqrt(share[0])) * size_px)
    row, column = (int(s * (size_px - edge + 1)) for s in share[1:])
    return slice(row, row + edge), slice(column, column + edge)


def _of_scenes(key: Sequence[int], epoch: int, samples: Samples) -> NDArray[np.float64]:
    """Standard normal draws of each band, (n, band), the same for all tiles of a scene.

    A tile of unknown scene is a scene by itself.
    """
    out = np.empty((len(samples), len(samples.spectral)))
    for i, (scene, patch) in enumerate(zip(samples.scene, samples.patch, strict=True)):
        of = (0, int(scene)) if scene >= 0 else (1, int(patch))
        out[i] = np.random.default_rng([_SCENE, *key, epoch, *of]).standard_normal(out.shape[1])
    return out


def _into_neighbours(offset_px: NDArray[np.int64], near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Turn offsets to the side where there is a neighbour; none where neither side has one."""
    out = np.zeros_like(offset_px)
    sides = ((near[:, 0, 1], near[:, 2, 1]), (near[:, 1, 0], near[:, 1, 2]))
    for axis, (before, after) in enumerate(sides):
        far = np.abs(offset_px[:, axis])
        wanted = np.where(offset_px[:, axis] < 0, before, after)
        there = np.where(offset_px[:, axis] < 0, -far, far)
        out[:, axis] = np.where(wanted, there, np.where(before | after, -there, 0))
    return out


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
    if x.device.type == "cpu":  # one by one they stay in the cache; a GPU wants few large copies
        for sample, into, number in zip(x, out, symmetry.tolist(), strict=True):
            into.copy_(apply_symmetry(sample, number))
        return out
    for number in np.unique(symmetry):
        which = torch.from_numpy(np.flatnonzero(symmetry == number)).to(x.device)
        out[which] = apply_symmetry(x[which], int(number))
    return out
