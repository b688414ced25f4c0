"""The ground of a made-up scene: ranges carved by rivers, valleys filled by them.

A fractal surface is carved by a trunk river and its tributaries, at 50 m and then at 25 m cells;
slopes too steep to stand are cut back; valley floors are flattened; the whole is scaled to the
steepness that the scene asks for. Real elevation in the released files is as smooth as this: a
30 m model resampled to 12.5 m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.compiled import compiled
from l4s_ensemble.sources.erosion import drained_cells, fill_pits, flow, incise
from l4s_ensemble.sources.noise import enlarge, fractal

CELL_M = 25.0
HEAD = 14.0

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Terrain:
    """Ground on a grid of 25 m cells.

    Attributes
    ----------
    dem_m : ndarray of float32, shape (y, x)
    fine_m : ndarray of float32, shape (2 y, 2 x)
        The same ground with its gullies, on 12.5 m cells: what the sun and water see, but not
        the elevation model, which is as coarse as the real one.
    receiver, order : ndarray of int32
        The cell that each cell drains to (flat index), and an order upstream first.
    drained_km2 : ndarray of float32, shape (y, x)
        Area above each cell; along the trunk river it counts the land outside the scene too.
    above_river_m : ndarray of float32, shape (y, x)
        Height above the channel that the cell drains to.
    trunk_px : ndarray of float64, shape (point, 2)
        The trunk river, downstream, as (y, x) in cells.
    """

    dem_m: Floats
    fine_m: Floats
    receiver: NDArray[np.int32]
    order: NDArray[np.int32]
    drained_km2: Floats
    above_river_m: Floats
    trunk_px: NDArray[np.float64]


def make_terrain(shape: tuple[int, int], climate: Climate, rng: np.random.Generator) -> Terrain:
    """Make the ground of `shape` 25 m cells, both even."""
    half = (shape[0] // 2, shape[1] // 2)
    path = _trunk(half, rng)
    trunk, z = _first_surface(half, path, rng)
    rock = np.exp(0.5 * fractal(half, 1.2, rng, longest=60)).astype(np.float32)
    stand = np.tan(np.radians(36 + 11 * fractal(half, 0.9, rng, longest=30, shortest=2)))
    stand = np.clip(stand, 0.25, 1.7).astype(np.float32)
    base = trunk | _rim(half)
    for step in range(36):
        if step % 9 == 0:
            fill_pits(z, base, 0.3)
        z += np.float32(18.0) * ~base
        _carve(z, base, rock * np.float32(7.0), stand, 2 * CELL_M, HEAD)
        z = _creep(z, base, 0.12)
    z = enlarge(z, shape, 0.5)
    trunk, rock, stand = (np.kron(a, np.ones((2, 2), a.dtype)) for a in (trunk, rock, stand))
    z += np.float32(9.0) * fractal(shape, 1.6, rng, longest=32)
    base = trunk | _rim(shape)
    for step in range(8):
        if step % 4 == 0:
            fill_pits(z, base, 0.1)
        z += np.float32(2.0) * ~base
        _carve(z, base, rock * np.float32(4.0), stand, CELL_M, 6.0)
        z = _creep(z, base, 0.10)
    z += np.float32(7.0) * fractal(shape, 1.1, rng, longest=20)
    z *= np.float32(climate.steepness / _median_tan(z))
    z = _flatten_valleys(z, base, climate, rng)
    fill_pits(z, base, 0.02)
    receiver, order = flow(z, base)
    area = drained_cells(receiver, order).reshape(shape) * np.float32((CELL_M / 1000) ** 2)
    above = z - channel_level(z, receiver, order, area, 0.35)
    z += np.float32(climate.lowest_m - z.min())
    fine = _gullies(z, base, rng)
    return Terrain(z, fine, receiver, order, area, above, 2 * path + 0.5)


@compiled
def channel_level(
    z: Floats, receiver: NDArray[np.int32], order: NDArray[np.int32], area: Floats, least: float
) -> Floats:
    """Elevation of the first cell downstream that drains at least `least`, or of the flow's end."""
    level = np.empty_like(z)
    nx = z.shape[1]
    for at in range(order.size - 1, -1, -1):
        i = order[at]
        y, x = i // nx, i % nx
        r = receiver[i]
        if r == i or area[y, x] >= least:
            level[y, x] = z[y, x]
        else:
            level[y, x] = level[r // nx, r % nx]
    return level


def _trunk(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A meandering line across the grid, points (y, x) at most half a cell apart."""
    ny, nx = shape
    n = 6 * max(ny, nx)
    t = np.linspace(0, 1, n)
    bends = np.cumsum(rng.standard_normal(n))
    bends -= np.linspace(bends[0], bends[-1], n)
    wide = np.convolve(bends, np.hanning(n // 9 + 3), "same")
    noise = rng.standard_normal((2, n))
    loops = max(3, n // int(rng.integers(30, 60)))
    tight = np.convolve(noise[0], np.hanning(n // loops + 3), "same")
    tight += 0.4 * np.convolve(noise[1], np.hanning(n // (3 * loops) + 3), "same")
    across = rng.uniform(0.3, 0.7) + 0.22 * wide / np.abs(wide).max()
    across += rng.uniform(1.5, 3.5) / min(ny, nx) * tight / tight.std()
    drift = rng.uniform(-0.2, 0.2) * (t - 0.5)
    across = np.clip(across + drift, 0.04, 0.96)
    if rng.random() < 0.5:
        t = 1 - t
    if nx >= ny:
        return np.stack([across * (ny - 1), t * (nx - 1)], 1)
    return np.stack([t * (ny - 1), across * (nx - 1)], 1)


def _first_surface(
    shape: tuple[int, int], path: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats]:
    """The surface before the rivers come, and where the trunk is set into it."""
    from scipy import ndimage

    trunk = np.zeros(shape, bool)
    cells = np.rint(path).astype(int)
    trunk[cells[:, 0], cells[:, 1]] = True
    fall_m = np.full(shape, np.nan)
    metres = rng.uniform(0.006, 0.02) * 2 * CELL_M * np.arange(len(path))[::-1] / 6
    fall_m[cells[:, 0], cells[:, 1]] = metres
    distance, (iy, ix) = ndimage.distance_transform_edt(~trunk, return_indices=True)
    level = fall_m[iy, ix]
    bank = 1 - np.exp(-distance / 8.0)
    hills = 260 + 190 * fractal(shape, 1.9, rng, longest=120)
    z = level + np.maximum(hills, 20.0) * bank
    z[trunk] = level[trunk]
    return trunk, z.astype(np.float32)


def _gullies(z: Floats, base: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Ground on cells half as large, with gullies of some metres."""
    from scipy import ndimage

    shape = (2 * z.shape[0], 2 * z.shape[1])
    fine = enlarge(z, shape, 0.5)
    fine += np.float32(3.0) * fractal(shape, 1.3, rng, longest=16)
    fixed = np.kron(base, np.ones((2, 2), bool))
    power = np.full(shape, 2.5, np.float32)
    stand = np.full(shape, 2.0, np.float32)
    for _ in range(3):
        _carve(fine, fixed, power, stand, CELL_M / 2, 3.0)
    return np.asarray(ndimage.gaussian_filter(fine, 0.75), dtype=np.float32)


def _rim(shape: tuple[int, int]) -> NDArray[np.bool_]:
    rim = np.zeros(shape, bool)
    rim[0], rim[-1], rim[:, 0], rim[:, -1] = True, True, True, True
    return rim


def _carve(
    z: Floats,
    base: NDArray[np.bool_],
    power: Floats,
    stand: Floats,
    cell_m: float,
    head: float,
) -> None:
    receiver, order = flow(z, base)
    incise(z, receiver, order, drained_cells(receiver, order), power, stand, cell_m, head)


def _creep(z: Floats, base: NDArray[np.bool_], rate: float) -> Floats:
    """Soil creeps: one explicit step of diffusion, base cells kept."""
    from scipy import ndimage

    out = z + np.float32(rate) * ndimage.laplace(z)
    out[base] = z[base]
    return np.asarray(out, dtype=np.float32)


def _median_tan(z: Floats) -> float:
    gy, gx = np.gradient(z, CELL_M)
    return float(np.median(np.hypot(gy, gx)))


def _flatten_valleys(
    z: Floats, base: NDArray[np.bool_], climate: Climate, rng: np.random.Generator
) -> Floats:
    """Fill valley floors: low ground beside a river comes down to a terrace, hills stay."""
    from scipy import ndimage

    fill_pits(z, base, 0.05)
    receiver, order = flow(z, base)
    area = drained_cells(receiver, order).reshape(z.shape) * np.float32((CELL_M / 1000) ** 2)
    level = channel_level(z, receiver, order, area, 1.5)
    width = np.clip(0.6 + 0.8 * fractal(z.shape, 1.5, rng, longest=120), 0.05, None)
    terrace = np.float32(climate.plains_m) * width
    height = z - level
    out = z - terrace * (1 - np.exp(-height / terrace))
    return np.asarray(ndimage.gaussian_filter(out, 0.7), dtype=np.float32)
