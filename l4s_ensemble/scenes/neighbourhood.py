"""The eight neighbours of a patch where they are known, and the gains between tiles.

Neighbours and the protocol: no label is read across a seam. A tile to fit on may read the pixels
of a guard tile or of another fold's tiles; it never reads a tile that is held out (holdout), which
matters where the guard is switched off. Tiles without terrain are no neighbours: their elevation
would make a cliff at the seam.

Gains: adjoining tiles see the same ground at their seam. The median log ratio there, over pixels
and spectral bands, is the difference of their log-gains; least squares over all seams gives these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.counts import normalisation_factor
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.run.files import load_fields, save_fields
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.layout import AROUND, Layout, known_layout
from l4s_ensemble.scenes.profiles import AXES, read_lines

NEIGHBOURHOOD_FILE = "neighbourhood.npz"

SPREAD_MIN = 0.02
"""Log units added to the spread of a seam, so that no seam outweighs all others."""

PASSES = 4
"""Of the least squares, in which seams that do not fit the others lose weight."""

_KEY = 0x5EA4
"""Keeps these random numbers apart from others with the same seed."""

OPEN, HELD_OUT = 0, 1
"""Rows of `Neighbourhood.log_gain`: without tiles that are held out, and for these."""


@dataclass(frozen=True, eq=False)
class Neighbourhood(Layout):
    """Which tiles of a store adjoin, and how the reflectance of one is expressed in another's gain.

    Attributes
    ----------
    held_out : bool array, shape (tile,)
        Held out: read by tiles that are held out too, and by no others.
    silent : bool array, shape (tile,)
        Without terrain: no neighbour to any tile, and no tile is one to it.
    factor : float64 array, shape (tile,)
        Factor that `l4s_ensemble.data.counts.to_units` normalises the tile's gain with; 1 for
        absolute sensors.
    log_gain : float64 array, shape (2, tile)
        Log of the factor that brings spectral counts to one gain over all seams, measured without
        the tiles held out, and with them. The second row is used for tiles held out only. Zeros
        for absolute sensors.
    part : int64 array, shape (2, tile)
        Tiles whose gains seams connect have the same number.
    cross : bool
        Whether features read across seams at all.
    drop_share : float
        Share of the training tiles that are computed as if they stood alone.
    seed : int
        Of the draw of these.
    """

    held_out: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    factor: NDArray[np.float64]
    log_gain: NDArray[np.float64]
    part: NDArray[np.int64]
    cross: bool = True
    drop_share: float = 0.0
    seed: int = 0

    @cached_property
    def _cells(self) -> dict[tuple[int, int, int], int]:
        return {cell: tile for cell, tile in self.cells().items() if not self.silent[tile]}

    def neighbours(self, tile: int) -> dict[tuple[int, int], int]:
        """Positions of the known neighbours by their step in rows and columns."""
        if not self.cross or self.scene[tile] < 0 or self.silent[tile]:
            return {}
        scene, row, col = (int(a[tile]) for a in (self.scene, self.row, self.col))
        found = {}
        for down, right in AROUND:
            other = self._cells.get((scene, row + down, col + right))
            if other is not None and (self.held_out[tile] or not self.held_out[other]):
                found[down, right] = other
        return found

    def gain_factor(self, tile: int, other: int) -> float:
        """Factor that expresses the spectral counts of `other` in the units of `tile`.

        Where no seams connect the two, each keeps its own gain.
        """
        row = HELD_OUT if self.held_out[tile] else OPEN
        part, gain = self.part[row], self.log_gain[row]
        if part[tile] != part[other]:
            return float(self.factor[other])
        return float(self.factor[tile] * np.exp(gain[other] - gain[tile]))

    def dropped(self, tile: int) -> bool:
        """Whether the tile is fitted on as if it stood alone; depends on seed and id only."""
        if self.drop_share <= 0:
            return False
        draw = np.random.default_rng([self.seed, _KEY, int(self.patch[tile])])
        return bool(draw.random() < self.drop_share)

    def save(self, path: Path) -> None:
        """Write ``neighbourhood.npz``; the same bytes for the same content."""
        save_fields(path, self, compressed=False)


def load_neighbourhood(path: Path) -> Neighbourhood:
    """Read what `Neighbourhood.save` wrote.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    return load_fields(path, Neighbourhood, "run fit-all again")


def measure_neighbourhood(
    dataset: xr.Dataset,
    folds: Folds | None = None,
    *,
    cross: bool = True,
    drop_share: float = 0.0,
    seed: int = 0,
) -> Neighbourhood:
    """Find the neighbours in a store and, for a relative sensor, the gains over its seams.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `l4s_ensemble.data.store.open_store` or `l4s_ensemble.data.store.in_memory`.
    folds : Folds, optional
        Of the same tiles, for a training split: places, and which tiles are held out.
    cross, drop_share, seed
        See `Neighbourhood`.
    """
    sensor, n = sensor_of(dataset), dataset.sizes["patch"]
    patch = dataset["patch"].values.astype(np.int64)
    held_out = np.zeros(n, bool)
    if folds is None:
        layout = known_layout(dataset, sensor)
    else:
        places = (folds.of(patch, name) for name in ("scene", "row", "col"))
        layout = Layout(folds.grid, patch, *places)
        held_out = np.asarray(folds.of(patch, "role") == "holdout")
    factor, log_gain, part = np.ones(n), np.zeros((2, n)), np.zeros((2, n), np.int64)
    if sensor.radiometry == "relative" and cross and layout.placed.any():
        if dataset.attrs.get("values") != "unit":  # else every tile has one gain already
            factor = _factors(dataset, sensor)
        spectral = [name in set(sensor.spectral) for name in sensor.band_names]
        steps = seam_steps(dataset["image"], layout, spectral)
        log_gain[:], part[:] = _gains(steps, n)
        if held_out.any():
            log_gain[OPEN], part[OPEN] = _gains(steps.of(~held_out[steps.pairs].any(axis=1)), n)
    return Neighbourhood(
        **vars(layout),
        held_out=held_out,
        silent=np.asarray(dataset["degenerate"].values, bool),
        factor=factor,
        log_gain=log_gain,
        part=part,
        cross=cross,
        drop_share=drop_share,
        seed=seed,
    )


class SeamSteps(NamedTuple):
    """Steps of reflectance from tile to tile."""

    pairs: NDArray[np.intp]  # (seam, 2): positions of the adjoining tiles
    log_ratio: NDArray[np.float64]  # (seam,): median log of the first over the second
    spread: NDArray[np.float64]  # (seam,): its median absolute deviation

    def of(self, seams: ArrayLike) -> SeamSteps:
        """Some of the seams."""
        kept = np.flatnonzero(seams)
        return SeamSteps(self.pairs[kept], self.log_ratio[kept], self.spread[kept])

    def after(self, log_gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log ratios that remain once the gains are applied, shape (seam,)."""
        a, b = self.pairs.T
        return np.asarray(self.log_ratio + log_gain[a] - log_gain[b])


def seam_steps(images: Any, layout: Layout, spectral: ArrayLike | None = None) -> SeamSteps:
    """Measure the step of reflectance at every seam.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts; see `l4s_ensemble.scenes.seams.solve`.
    layout : Layout
        Of the same tiles, in the same order.
    spectral : array-like of bool, shape (band,), optional
        Bands of reflectance; default all.
    """
    bands = np.ones(images.shape[1], bool) if spectral is None else np.asarray(spectral, bool)
    lines, _ = read_lines(images, bands, taught=0)
    pairs, ratios, spreads = [], [], []
    for axis in AXES:
        line = lines[axis]
        for a, b in layout.pairs(axis):
            if line.last_silent[a, bands].all() or line.first_silent[b, bands].all():
                continue
            step = line.last[a, bands] - line.first[b, bands]
            middle = float(np.median(step))
            pairs.append((a, b))
            ratios.append(middle)
            spreads.append(float(np.median(np.abs(step - middle))))
    return SeamSteps(np.array(pairs, np.intp).reshape(-1, 2), np.array(ratios), np.array(spreads))


def harmonise(images: Any, layout: Layout) -> NDArray[np.float64]:
    """One log-gain a tile that takes the steps of reflectance out of the seams.

    Multiply the spectral bands of a tile by ``exp(log_gain)``.

    Parameters
    ----------
    images, layout
        As `seam_steps` takes them; all bands are of reflectance.

    Returns
    -------
    ndarray, shape (tile,)
        Mean zero over every group of tiles that seams connect; zero for a lone tile.
    """
    return _gains(seam_steps(images, layout), len(layout))[0]


def _gains(steps: SeamSteps, n: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Log-gains of n tiles from the steps at their seams, and the group that seams connect.

    Least squares over all seams, each weighted by how well it is known, with steps that do not fit
    the others (a cloud at the edge) losing weight.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import lsqr

    found = np.zeros(n)
    seams = len(steps.pairs)
    if not seams:
        return found, np.arange(n, dtype=np.int32)
    a, b = steps.pairs.T
    rows = np.tile(np.arange(seams), 2)
    columns = np.concatenate([a, b])
    certainty = 1 / (steps.spread + SPREAD_MIN)
    trust = np.ones(seams)
    for _ in range(PASSES):
        weight = certainty * np.sqrt(trust)
        matrix = coo_array((np.concatenate([weight, -weight]), (rows, columns)), shape=(seams, n))
        found = lsqr(matrix.tocsr(), -weight * steps.log_ratio, atol=1e-10, btol=1e-10)[0]
        left = np.abs(steps.after(found))
        trust = 1 / np.maximum(1, left / (2 * np.median(left) + 1e-9))  # Huber's weights
    graph = coo_array((np.ones(seams), (a, b)), shape=(n, n))
    group = connected_components(graph, directed=False)[1]
    mean = np.bincount(group, found) / np.bincount(group)
    return np.asarray(found - mean[group], np.float64), group


def _factors(dataset: xr.Dataset, sensor: Sensor) -> NDArray[np.float64]:
    """Factor that normalises the gain of each tile by itself."""
    spectral = [sensor.band_names.index(name) for name in sensor.spectral]
    scale = sensor.count_to_unit[spectral][:, np.newaxis, np.newaxis]
    images = dataset["image"].variable
    factors = np.ones(dataset.sizes["patch"])
    for t in range(len(factors)):
        counts = np.asarray(images[t].values)[spectral].astype(np.float32)
        counts *= scale
        factors[t] = np.float32(normalisation_factor(counts))
    return factors
