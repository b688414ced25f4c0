"""Compiled loops of the group ``relative``: moments of the normal in a window, and medians."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.kernels import compiled

MOMENTS = 6
"""1, e, n, e², e n, n²: what (1 + e e' + n n')² needs of the neighbours' e and n."""


@compiled
def normal_moments(
    value: NDArray[np.float32],
    east: NDArray[np.float32],
    north: NDArray[np.float32],
    radius: int,
) -> NDArray[np.float64]:
    """Sums over the square window of a value times 1, e, n, e², e n, n².

    Parameters
    ----------
    value, east, north : float32 arrays, shape (y + 2 radius, x + 2 radius)
        Value, and the horizontal normal (e, n).
    radius : int
        The window's edge is ``2 radius + 1``.

    Returns
    -------
    float64 array, shape (6, y, x)
    """
    tall, wide = value.shape
    edge = 2 * radius + 1
    height, width = tall - 2 * radius, wide - 2 * radius
    out = np.empty((MOMENTS, height, width))
    columns = np.zeros((MOMENTS, wide))
    for i in range(tall):
        # One row comes into the columns, one leaves them. The same products come and go, so that
        # only the rounding of double precision stays behind.
        for come in range(2):
            row = i if come == 0 else i - edge
            if row < 0:
                continue
            sign = 1.0 if come == 0 else -1.0
            for j in range(wide):
                v = sign * np.float64(value[row, j])
                e, n = np.float64(east[row, j]), np.float64(north[row, j])
                columns[0, j] += v
                columns[1, j] += v * e
                columns[2, j] += v * n
                columns[3, j] += v * e * e
                columns[4, j] += v * e * n
                columns[5, j] += v * n * n
        if i < edge - 1:
            continue
        for k in range(MOMENTS):
            column = columns[k]
            target = out[k, i - edge + 1]
            total = 0.0
            for j in range(edge):
                total += column[j]
            target[0] = total
            for j in range(1, width):
                total += column[j + edge - 1] - column[j - 1]
                target[j] = total
    return out


@compiled
def order_statistic(bits: NDArray[np.uint32], rank: int) -> np.uint32:
    """Find the key of a rank without sorting: three passes that count, each over 11 bits or fewer.

    Parameters
    ----------
    bits : uint32 array, shape (n,)
    rank : int
        0 is the least, n − 1 the greatest.

    Returns
    -------
    uint32
    """
    found = np.uint32(0)
    for shift, width, above in ((21, 11, 32), (10, 11, 21), (0, 10, 10)):
        counts = np.zeros(1 << width, np.int64)
        mask = np.uint32((1 << width) - 1)
        for i in range(bits.size):
            key = bits[i]
            # Shifts of 32 bits are not defined: the first pass counts all.
            if above == 32 or (key >> np.uint32(above)) == (found >> np.uint32(above)):
                counts[(key >> np.uint32(shift)) & mask] += 1
        place = 0
        while rank >= counts[place]:
            rank -= counts[place]
            place += 1
        found |= np.uint32(place) << np.uint32(shift)
    return found


_SIGN = np.uint32(0x80000000)


def fast_median(values: NDArray[np.float32]) -> np.floating[Any]:
    """Median of finite float32 values, the same as ``numpy.median``.

    Selection by comparison mispredicts half of its branches; counting the bits of the numbers is
    several times as fast on a patch.
    """
    bits = np.ravel(values).astype(np.float32).view(np.uint32)
    # Order of the keys is order of the numbers: flip all bits of negative ones, else the sign.
    keys = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    middle = [order_statistic(keys, (keys.size - 1) // 2), order_statistic(keys, keys.size // 2)]
    found = np.array(middle, np.uint32)
    two = np.where(found & _SIGN, found & ~_SIGN, ~found).astype(np.uint32).view(np.float32)
    median: np.floating[Any] = np.float32(0.5) * two[0] + np.float32(0.5) * two[1]
    return median
