"""Bring tiles of unknown level to one level: a single log-gain a tile, from the seams.

Adjoining tiles see the same ground at their seam. The median log ratio there, over pixels and
spectral bands, is the difference of their gains; least squares over all seams gives the gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.profiles import AXES, read_lines

SPREAD_MIN = 0.02
"""Log units added to the spread of a seam, so that no seam outweighs all others."""
PASSES = 4


@dataclass(frozen=True)
class SeamSteps:
    """Steps of brightness from tile to tile.

    Attributes
    ----------
    pairs : ndarray of int, shape (seam, 2)
        Positions of the adjoining tiles.
    log_ratio : ndarray, shape (seam,)
        Median of the log of the first over the second, at the seam.
    spread : ndarray, shape (seam,)
        Median absolute deviation of the same.
    """

    pairs: NDArray[np.intp]
    log_ratio: NDArray[np.float64]
    spread: NDArray[np.float64]

    def after(self, log_gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log ratios that remain once the gains are applied, shape (seam,)."""
        a, b = self.pairs.T
        return np.asarray(self.log_ratio + log_gain[a] - log_gain[b])


def seam_steps(images: Any, placement: Placement, spectral: Any = None) -> SeamSteps:
    """Measure the step of brightness at every seam.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts; see `l4s_ensemble.scenes.seams.solve`.
    placement : Placement
        Of the same tiles, in the same order.
    spectral : array-like of bool, shape (band,), optional
        Bands that measure light; default all.

    Raises
    ------
    DataError
        If the placement is of another number of tiles.
    """
    if len(images) != len(placement):
        raise DataError("the placement is not of these tiles", found=len(placement),
                        allowed=len(images))  # fmt: skip
    bands = np.ones(images.shape[1], bool) if spectral is None else np.asarray(spectral, bool)
    lines, _ = read_lines(images, bands, taught=0)
    pairs, ratios, spreads = [], [], []
    for axis in AXES:
        line = lines[axis]
        for a, b in placement.pairs(axis):
            if line.last_silent[a, bands].all() or line.first_silent[b, bands].all():
                continue
            step = line.last[a, bands] - line.first[b, bands]
            middle = float(np.median(step))
            pairs.append((a, b))
            ratios.append(middle)
            spreads.append(float(np.median(np.abs(step - middle))))
    return SeamSteps(np.array(pairs, np.intp).reshape(-1, 2), np.array(ratios), np.array(spreads))


def harmonise(images: Any, placement: Placement, spectral: Any = None) -> NDArray[np.float64]:
    """One log-gain a tile that takes the steps of brightness out of the seams.

    Least squares over all seams, each weighted by how well it is known, with steps that do not fit
    the others (a cloud at the rim) losing weight. Multiply the spectral bands of a tile by
    ``exp(log_gain)``.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts.
    placement : Placement
        Of the same tiles, in the same order.
    spectral : array-like of bool, shape (band,), optional
        Bands that measure light; default all.

    Returns
    -------
    ndarray, shape (tile,)
        Mean zero over every group of tiles that seams connect; zero for a lone tile.
    """
    return gains(seam_steps(images, placement, spectral), len(placement))[0]


def gains(steps: SeamSteps, n: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Log-gains of n tiles from the steps at their seams, see `harmonise`, and connected groups.

    Returns
    -------
    log_gain : ndarray, shape (tile,)
    group : ndarray of int, shape (tile,)
        Tiles that seams connect have the same number.
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
