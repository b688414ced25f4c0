"""Water carves a surface: flow, stream power and slopes that cannot stand, on a regular grid.

Flow goes to the steepest of eight neighbours. Incision is the implicit scheme of Braun & Willett
(2013, Geomorphology 180-181) for n = 1; pits are filled by the priority flood of Barnes, Lehman &
Mulla (2014, Computers & Geosciences 62).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.compiled import compiled

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


@compiled
def fill_pits(z: Floats, base: Bools, rise_m: float) -> None:
    """Raise every pit of `z` (y, x) until it drains to a cell of `base`, in place.

    A filled cell stands `rise_m` above the one it drains to, so that flow has a way on flats.
    """
    ny, nx = z.shape
    n = ny * nx
    keys = np.empty(n, np.float32)
    cells = np.empty(n, np.int32)
    done = np.zeros(n, np.bool_)
    size = 0
    for i in range(n):
        if base[i // nx, i % nx]:
            done[i] = True
            key = z[i // nx, i % nx]
            at = size
            size += 1
            while at > 0 and keys[(at - 1) // 2] > key:
                keys[at] = keys[(at - 1) // 2]
                cells[at] = cells[(at - 1) // 2]
                at = (at - 1) // 2
            keys[at] = key
            cells[at] = i
    while size > 0:
        cell = cells[0]
        size -= 1
        key = keys[size]
        last = cells[size]
        at = 0
        while True:
            child = 2 * at + 1
            if child >= size:
                break
            if child + 1 < size and keys[child + 1] < keys[child]:
                child += 1
            if keys[child] >= key:
                break
            keys[at] = keys[child]
            cells[at] = cells[child]
            at = child
        keys[at] = key
        cells[at] = last
        y0, x0 = cell // nx, cell % nx
        floor = z[y0, x0] + rise_m
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                y, x = y0 + dy, x0 + dx
                if y < 0 or y >= ny or x < 0 or x >= nx or done[y * nx + x]:
                    continue
                done[y * nx + x] = True
                if z[y, x] < floor:
                    z[y, x] = floor
                key = z[y, x]
                at = size
                size += 1
                while at > 0 and keys[(at - 1) // 2] > key:
                    keys[at] = keys[(at - 1) // 2]
                    cells[at] = cells[(at - 1) // 2]
                    at = (at - 1) // 2
                keys[at] = key
                cells[at] = y * nx + x


@compiled
def flow(z: Floats, base: Bools) -> tuple[Ints, Ints]:
    """Receiver of every cell (flat index, itself for base cells and pits), and a downstream order.

    In the order, every cell comes before its receiver.
    """
    ny, nx = z.shape
    n = ny * nx
    receiver = np.empty(n, np.int32)
    donors = np.zeros(n, np.int32)
    for y in range(ny):
        for x in range(nx):
            best = y * nx + x
            if not base[y, x]:
                steepest = np.float32(0.0)
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        yy, xx = y + dy, x + dx
                        if yy < 0 or yy >= ny or xx < 0 or xx >= nx:
                            continue
                        fall = z[y, x] - z[yy, xx]
                        if dy != 0 and dx != 0:
                            fall *= np.float32(0.70710678)
                        if fall > steepest:
                            steepest = fall
                            best = yy * nx + xx
            receiver[y * nx + x] = best
            if best != y * nx + x:
                donors[best] += 1
    order = np.empty(n, np.int32)
    head = 0
    for i in range(n):
        if donors[i] == 0:
            order[head] = i
            head += 1
    at = 0
    while at < head:
        i = order[at]
        at += 1
        r = receiver[i]
        if r != i:
            donors[r] -= 1
            if donors[r] == 0:
                order[head] = r
                head += 1
    return receiver, order


@compiled
def drained_cells(receiver: Ints, order: Ints) -> Floats:
    """Number of cells that drain through each cell, itself included, flat."""
    area = np.ones(receiver.size, np.float32)
    for i in order:
        if receiver[i] != i:
            area[receiver[i]] += area[i]
    return area


@compiled
def incise(
    z: Floats,
    receiver: Ints,
    order: Ints,
    area: Floats,
    power: Floats,
    steepest: Floats,
    cell_m: float,
    head: float,
) -> None:
    """One implicit step of stream power, then no fall steeper than `steepest` (tan), in place.

    `power` (y, x) is K·dt·cell^(2m) with m = 0.45: the factor before (cells drained)^m / distance.
    Channels begin where more than `head` cells drain; above, only the steepest fall limits.
    """
    nx = z.shape[1]
    for at in range(order.size - 1, -1, -1):
        i = order[at]
        r = receiver[i]
        if r == i:
            continue
        y, x, yr, xr = i // nx, i % nx, r // nx, r % nx
        distance = cell_m if y == yr or x == xr else 1.4142135 * cell_m
        level = z[y, x]
        if area[i] > head:
            cut = power[y, x] * (area[i] - np.float32(head)) ** np.float32(0.45) / distance
            level = (level + cut * z[yr, xr]) / (np.float32(1.0) + cut)
        ceiling = z[yr, xr] + steepest[y, x] * distance
        z[y, x] = min(level, ceiling)
