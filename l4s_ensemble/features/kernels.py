"""Compiled loops: window means and deviations from one summed-area table, Gaussian smoothing.

Everything is compiled once per machine and kept in numba's cache. No fast-math: sums must stay
exact enough for a deviation of almost equal numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile at the first call, without fast-math, and keep the machine code on disk."""

    @cache
    def machine_code() -> Any:
        import numba  # takes long: a model can be loaded without it

        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)

    @wraps(function)
    def run(*arguments: Any) -> Any:
        return machine_code()(*arguments)

    return cast(F, run)


FIXED = 2.0**17
"""Steps of a unit in summed-area tables: 7.6e-6, well below one step of reflectance (1e-4)."""


@compiled
def summed_area(image: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Summed-area tables of an image and of its square, in whole steps of 1 / `FIXED`.

    Whole numbers add up exactly, so what a window gives does not depend on where the image begins:
    a block of a raster and the whole raster agree bit for bit. A table may overflow; the
    difference that is a window's sum is right as long as it fits itself.

    Parameters
    ----------
    image : float32 array, shape (y, x)
        Within ±128 for squares (and windows of at most 65 px), within ±1e8 for sums.

    Returns
    -------
    sums, squares : int64 arrays, shape (y + 1, x + 1)
        ``sums[i, j]`` is the sum over ``image[:i, :j]``.
    """
    height, width = image.shape
    sums = np.zeros((height + 1, width + 1), np.int64)
    squares = np.zeros((height + 1, width + 1), np.int64)
    for i in range(height):
        s = np.int64(0)
        q = np.int64(0)
        for j in range(width):
            v = np.int64(np.floor(np.float64(image[i, j]) * FIXED + 0.5))
            s += v
            q += v * v
            sums[i + 1, j + 1] = s
            squares[i + 1, j + 1] = q
        for j in range(1, width + 1):
            sums[i + 1, j] += sums[i, j]
            squares[i + 1, j] += squares[i, j]
    return sums, squares


@compiled
def window_mean(
    sums: NDArray[np.int64], top: int, left: int, height: int, width: int, radius: int
) -> NDArray[np.float32]:
    """Mean over the square window around each pixel of a region.

    Parameters
    ----------
    sums : int64 array
        From `summed_area`.
    top, left, height, width : int
        The region whose pixels are wanted, in pixels of the image.
    radius : int
        The window's edge is ``2 radius + 1``; it must lie within the image.

    Returns
    -------
    float32 array, shape (height, width)
    """
    out = np.empty((height, width), np.float32)
    edge = 2 * radius + 1
    share = 1.0 / (edge * edge * FIXED)
    for i in range(height):
        up = sums[top + i - radius]
        down = sums[top + i - radius + edge]
        for j in range(width):
            a = left + j - radius
            b = a + edge
            out[i, j] = ((down[b] - down[a]) - (up[b] - up[a])) * share
    return out


@compiled
def window_deviation(
    sums: NDArray[np.int64],
    squares: NDArray[np.int64],
    top: int,
    left: int,
    height: int,
    width: int,
    radius: int,
) -> NDArray[np.float32]:
    """Standard deviation over the square window around each pixel; see `window_mean`."""
    out = np.empty((height, width), np.float32)
    edge = 2 * radius + 1
    share = 1.0 / (edge * edge * FIXED)
    for i in range(height):
        up, down = sums[top + i - radius], sums[top + i - radius + edge]
        up2, down2 = squares[top + i - radius], squares[top + i - radius + edge]
        for j in range(width):
            a = left + j - radius
            b = a + edge
            mean = ((down[b] - down[a]) - (up[b] - up[a])) * share
            mean2 = ((down2[b] - down2[a]) - (up2[b] - up2[a])) * (share / FIXED)
            # Rounding leaves a constant window a variance of about 1e-12 of its mean square.
            variance = mean2 - mean * mean
            out[i, j] = np.sqrt(variance) if variance > 1e-12 * mean2 else 0.0
    return out


@compiled
def smooth(image: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve with a symmetric kernel, first down the columns, then along the rows.

    Parameters
    ----------
    image : float32 array, shape (y + 2 radius, x + 2 radius)
        C-contiguous rows. What it needs around the result is part of it.
    weights : float32 array, shape (radius + 1,)
        The kernel's right half, centre first.

    Returns
    -------
    float32 array, shape (y, x)
    """
    radius = weights.size - 1
    height = image.shape[0] - 2 * radius
    wide = image.shape[1]
    width = wide - 2 * radius
    out = np.empty((height, width), np.float32)
    line = np.empty(wide, np.float32)
    # Plain loops over whole slices: the compiler turns each into vector instructions.
    for i in range(height):
        centre = image[i + radius]
        for j in range(wide):
            line[j] = weights[0] * centre[j]
        for k in range(1, radius + 1):
            weight = weights[k]
            above, below = image[i + radius - k], image[i + radius + k]
            for j in range(wide):
                line[j] += weight * (above[j] + below[j])
        target = out[i]
        middle = line[radius : radius + width]
        for j in range(width):
            target[j] = weights[0] * middle[j]
        for k in range(1, radius + 1):
            weight = weights[k]
            left = line[radius - k : radius - k + width]
            right = line[radius + k : radius + k + width]
            for j in range(width):
                target[j] += weight * (left[j] + right[j])
    return out
