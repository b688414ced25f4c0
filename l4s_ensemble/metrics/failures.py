"""Errors of predictions by slope, elevation, brightness and distance to an edge.

`l4s_ensemble.metrics.summary.Failures` says what the summary holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.objects import share

SLOPE_DEG = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, np.inf)
TILE_EDGE_PX = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)

BOUNDARY_PX = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, np.inf)
"""Bins of distance to the boundary, pixels; they hold their upper end: a distance of 1 is a pixel
beside the other class."""

TITLES = {
    "slope_deg": ("slope", "degree"),
    "dem_m": ("elevation", "metre"),
    "brightness": ("brightness of the pixel, mean of red, green and blue", "unit of the bands"),
    "tile_brightness": ("brightness of the tile, its median", "unit of the bands"),
    "tile_edge_px": ("distance to the edge of the tile", "pixel"),
}
"""What each key means, and its unit."""

Table = NDArray[np.int64]
"""Pixels by bin and by ``reference + 2 predicted``, shape (bin, 4)."""


def quintiles(value: NDArray[Any]) -> list[float]:
    """Five bins with as many values each, open at both ends; fewer where values are equal."""
    limits = np.unique(np.quantile(value.astype(np.float64), [0.2, 0.4, 0.6, 0.8]))
    return [-np.inf, *limits.tolist(), np.inf]


@dataclass
class FailureCounts:
    """Counts of pixels of some tiles; those of several parts add up.

    Attributes
    ----------
    edges : mapping of str to sequence of float
        Bins of each image that tiles are given with, and of ``tile_edge_px``: lower bounds, and the
        last one's upper bound.
    by : dict of str to Table
    boundary : Table
        By distance to the boundary of a reference landslide, from either side.
    tiles : list of (float, int64 array of shape (4,))
        Median brightness and pixels by kind of each tile, where the image is given.
    """

    edges: Mapping[str, Sequence[float]]
    by: dict[str, Table] = field(default_factory=dict)
    boundary: Table = field(default_factory=lambda: np.zeros((len(BOUNDARY_PX) - 1, 4), np.int64))
    tiles: list[tuple[float, Table]] = field(default_factory=list)

    def merge(self, other: FailureCounts) -> None:
        """Add the counts of other tiles."""
        for key, counts in other.by.items():
            self.by[key] = self.by.get(key, 0) + counts
        self.boundary = self.boundary + other.boundary
        self.tiles += other.tiles

    def add_tile(
        self,
        reference: NDArray[np.bool_],
        predicted: NDArray[np.bool_],
        images: Mapping[str, NDArray[Any]],
    ) -> None:
        """Count one tile.

        Parameters
        ----------
        reference, predicted : bool array, shape (y, x)
        images : mapping of str to array, shape (y, x)
            Values to count by, by the keys of `TITLES`.
        """
        kind = (reference + 2 * predicted.astype(np.int64)).ravel()
        y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in reference.shape)
        values = {**images, "tile_edge_px": np.minimum(y[:, np.newaxis], x)}
        by = {key: _count(value, kind, self.edges[key]) for key, value in values.items()}
        tiles = []
        if "brightness" in images:
            tiles = [(float(np.median(images["brightness"])), np.bincount(kind, minlength=4))]
        boundary = np.zeros_like(self.boundary)
        if reference.any():
            boundary = _count(_to_boundary(reference), kind, BOUNDARY_PX, "left")
        self.merge(FailureCounts(self.edges, by, boundary, tiles))

    def summary(self, *, by_tile: bool) -> dict[str, Any]:
        """The parts ``by`` and ``boundary`` of the summary.

        Parameters
        ----------
        by_tile : bool
            Whether the brightness of tiles can be compared.
        """
        tables = [_table(key, edges, self.by[key]) for key, edges in self.edges.items()]
        if by_tile and self.tiles:
            brightness, kinds = (np.array(column) for column in zip(*self.tiles, strict=True))
            edges = quintiles(brightness)
            counts = np.zeros((len(edges) - 1, 4), np.int64)
            np.add.at(counts, np.searchsorted(edges[1:-1], brightness, "right"), kinds)
            tables.insert(-1, _table("tile_brightness", edges, counts))
        rows = zip(pairwise(BOUNDARY_PX), self.boundary.tolist(), strict=True)
        boundary = [_bounds(*bounds) | _errors(tp, fp, fn) for bounds, (_, fn, fp, tp) in rows]
        return {"by": tables, "boundary": boundary}


def _count(
    value: NDArray[Any],
    kind: NDArray[np.int64],
    edges: Sequence[float],
    side: Literal["left", "right"] = "right",
) -> Table:
    """Count pixels by bin of a value; bins hold their lower end, with `side` "left" the upper."""
    bins = len(edges) - 1
    place = np.searchsorted(np.asarray(edges)[1:-1], value.ravel(), side)
    return np.bincount(4 * place + kind, minlength=4 * bins).reshape(bins, 4).astype(np.int64)


def _to_boundary(reference: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each pixel to the nearest of the other class, pixels; infinite without one."""
    from scipy.ndimage import distance_transform_edt

    if reference.all():
        return np.full(reference.shape, np.inf)
    inside, outside = distance_transform_edt(reference), distance_transform_edt(~reference)
    return np.asarray(np.where(reference, inside, outside))


def _table(key: str, edges: Sequence[float], counts: Table) -> dict[str, Any]:
    title, unit = TITLES[key]
    rows = []
    for bounds, (tn, fn, fp, tp) in zip(pairwise(edges), counts.tolist(), strict=True):
        pixels = {"pixels": tn + fn + fp + tp, "landslide": fn + tp}
        scores = {"precision": share(tp, tp + fp), "recall": share(tp, tp + fn)}
        rows.append(_bounds(*bounds) | pixels | scores | _errors(tp, fp, fn))
    return {"key": key, "title": title, "unit": unit, "rows": rows}


def _bounds(low: float, high: float) -> dict[str, float | None]:
    """Bounds of a bin for a summary: None where there is none."""
    return {k: None if np.isinf(v) else float(v) for k, v in (("low", low), ("high", high))}


def _errors(tp: int, fp: int, fn: int) -> dict[str, Any]:
    return {"tp": tp, "fp": fp, "fn": fn, "f1": share(2 * tp, 2 * tp + fp + fn)}
