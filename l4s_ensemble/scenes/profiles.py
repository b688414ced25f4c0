"""Profiles for the seam solver: pixel lines at the edges of tiles, and at cuts inside them.

A profile is a line continued by half a pixel, to where the next tile begins. Cuts inside a tile
are seams whose answer is known: they teach the model of `evidence` without labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Axis = Literal["x", "y"]
AXES: tuple[Axis, Axis] = ("x", "y")

CHUNK_TILES = 64
TAUGHT_TILES = 384
CUT_STEP_PX = 8
MUTE_SHARE = 0.5


@dataclass(frozen=True)
class Lines:
    """Profiles of one axis."""

    last: Floats  # (tile, band, pixel): at the end, right or bottom, of each tile
    first: Floats  # at the start, left or top
    # (tile, band): the profile says nothing: the band is one number all over the tile, or no data.
    last_silent: Flags
    first_silent: Flags
    before: Floats  # (cut, taught tile, band, pixel): beside cuts inside a part of the tiles
    after: Floats  # on their other side
    cut_silent: Flags  # (taught tile, band)


def read_lines(
    images: Any, spectral: Flags, *, taught: int = TAUGHT_TILES
) -> tuple[dict[Axis, Lines], NDArray[np.intp]]:
    """Read the lines at the edges of all tiles and at inner cuts of some, a chunk at a time.

    Which tiles are cut depends on their content alone, so the order of the tiles does not matter.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts. A numpy array, or anything that gives one for a slice of tiles.
    spectral : ndarray of bool, shape (band,)
        Bands of reflectance; they are compared as logarithms.
    taught : int
        Most tiles that are cut.

    Returns
    -------
    lines : dict
        ``x``: seams between left and right neighbours; ``y``: between upper and lower ones.
    original : ndarray of int, shape (tile,)
        Position of the first tile with the same edges: the tile itself, unless it is a duplicate.
    """
    n, bands, height, width = images.shape
    floor = _floor(np.asarray(images[: min(n, CHUNK_TILES)]), spectral)
    edges: dict[Axis, list[Any]] = {
        axis: [np.empty((n, bands, length), np.float32) for _ in range(2)]
        + [np.zeros((n, bands), bool) for _ in range(2)]
        for axis, length in zip(AXES, (height, width), strict=True)
    }
    steady = np.zeros((n, bands), bool)
    digests: list[bytes] = []
    for start in range(0, n, CHUNK_TILES):
        block = np.asarray(images[start : start + CHUNK_TILES])
        here = slice(start, start + len(block))
        steady[here] = block.max((2, 3)) == block.min((2, 3))
        for axis, (last, first, last_silent, first_silent) in edges.items():
            across = _across(block, axis)
            last[here], mute = profile(across[..., [-1, -2]], spectral, floor)
            last_silent[here] = steady[here] | mute
            first[here], mute = profile(across[..., [0, 1]], spectral, floor)
            first_silent[here] = steady[here] | mute
        for t in range(start, start + len(block)):
            edge = [a[t] for parts in edges.values() for a in parts[:2]]
            digests.append(
                blake2b(b"".join(line.tobytes() for line in edge), digest_size=16).digest()
            )
    keys, original = np.unique(np.array(digests, "S16"), return_index=True, return_inverse=True)[1:]
    chosen = np.sort(keys[:taught])  # first of the digests' order: random, but by content
    lines = {}
    for axis, (last, first, last_silent, first_silent) in edges.items():
        length = height if axis == "x" else width
        inner = len(_cuts(width if axis == "x" else height))
        before = np.empty((inner, len(chosen), bands, length), np.float32)
        lines[axis] = Lines(
            last, first, last_silent, first_silent, before, np.empty_like(before), steady[chosen]
        )
    for at, t in enumerate(chosen):
        block = np.asarray(images[int(t) : int(t) + 1])
        for axis, made in lines.items():
            across = _across(block, axis)[0].transpose(2, 0, 1)
            cuts = np.array(_cuts(len(across)), np.intp)
            before = np.stack([across[cuts - 1], across[cuts - 2]], axis=-1)
            after = np.stack([across[cuts], across[cuts + 1]], axis=-1)
            made.before[:, at] = profile(before, spectral, floor)[0]
            made.after[:, at] = profile(after, spectral, floor)[0]
    return lines, keys[original]


def profile(pair: NDArray[Any], spectral: Flags, floor: float) -> tuple[Floats, Flags]:
    """Continue two lines linearly by half a pixel.

    Parameters
    ----------
    pair : ndarray, shape (tile, band, pixel, 2)
        Counts of the line at the seam, then of the one behind it. NaN and infinity count as zero.
    spectral : ndarray of bool, shape (band,)
        Bands taken as logarithms. A pixel that is zero in all of them holds no data; it gets the
        value of the nearest pixel with data on the line, so that it makes no false edge.
    floor : float
        Counts added before the logarithm.

    Returns
    -------
    profile : ndarray, shape (tile, band, pixel)
    mute : ndarray of bool, shape (tile, 1)
        More than half of the line holds no data.
    """
    values = np.nan_to_num(pair.astype(np.float32), posinf=0.0, neginf=0.0)
    empty: Flags = np.zeros((len(pair), pair.shape[2]), bool)
    if spectral.any():
        reflectance = values[:, spectral]
        empty = np.asarray((reflectance <= 0).all(1).any(-1))
        values[:, spectral] = np.log(np.maximum(reflectance, 0) + np.float32(floor))
    found = np.float32(1.5) * values[..., 0] - np.float32(0.5) * values[..., 1]
    for t in np.flatnonzero(empty.any(1) & ~empty.all(1)):
        known = np.flatnonzero(~empty[t])
        nearest = np.abs(np.arange(empty.shape[1])[:, None] - known).argmin(1)
        found[t] = found[t][:, known[nearest]]
    return found, empty.mean(1, keepdims=True) > MUTE_SHARE


def _across(block: NDArray[Any], axis: Axis) -> NDArray[Any]:
    """The seam's own direction third, the direction across it last."""
    return block if axis == "x" else block.swapaxes(2, 3)


def _cuts(size: int) -> list[int]:
    """Positions of inner seams: before pixel k, two pixels on either side."""
    step = CUT_STEP_PX if size >= 4 * CUT_STEP_PX else 2
    return list(range(step, size - 1, step))[:: max(1, size // 128)]


def _floor(block: NDArray[Any], spectral: Flags) -> float:
    """Half a count keeps the logarithm of zero finite; for real numbers a thousandth."""
    if np.issubdtype(block.dtype, np.integer) or not spectral.any():
        return 0.5
    reflectance = block[:, spectral]
    positive = reflectance[reflectance > 0]
    return min(0.5, 1e-3 * float(np.median(positive))) if positive.size else 1.0
