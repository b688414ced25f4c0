"""Compiled loops of texture: products of a gradient, and steps between neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.kernels import compiled


@compiled
def gradient_products(
    image: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Squares and product of the central differences; the picture's edge repeats.

    Parameters
    ----------
    image : float32 array, shape (y, x)

    Returns
    -------
    total, difference, cross : float32 arrays, shape (y, x)
        With x the difference to the right and y the one down, per pixel:
        ``x² + y²``, ``x² − y²`` and ``2 x y``.
    """
    height, width = image.shape
    half = np.float32(0.5)
    total = np.empty((height, width), np.float32)
    difference = np.empty((height, width), np.float32)
    cross = np.empty((height, width), np.float32)
    line = np.empty(width, np.float32)
    for i in range(height):
        row, above, below = image[i], image[max(i - 1, 0)], image[min(i + 1, height - 1)]
        line[0] = half * (row[min(1, width - 1)] - row[0])
        line[width - 1] = half * (row[width - 1] - row[max(width - 2, 0)])
        for j in range(1, width - 1):
            line[j] = half * (row[j + 1] - row[j - 1])
        for j in range(width):
            x, y = line[j], half * (below[j] - above[j])
            total[i, j] = x * x + y * y
            difference[i, j] = x * x - y * y
            cross[i, j] = x * y + x * y
    return total, difference, cross


@compiled
def mean_step(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute difference to the four neighbours; the picture's edge repeats.

    Parameters
    ----------
    image : float32 array, shape (y, x)

    Returns
    -------
    float32 array, shape (y, x)
    """
    height, width = image.shape
    quarter = np.float32(0.25)
    out = np.empty((height, width), np.float32)
    for i in range(height):
        row, above, below = image[i], image[max(i - 1, 0)], image[min(i + 1, height - 1)]
        target = out[i]
        for j in range(width):
            target[j] = abs(row[j] - above[j]) + abs(row[j] - below[j])
        for j in range(width - 1):
            step = abs(row[j + 1] - row[j])
            target[j] += step
            target[j + 1] += step
        for j in range(width):
            target[j] *= quarter
    return out
