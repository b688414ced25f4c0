"""Segments of a tile: outlines, and their sums, neighbours and shapes, each made once.

A segment is what an interpreter would outline: pixels that are alike and lie together. Outlines are
those of Felzenszwalb & Huttenlocher 2004 (doi:10.1023/B:VISI.0000022288.19776.77) in scikit-image,
over three telling fields that are scaled by the tile's own median and spread.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.facts import TileFacts, telling
from l4s_ensemble.features.recipe import FloatImage

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

MARGIN_PX = 32
"""Surroundings that are outlined too, so that few segments of the core are cut."""

RICH = ("ndvi", "bright", "bsi")
VISIBLE = ("bright", "ri", "gli")

SCALE = 300.0
"""Felzenszwalb's scale in units of scikit-image: larger ones make larger segments.

On real true-colour tiles this divides a tile into about 300 segments, measured on 60 of them.
On 150, joined with context features, it helps a pixel classifier as much as 1000, more than 2000;
two scales are no better than one. Superpixels (SLIC) and watersheds of the gradient need two to
three times as many segments for outlines as good.
"""

SIGMA_PX = 0.8
LEAST_PX = 12

_Z_BOUND = np.float32(6.0)
_LEAST_SPREAD = np.float32(1e-4)
# Squared horizontal normal: a mean slope below about 1 degree has no direction.
_LEVEL = 4e-4

Sums = NDArray[np.float64]


def fields_of(canvas: Canvas) -> tuple[str, ...]:
    """Names of the fields that tell segments apart: with infrared where the sensor has it."""
    return RICH if set(RICH) <= set(telling(canvas.sensor)) else VISIBLE


def outline(picture: NDArray[np.float64]) -> NDArray[np.intp]:
    """Divide a picture into segments.

    Parameters
    ----------
    picture : float64 array, shape (y, x, field)
        Fields in units of their spread.

    Returns
    -------
    int array, shape (y, x)
        Labels 0, 1, …, all of them in use.
    """
    from skimage.segmentation import felzenszwalb

    if min(picture.shape[:2]) < 2:
        return np.zeros(picture.shape[:2], np.intp)
    labels: NDArray[np.intp] = felzenszwalb(
        picture, scale=SCALE, sigma=SIGMA_PX, min_size=LEAST_PX, channel_axis=-1
    )
    return labels


def segments(canvas: Canvas) -> Segments:
    """Give the segments of a canvas, outlined at most once."""
    return canvas.remember(("segments",), lambda: _segments(canvas))


def _segments(canvas: Canvas) -> Segments:
    margin = min(MARGIN_PX, canvas.margin)
    near = tuple(slice(s.start - margin, s.stop + margin) for s in canvas.core)
    facts = TileFacts(canvas)
    scaled = []
    for name in fields_of(canvas):
        usual = facts.field(name)
        spread = np.maximum(np.float32(usual.spread), _LEAST_SPREAD)
        z = (canvas.field(name)[near] - np.float32(usual.median)) / spread
        scaled.append(np.clip(z, -_Z_BOUND, _Z_BOUND))
    labels = outline(np.stack(scaled, axis=-1).astype(np.float64))
    return Segments(labels, near, margin)


class Segments:
    """A picture of labels, and statistics of each of its segments as arrays (segment,).

    Parameters
    ----------
    labels : int array, shape (y + 2 margin, x + 2 margin)
        0, 1, …, all of them in use.
    near : tuple of two slices
        Where the labels lie in the canvas.
    margin : int
        Pixels of the labels beyond the core, on each side.
    """

    def __init__(self, labels: NDArray[np.intp], near: tuple[slice, ...], margin: int) -> None:
        self.labels = labels
        self.near = near
        self.margin = margin
        self._flat = labels.ravel()
        self.count = int(self._flat.max()) + 1
        self.pixels: Sums = np.bincount(self._flat, minlength=self.count).astype(np.float64)
        self._means: dict[str, Sums] = {}
        self._extremes: dict[str, tuple[Sums, Sums]] = {}

    def spread(self, statistic: Sums) -> FloatImage:
        """Give each pixel of the core the statistic of its segment, float32 (y, x)."""
        m = self.margin
        tall, wide = self.labels.shape
        core = self.labels[m : tall - m, m : wide - m]
        return statistic.astype(np.float32)[core]

    def values(self, canvas: Canvas, name: str) -> NDArray[np.float64]:
        """Pixels of a field where the segments are, in the order of the labels' pixels."""
        return canvas.field(name)[self.near].ravel().astype(np.float64)

    def _sum(self, values: NDArray[np.float64]) -> Sums:
        return np.asarray(np.bincount(self._flat, values, minlength=self.count), np.float64)

    def mean(self, canvas: Canvas, name: str) -> Sums:
        """Mean of a field."""
        if name not in self._means:
            self._means[name] = self._sum(self.values(canvas, name)) / self.pixels
        return self._means[name]

    def deviation(self, canvas: Canvas, name: str) -> Sums:
        """Standard deviation of a field inside."""
        off = self.values(canvas, name) - self.mean(canvas, name)[self._flat]
        deviation: Sums = np.sqrt(self._sum(off * off) / self.pixels)
        return deviation

    def extremes(self, canvas: Canvas, name: str) -> tuple[Sums, Sums]:
        """Least and greatest value of a field inside."""
        if name not in self._extremes:
            values = self.values(canvas, name)
            low, high = np.full(self.count, np.inf), np.full(self.count, -np.inf)
            np.minimum.at(low, self._flat, values)
            np.maximum.at(high, self._flat, values)
            self._extremes[name] = low, high
        return self._extremes[name]

    @cached_property
    def _borders(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Labels on both sides of each edge between two pixels of different segments."""
        z = self.labels
        pairs = ((z[:, :-1], z[:, 1:]), (z[:-1], z[1:]))
        one = np.concatenate([a[a != b] for a, b in pairs])
        other = np.concatenate([b[a != b] for a, b in pairs])
        return np.concatenate([one, other]), np.concatenate([other, one])

    def _around(self, statistic: Sums) -> Sums:
        """Mean over the adjoining segments, weighted by the border shared; its own without any."""
        here, there = self._borders
        shared = np.bincount(here, minlength=self.count)
        total = np.bincount(here, statistic[there], minlength=self.count)
        around = np.where(shared > 0, total / np.maximum(shared, 1), statistic)
        return np.asarray(around, np.float64)

    def minus_neighbours(self, canvas: Canvas, name: str, steps: int = 1) -> Sums:
        """Mean minus the mean of the adjoining segments, weighted by the border shared with each.

        Parameters
        ----------
        canvas : Canvas
        name : str
            Field.
        steps : int
            2: the mean of what adjoins the neighbours. The edge of a bright scar is often a
            segment of its own, which hides the contrast from a single step.
        """
        mean = around = self.mean(canvas, name)
        for _ in range(steps):
            around = self._around(around)
        return mean - around

    @property
    def compactness(self) -> Sums:
        """16 area / border²: 1 for a square, towards 0 for what is long, ragged or full of holes.

        The border counts edges of pixels, the rim of the picture included.
        """
        z = self.labels
        rim = np.concatenate([z[0], z[-1], z[:, 0], z[:, -1]])
        border = np.bincount(np.concatenate([self._borders[0], rim]), minlength=self.count)
        compact: Sums = 16 * self.pixels / np.square(border.astype(np.float64))
        return compact

    @cached_property
    def _ellipse(self) -> tuple[Sums, Sums, Sums, Sums]:
        """Axes' variances (long, short), px², and twice the long axis' angle as (cos, sin) × gap.

        The angle runs from east to north. 1/12 px² is the variance within a pixel.
        """
        row, column = (g.ravel().astype(np.float64) for g in np.indices(self.labels.shape))
        east = column - (self._sum(column) / self.pixels)[self._flat]
        north = (self._sum(row) / self.pixels)[self._flat] - row
        ee = self._sum(east * east) / self.pixels + 1 / 12
        nn = self._sum(north * north) / self.pixels + 1 / 12
        en = self._sum(east * north) / self.pixels
        half_gap = np.hypot((ee - nn) / 2, en)
        middle = (ee + nn) / 2
        return middle + half_gap, np.maximum(middle - half_gap, 1 / 12), (ee - nn) / 2, en

    @cached_property
    def elongation(self) -> Sums:
        """1 − short axis / long axis of the ellipse of the same second moments, within [0, 1)."""
        long, short, _, _ = self._ellipse
        elongation: Sums = 1 - np.sqrt(short / long)
        return elongation

    @property
    def length_px(self) -> Sums:
        """Long axis of that ellipse, pixels."""
        length: Sums = 4 * np.sqrt(self._ellipse[0])
        return length

    def along_slope(self, canvas: Canvas) -> Sums:
        """Elongation × cos 2Δ, Δ between the long axis and the mean downslope direction.

        Positive where it runs downhill, negative where it follows the contour, within (−1, 1).
        """
        _, _, c, s = self._ellipse
        # The horizontal part of the normal points down the slope.
        east, north = self.mean(canvas, "eastness"), self.mean(canvas, "northness")
        twice_c, twice_s = east * east - north * north, 2 * east * north
        size = np.maximum(np.hypot(c, s), 1e-12) * (east * east + north * north + _LEVEL)
        along: Sums = self.elongation * (c * twice_c + s * twice_s) / size
        return along
