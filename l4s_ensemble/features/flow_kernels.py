"""Compiled loops: where water goes on a terrain, over paths of bounded length; and the horizon.

Neighbours are numbered nw, n, ne, w, e, sw, s, se = 0 … 7, so that 7 − k lies opposite to k.
Nothing here depends on the order of the pixels, or on what lies farther away than it says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.kernels import compiled

ROW = (-1, -1, -1, 0, 0, 1, 1, 1)
"""Rows from a pixel to its neighbours."""

COLUMN = (-1, 0, 1, -1, 1, -1, 0, 1)
"""Columns from a pixel to its neighbours."""

AWAY = (2**0.5, 1.0, 2**0.5, 1.0, 1.0, 2**0.5, 1.0, 2**0.5)
"""Distance to the neighbours, pixels."""


@compiled
def flow_shares(metres: NDArray[np.float64], pixel_m: float, seep: float) -> NDArray[np.float32]:
    """Share of a pixel's water that goes to each of its neighbours.

    In proportion to contour length times slope, over the lower neighbours (Quinn et al. 1991,
    doi:10.1002/hyp.3360050106): Freeman's (1991) rule with the exponent 1. `seep` is added to the
    sum that they are divided by, so that shares fade to nothing on flat ground, without a jump.

    Parameters
    ----------
    metres : float64 array, shape (y, x)
    pixel_m : float
    seep : float
        Slope, m/m. About half of the water stays where the ground falls like that.

    Returns
    -------
    float32 array, shape (8, y, x)
        Zero in the outermost rows and columns. The sum over the 8 is below 1.
    """
    height, width = metres.shape
    out = np.zeros((8, height, width), np.float32)
    total = np.empty(width, np.float64)
    for i in range(1, height - 1):
        here = metres[i]
        for j in range(width):
            total[j] = seep
        for k in range(8):
            there = metres[i + ROW[k]]
            column = COLUMN[k]
            # Contour lengths of Quinn et al.: 1/2 across an edge, √2/4 across a corner.
            per_m = 0.5 / AWAY[k] / (AWAY[k] * pixel_m)
            target = out[k, i]
            for j in range(1, width - 1):
                part = max(here[j] - there[j + column], 0.0) * per_m
                target[j] = part
                total[j] += part
        for j in range(width):
            total[j] = 1.0 / total[j]
        for k in range(8):
            target = out[k, i]
            for j in range(1, width - 1):
                target[j] *= total[j]
    return out


@compiled
def gather_upslope(
    shares: NDArray[np.float32],
    metres: NDArray[np.float32],
    slope: NDArray[np.float32],
    steps: int,
    rim: int,
) -> NDArray[np.float32]:
    """Sum over the pixels whose water comes by, over paths of at most `steps` pixels.

    ``cells[0] = 1``, ``cells[t + 1] = 1 + Σ share · cells[t]`` over the neighbours, their share
    being that which they give to this pixel; in the same way slope, and the metres that the water
    has come down.

    Parameters
    ----------
    shares : float32 array, shape (8, y, x)
        From `flow_shares`.
    metres, slope : float32 arrays, shape (y, x)
    steps : int
    rim : int
        Pixels at the edge that need not be computed, at least 1. Each step but the first adds one.

    Returns
    -------
    float32 array, shape (3, y, x)
        Pixels; sum of their slopes; sum of their fall to here, m. Within ``rim + steps − 1``
        of the edge paths are shorter.
    """
    height, width = metres.shape
    old = np.zeros((3, height, width), np.float32)
    for i in range(height):
        for j in range(width):
            old[0, i, j] = 1.0
            old[1, i, j] = slope[i, j]
    new = old.copy()
    for step in range(steps):
        first = rim + step
        for i in range(first, height - first):
            n = new[0, i, first : width - first]
            s = new[1, i, first : width - first]
            f = new[2, i, first : width - first]
            size = n.size
            z = metres[i, first : width - first]
            own = slope[i, first : width - first]
            for j in range(size):
                n[j] = 1.0
                s[j] = own[j]
                f[j] = 0.0
            for k in range(8):
                row = i + ROW[k]
                a = first + COLUMN[k]
                share = shares[7 - k, row, a : a + size]
                n_old = old[0, row, a : a + size]
                s_old = old[1, row, a : a + size]
                f_old = old[2, row, a : a + size]
                z_old = metres[row, a : a + size]
                for j in range(size):
                    n[j] += share[j] * n_old[j]
                    s[j] += share[j] * s_old[j]
                    f[j] += share[j] * (f_old[j] + (z_old[j] - z[j]) * n_old[j])
        old, new = new, old
    return old


@compiled
def follow_downslope(
    shares: NDArray[np.float32],
    metres: NDArray[np.float32],
    stop: NDArray[np.float32],
    steps: int,
    rim: int,
) -> NDArray[np.float32]:
    """Fall and way of the water down to where it stops, over at most `steps` pixels.

    Expected values, if a drop goes to a neighbour with the probability of its share. It stops
    with the probability `stop`, and where no share is left (pits, flat ground).

    Parameters
    ----------
    shares : float32 array, shape (8, y, x)
        From `flow_shares`.
    metres : float32 array, shape (y, x)
    stop : float32 array, shape (y, x)
        0 … 1.
    steps : int
    rim : int
        Pixels at the edge that need not be computed, at least 1. Each step but the first adds one.

    Returns
    -------
    float32 array, shape (2, y, x)
        Fall, m; horizontal way, pixels.
    """
    height, width = metres.shape
    old = np.zeros((2, height, width), np.float32)
    new = old.copy()
    for step in range(steps):
        first = rim + step
        for i in range(first, height - first):
            f = new[0, i, first : width - first]
            d = new[1, i, first : width - first]
            size = f.size
            z = metres[i, first : width - first]
            for j in range(size):
                f[j] = 0.0
                d[j] = 0.0
            for k in range(8):
                row = i + ROW[k]
                a = first + COLUMN[k]
                away = np.float32(AWAY[k])
                share = shares[k, i, first : width - first]
                f_old = old[0, row, a : a + size]
                d_old = old[1, row, a : a + size]
                z_old = metres[row, a : a + size]
                for j in range(size):
                    f[j] += share[j] * (f_old[j] + (z[j] - z_old[j]))
                    d[j] += share[j] * (d_old[j] + away)
            halt = stop[i, first : width - first]
            for j in range(size):
                f[j] *= 1.0 - halt[j]
                d[j] *= 1.0 - halt[j]
        old, new = new, old
    return old


@compiled
def sky_view(metres: NDArray[np.float32], pixel_m: float, reach: int) -> NDArray[np.float32]:
    """Share of the sky above the horizon, by eight directions.

    ``1 − mean(sin h)``, h = elevation of the horizon, at least 0 (Zakšek et al. 2011,
    doi:10.3390/rs3020398).

    Parameters
    ----------
    metres : float32 array, shape (y + 2 reach, x + 2 reach)
    pixel_m : float
    reach : int
        The horizon is looked for as far as this, pixels.

    Returns
    -------
    float32 array, shape (y, x)
        Above 0, at most 1.
    """
    height, width = metres.shape[0] - 2 * reach, metres.shape[1] - 2 * reach
    out = np.empty((height, width), np.float32)
    top = np.empty(width, np.float32)
    for i in range(height):
        z = metres[i + reach, reach : reach + width]
        target = out[i]
        for j in range(width):
            target[j] = 1.0
        for k in range(8):
            for j in range(width):
                top[j] = 0.0
            for step in range(1, int(reach / AWAY[k]) + 1):
                a = reach + step * COLUMN[k]
                there = metres[i + reach + step * ROW[k], a : a + width]
                per_m = np.float32(1.0 / (step * AWAY[k] * pixel_m))
                for j in range(width):
                    top[j] = max(top[j], (there[j] - z[j]) * per_m)
            for j in range(width):
                target[j] -= np.float32(0.125) * top[j] / np.sqrt(np.float32(1) + top[j] * top[j])
    return out


@compiled
def horizon_towards(
    metres: NDArray[np.float32], pixel_m: float, east: float, north: float, reach: int
) -> NDArray[np.float32]:
    """Rise (m/m) of the horizon in one direction, at least 0.

    Elevation is sampled at every pixel's length along the way, bilinearly.

    Parameters
    ----------
    metres : float32 array, shape (y + 2 (reach + 1), x + 2 (reach + 1))
    pixel_m : float
    east, north : float
        Unit vector; north is towards row 0.
    reach : int
        The horizon is looked for as far as this, pixels.

    Returns
    -------
    float32 array, shape (y, x)
    """
    rim = reach + 1
    height, width = metres.shape[0] - 2 * rim, metres.shape[1] - 2 * rim
    out = np.zeros((height, width), np.float32)
    for i in range(height):
        z = metres[i + rim, rim : rim + width]
        target = out[i]
        for step in range(1, reach + 1):
            y, x = -north * step, east * step
            row, column = int(np.floor(y)), int(np.floor(x))
            down, right = y - row, x - column
            per_m = np.float32(1.0 / (step * pixel_m))
            nw, ne = np.float32((1 - down) * (1 - right)), np.float32((1 - down) * right)
            sw, se = np.float32(down * (1 - right)), np.float32(down * right)
            a = rim + column
            b = a + 1
            upper, lower = metres[i + rim + row], metres[i + rim + row + 1]
            upper_a, upper_b = upper[a : a + width], upper[b : b + width]
            lower_a, lower_b = lower[a : a + width], lower[b : b + width]
            for j in range(width):
                # Weights add up to one, so differences keep the precision of float32 metres.
                rise = (
                    nw * (upper_a[j] - z[j])
                    + ne * (upper_b[j] - z[j])
                    + sw * (lower_a[j] - z[j])
                    + se * (lower_b[j] - z[j])
                )
                target[j] = max(target[j], rise * per_m)
    return out
