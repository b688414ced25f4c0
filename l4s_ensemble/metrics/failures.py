"""Errors of predictions by slope, elevation, brightness and distance to an edge.

The summary is a dict (counts are pixels unless said otherwise; a ratio without a denominator is
None)::

    threshold           of probability
    pixel_m             size of a pixel, metres
    by                  list of {key, title, unit, rows}. Rows: low, high (None = no bound), pixels,
                        landslide, tp, fp, fn, precision, recall, f1. Keys, as far as the sensor
                        has them: slope_deg, dem_m, brightness, tile_brightness (quintiles of
                        pixels, and of tiles), tile_edge_px (0 = outermost row or column)
    boundary            by distance to the boundary of a reference landslide, from either side,
                        in pixels: rows of low, high, tp, fp, fn, f1. Inside are the pixels found
                        and missed, outside the false ones; tiles without a landslide have no
                        boundary
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.objects import share

SLOPE_DEG = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, np.inf)
TILE_EDGE_PX = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)

BOUNDARY_PX = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, np.inf)
"""Bins of distance to the boundary, pixels; they hold their upper end."""

TITLES = {
    "slope_deg": ("slope", "degree"),
    "dem_m": ("elevation", "metre"),
    "brightness": ("brightness of the pixel, mean of red, green and blue", "unit of the bands"),
    "tile_brightness": ("brightness of the tile, its median", "unit of the bands"),
    "tile_edge_px": ("distance to the edge of the tile", "pixel"),
}
"""What each key means, and its unit."""


def quintiles(value: NDArray[Any]) -> list[float]:
    """Five bins with as many values each, open at both ends; fewer where values are equal."""
    limits = np.unique(np.quantile(value.astype(np.float64), [0.2, 0.4, 0.6, 0.8]))
    return [-np.inf, *limits.tolist(), np.inf]


def _by_distance() -> NDArray[np.int64]:
    return np.zeros((len(BOUNDARY_PX) - 1, 2), np.int64)


@dataclass
class FailureCounts:
    """Counts of pixels of some tiles; those of several parts add up.

    Attributes
    ----------
    edges : mapping of str to sequence of float
        Bins of each image that tiles are given with, and of ``tile_edge_px``: lower bounds, and the
        last one's upper bound.
    by : dict of str to int64 array, shape (bin, 4)
        Pixels by ``reference + 2 predicted``.
    tiles : list of int64 array, shape (4,)
        The same for each tile.
    brightness : list of float
        Median of each tile, where the image is given.
    inside, outside : int64 array, shape (distance, 2)
        Pixels and wrong pixels, by distance to the boundary of a reference landslide.
    """

    edges: Mapping[str, Sequence[float]]
    by: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    tiles: list[NDArray[np.int64]] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    inside: NDArray[np.int64] = field(default_factory=_by_distance)
    outside: NDArray[np.int64] = field(default_factory=_by_distance)

    def merge(self, other: FailureCounts) -> None:
        """Add the counts of other tiles."""
        for key, counts in other.by.items():
            self.by[key] = self.by.get(key, 0) + counts
        self.tiles += other.tiles
        self.brightness += other.brightness
        self.inside += other.inside
        self.outside += other.outside

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
        height, width = reference.shape
        y, x = np.arange(height)[:, None], np.arange(width)
        to_edge = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
        for key, value in {**images, "tile_edge_px": to_edge}.items():
            bins = len(self.edges[key]) - 1
            place = np.searchsorted(np.asarray(self.edges[key])[1:-1], value.ravel(), "right")
            counts = np.bincount(4 * place + kind, minlength=4 * bins).reshape(bins, 4)
            self.by[key] = self.by.get(key, 0) + counts.astype(np.int64)
        self.tiles.append(np.bincount(kind, minlength=4))
        if "brightness" in images:
            self.brightness.append(float(np.median(images["brightness"])))
        if reference.any():
            self._add_distances(reference, predicted)

    def _add_distances(self, reference: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
        from scipy.ndimage import distance_transform_edt

        inside = np.full(reference.size, np.inf)
        if not reference.all():
            inside = distance_transform_edt(reference)[reference]
        outside = distance_transform_edt(~reference)[~reference]
        for counts, distance, wrong in (
            (self.inside, inside, ~predicted[reference]),
            (self.outside, outside, predicted[~reference]),
        ):
            # Bins hold their upper end: a distance of 1 is a pixel beside the other class.
            place = np.searchsorted(BOUNDARY_PX[1:-1], distance, "left")
            for column, weights in enumerate((None, wrong)):
                counted = np.bincount(place, weights=weights, minlength=len(counts))
                counts[:, column] += counted.astype(np.int64)

    def summary(self, *, by_tile: bool) -> dict[str, Any]:
        """The parts ``by`` and ``boundary`` of the summary, see the module.

        Parameters
        ----------
        by_tile : bool
            Whether the brightness of tiles can be compared.
        """
        tables = [_table(key, edges, self.by[key]) for key, edges in self.edges.items()]
        if by_tile and self.brightness:
            edges = quintiles(np.array(self.brightness))
            place = np.searchsorted(edges[1:-1], self.brightness, "right")
            counts = np.zeros((len(edges) - 1, 4), np.int64)
            np.add.at(counts, place, np.stack(self.tiles))
            tables.insert(-1, _table("tile_brightness", edges, counts))
        boundary = []
        for bounds, (pixels, missed), fp in zip(
            pairwise(BOUNDARY_PX), self.inside.tolist(), self.outside[:, 1].tolist(), strict=True
        ):
            boundary.append(_bounds(*bounds) | _errors(pixels - missed, fp, missed))
        return {"by": tables, "boundary": boundary}


def _table(key: str, edges: Sequence[float], counts: NDArray[np.int64]) -> dict[str, Any]:
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
