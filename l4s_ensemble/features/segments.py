"""Features of the segment that a pixel lies in: statistics, contrast to neighbours, shape.

A segment is what an interpreter would outline: pixels that are alike and lie together. Outlines are
made tile by tile, with some of the neighbourhood, so these features depend on the tiles that a
scene is cut into: a map computes them on tiles of one grid that is anchored to the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.scene_statistics import quantiles_of
from l4s_ensemble.features.tile_context import FeatureFunction, Field, TileContext
from l4s_ensemble.features.window import FloatImage

MARGIN_PX = 32
"""Neighbourhood that is outlined too, so that few segments of the tile are cut."""

INFRARED = ("ndvi", "bright", "bsi")
INFRARED_BANDS = ("B2", "B4", "B8", "B11")
VISIBLE = ("bright", "ri", "gli")
VISIBLE_BANDS = ("B2", "B3", "B4")
"""Fields that segments are outlined by, and the bands that they need."""

SCALE = 300.0
"""Felzenszwalb's scale in units of scikit-image: larger ones make larger segments.

On real true-colour tiles this divides a tile into about 300 segments. For a pixel classifier 150
are as good as 1000, and better than 2000; two scales are no better than one.
"""

SIGMA_PX = 0.8
LEAST_PX = 12

_HIGHEST = 6.0
_LEAST_SPREAD = 1e-4
_OBIA = "Blaschke 2010, doi:10.1016/j.isprsjprs.2009.06.004, object-based image analysis"
_OUTLINES = "outlines: Felzenszwalb & Huttenlocher 2004, doi:10.1023/B:VISI.0000022288.19776.77"
_SHAPE = Words("shape of the segment", "large or long segment", "small or round segment")

Statistic = NDArray[np.float64]
"""One number a segment, shape (segment,)."""


class Segments:
    """The segments of a tile, and statistics of them.

    Parameters
    ----------
    context : TileContext
        Its core and up to `MARGIN_PX` around it are outlined.
    """

    def __init__(self, context: TileContext) -> None:
        self.context = context
        self.margin = min(MARGIN_PX, context.margin)

    @cached_property
    def near(self) -> tuple[slice, ...]:
        """Where the labels lie in the context."""
        return tuple(slice(s.start - self.margin, s.stop + self.margin) for s in self.context.core)

    @cached_property
    def labels(self) -> NDArray[np.intp]:
        """Number of the segment of each pixel, from 0, shape (y + 2 margin, x + 2 margin)."""
        from skimage.segmentation import felzenszwalb

        scaled = []
        for name in fields_of(self.context):
            low, middle, high = quantiles_of(self.context.value(name))[[25, 50, 75]]
            spread = max(float(high - low) / 1.349, _LEAST_SPREAD)
            z = (self.context.field(name)[self.near] - middle) / spread
            scaled.append(np.clip(z, -_HIGHEST, _HIGHEST))
        picture = np.stack(scaled, axis=-1).astype(np.float64)
        if min(picture.shape[:2]) < 2:
            return np.zeros(picture.shape[:2], np.intp)
        found: NDArray[np.intp] = felzenszwalb(
            picture, scale=SCALE, sigma=SIGMA_PX, min_size=LEAST_PX, channel_axis=-1
        )
        return found

    @cached_property
    def pixels(self) -> Statistic:
        """Pixels of each segment."""
        return np.bincount(self.labels.ravel()).astype(np.float64)

    def _sum(self, values: NDArray[np.float64]) -> Statistic:
        return np.bincount(self.labels.ravel(), values, minlength=len(self.pixels)).astype(float)

    def _values(self, name: str) -> NDArray[np.float64]:
        return self.context.field(name)[self.near].ravel().astype(np.float64)

    def mean(self, name: str) -> Statistic:
        """Mean of a field in each segment."""
        return self._sum(self._values(name)) / self.pixels

    def deviation(self, name: str) -> Statistic:
        """Standard deviation of a field in each segment."""
        off = self._values(name) - self.mean(name)[self.labels.ravel()]
        deviation: Statistic = np.sqrt(self._sum(off * off) / self.pixels)
        return deviation

    @cached_property
    def _borders(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Labels on both sides of each edge between two pixels of different segments."""
        z = self.labels
        pairs = ((z[:, :-1], z[:, 1:]), (z[:-1], z[1:]))
        one = np.concatenate([a[a != b] for a, b in pairs])
        other = np.concatenate([b[a != b] for a, b in pairs])
        return np.concatenate([one, other]), np.concatenate([other, one])

    def minus_neighbours(self, name: str, steps: int) -> Statistic:
        """Mean of a field minus that of the adjoining segments, by the border shared with each.

        Parameters
        ----------
        steps : int
            2: what adjoins the neighbours. The edge of a bright scar is often a segment of its own,
            which hides the contrast from a single step.
        """
        here, there = self._borders
        shared = np.bincount(here, minlength=len(self.pixels))
        mean = self.mean(name)
        around = mean
        for _ in range(steps):
            total = np.bincount(here, around[there], minlength=len(self.pixels))
            around = np.asarray(np.where(shared > 0, total / np.maximum(shared, 1), around))
        return mean - around

    def area(self) -> Statistic:
        """log10 of the area in square metres."""
        area: Statistic = np.log10(self.pixels * self.context.pixel_m**2)
        return area

    def compactness(self) -> Statistic:
        """16 area / border²: 1 for a square, towards 0 for what is long, ragged or full of holes.

        The border counts edges of pixels, those of the picture included.
        """
        z = self.labels
        outer = np.concatenate([z[0], z[-1], z[:, 0], z[:, -1]])
        border = np.bincount(
            np.concatenate([self._borders[0], outer]), minlength=len(self.pixels)
        ).astype(np.float64)
        compact: Statistic = 16 * self.pixels / np.square(border)
        return compact

    def elongation(self) -> Statistic:
        """1 − short axis / long axis of the ellipse of the same second moments, within [0, 1)."""
        flat = self.labels.ravel()
        row, column = (g.ravel().astype(np.float64) for g in np.indices(self.labels.shape))
        x = column - (self._sum(column) / self.pixels)[flat]
        y = row - (self._sum(row) / self.pixels)[flat]
        # 1/12 px² is the variance within a pixel.
        xx, yy = (self._sum(a * a) / self.pixels + 1 / 12 for a in (x, y))
        half_gap = np.hypot((xx - yy) / 2, self._sum(x * y) / self.pixels)
        middle = (xx + yy) / 2
        short, long = np.maximum(middle - half_gap, 1 / 12), middle + half_gap
        elongation: Statistic = 1 - np.sqrt(short / long)
        return elongation

    def picture(self, statistic: Statistic) -> FloatImage:
        """Map a statistic of segments to the pixels of the core, float32 (y, x)."""
        m, (tall, wide) = self.margin, self.labels.shape
        return statistic.astype(np.float32)[self.labels[m : tall - m, m : wide - m]]


def fields_of(context: TileContext) -> tuple[str, ...]:
    """Names of the fields that segments are outlined by: with infrared where the sensor has it."""
    return INFRARED if set(INFRARED_BANDS) <= set(context.sensor.band_names) else VISIBLE


def functions(known: dict[str, Field]) -> list[FeatureFunction]:
    """The group ``segments``.

    Parameters
    ----------
    known : dict of str to Field
        All fields by name, bands included.
    """
    made = []
    for name in dict.fromkeys(INFRARED + VISIBLE):
        made += _of_field(known[name], () if name in INFRARED else INFRARED_BANDS)
    shapes: tuple[tuple[str, str, Callable[[Segments], Statistic]], ...] = (
        ("area_log10_m2", "log10 of the area in m²", Segments.area),
        ("elongation", "1 − short axis / long axis", Segments.elongation),
        ("compactness", "16 area / border²", Segments.compactness),
    )
    for what, formula, statistic in shapes:
        feature = Feature(
            f"segment_{what}", "segments", "1", VISIBLE_BANDS, f"{formula} of the segment",
            _OUTLINES, MARGIN_PX, _SHAPE, relational=True, by_tile=True,
        )  # fmt: skip
        made.append(_function(feature, statistic))
    return made


def _of_field(field: Field, superseded_by: tuple[str, ...]) -> list[FeatureFunction]:
    name, topic = field.name, f"{field.compared or field.words.topic} of the segment"
    more, less = (f"segment {word} than those around" for word in (field.more, field.less))
    around = Words(f"{topic} against its neighbours", more, less)
    mixed = Words("mixture in the segment", "mixed segment", "even segment")
    minus = f"mean of {name} in the segment − that"
    table: tuple[tuple[str, str, Callable[[Segments], Statistic], Words], ...] = (
        ("mean", f"mean of {name} in the segment", partial(Segments.mean, name=name), field.words),
        (
            "minus_neighbours", f"{minus} of adjoining segments, by shared border",
            partial(Segments.minus_neighbours, name=name, steps=1), around,
        ),
        (
            "minus_beyond", f"{minus} two borders away, by shared border",
            partial(Segments.minus_neighbours, name=name, steps=2), around,
        ),
        (
            "std", f"standard deviation of {name} in the segment",
            partial(Segments.deviation, name=name), mixed,
        ),
    )  # fmt: skip
    needs = tuple(dict.fromkeys((*field.needs, *VISIBLE_BANDS)))
    made = []
    for what, formula, statistic, words in table:
        feature = Feature(
            f"{name}_segment_{what}", "segments", field.unit, needs, formula, _OBIA,
            MARGIN_PX + field.support_px, words, superseded_by=superseded_by,
            expected=0 if words is mixed else field.expected,
            relational=what != "mean" or field.relational, by_tile=True,
        )  # fmt: skip
        made.append(_function(feature, statistic))
    return made


def _function(feature: Feature, statistic: Callable[[Segments], Statistic]) -> FeatureFunction:
    def image(context: TileContext) -> FloatImage:
        segments = context.shared(Segments)
        return segments.picture(statistic(segments))

    return FeatureFunction(feature, image)
