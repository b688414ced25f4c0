"""One tile with its neighbourhood, and cached images derived from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.features import kernels
from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.scene_statistics import SceneStatistics, quantiles_of
from l4s_ensemble.features.window import FloatImage, Window

REFLECTANCE_PER_DN = np.float32(1e-4)
NORMALISED_PER_UNIT = np.float32(1e-3)
"""Relative sensors: the median of a tile is 1000 units, so 1 after this factor."""

HIGHEST_REFLECTANCE = 100.0
"""Reflectance is clipped here. Values above 6.5 does not fit the files."""

HIGHEST_M = 2e4
"""Elevation is clipped here, up and down."""

STRIDE_PX = 8
"""Every 8th pixel in both directions: nearer ones say little more."""

T = TypeVar("T")

_Tables = tuple[NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=32)
def gaussian_weights(sigma: float) -> NDArray[np.float32]:
    """Right half of a Gaussian kernel cut at 4 sigma, as `scipy.ndimage.gaussian_filter` cuts."""
    x = np.arange(gaussian_radius(sigma) + 1)
    half = np.exp(-0.5 * (x / sigma) ** 2)
    weights: NDArray[np.float64] = half / (2 * half.sum() - half[0])
    return weights.astype(np.float32)


def gaussian_radius(sigma: float) -> int:
    """Reach of `gaussian_weights`, pixels."""
    return int(4 * sigma + 0.5)


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Free one large array, once per process: half the time of a patch, on Linux.

    glibc gives memory back to the system when a tile is done, and the next one pays for
    the same pages again. Freeing a block just below 32 MiB raises the size that it keeps.
    """
    np.empty(31 << 20, np.uint8)


@dataclass(frozen=True)
class Field:
    """A picture over the whole tile context that several features share."""

    name: str
    needs: tuple[str, ...]  # bands it reads
    support_px: int  # how far it reads; features of it add their own reach
    # The picture of all of a tile context; its outermost `support_px` pixels are not exact.
    image: Callable[[TileContext], FloatImage]
    words: Words  # of its own value
    unit: str = "1"
    more: str = "higher"  # comparatives of a high and a low value: greener, barer
    less: str = "lower"
    compared: str = ""  # topic of comparisons; of fields that compare the same from two sides, one
    expected: int = 0  # see `Feature`; means, extremes and differences of the field inherit it
    relational: bool = False  # see `Feature`


class TileContext:
    """A tile (the core) within a margin of pixels around it.

    Fields are pictures over all of it; the window operators give pictures of the core.
    Each is made at most once.

    Parameters
    ----------
    window : Window
        The tile; it is asked for the bands that are needed, once each.
    margin : int
        Pixels of the neighbourhood on each side.
    fields : mapping of str to Field
        What `field` can make.
    statistics : SceneStatistics, optional
        Of the scene that the tile lies in; see `quantiles`.

    Raises
    ------
    DataError
        By the operators, if a band is not finite.
    """

    def __init__(
        self,
        window: Window,
        sensor: Sensor,
        margin: int,
        fields: Mapping[str, Field],
        statistics: SceneStatistics | None = None,
    ) -> None:
        _keep_freed_memory()
        self.sensor = sensor
        self.margin = margin
        self._window = window
        self.height, self.width = self._window.size
        self.core = (slice(margin, margin + self.height), slice(margin, margin + self.width))
        self._fields = fields
        self._statistics = statistics
        self._memo: dict[object, FloatImage] = {}
        self._shared: dict[object, Any] = {}
        self._quantiles: dict[str, NDArray[np.float32]] = {}
        self._tables: dict[str, _Tables] = {}
        self._index = {name: i for i, name in enumerate(sensor.band_names)}

    @property
    def pixel_m(self) -> float:
        """Edge of a pixel, metres."""
        return self.sensor.pixel_m

    def quantiles(self, name: str) -> NDArray[np.float32]:
        """Quantiles of a field in the scene; in the core where the scene is not known."""
        if self._statistics is not None:
            return self._statistics.of(name)
        if name not in self._quantiles:
            self._quantiles[name] = quantiles_of(self.value(name))
        return self._quantiles[name]

    def field(self, name: str) -> FloatImage:
        """Give a band or a field over the whole context, shape (y + 2 margin, x + 2 margin)."""
        found = self._memo.get(name)
        if found is None:
            found = np.ascontiguousarray(self._make(name), dtype=np.float32)
            self._memo[name] = found
        return found

    def value(self, name: str) -> FloatImage:
        """Give a band or a field over the core, shape (y, x)."""
        return self.field(name)[self.core]

    def _make(self, name: str) -> FloatImage:
        if name not in self._index:
            return self._fields[name].image(self)
        i = self._index[name]
        # Reflectance is not negative. The bounds keep every ratio and square finite.
        unit = self.sensor.bands[i].unit
        if unit == "metre":
            scale, low, high = np.float32(1), -HIGHEST_M, HIGHEST_M
        elif unit == "degree":
            scale, low, high = np.float32(1), 0.0, 90.0
        else:
            absolute = self.sensor.radiometry == "absolute"
            scale = REFLECTANCE_PER_DN if absolute else NORMALISED_PER_UNIT
            low, high = 0.0, HIGHEST_REFLECTANCE
        band = self._window.band(i, self.margin)
        if not np.isfinite(band).all():
            raise DataError(
                "a band holds values that are not finite",
                where=f"band {name}",
                fix="run l4s-ensemble data check",
            )
        clipped: FloatImage = np.clip(band * scale, np.float32(low), np.float32(high))
        return clipped

    def shared(self, make: Callable[[TileContext], T]) -> T:
        """Return an object that several features share, made of this context once."""
        if make not in self._shared:
            self._shared[make] = make(self)
        found: T = self._shared[make]
        return found

    def _once(self, key: object, make: Callable[[], FloatImage]) -> FloatImage:
        """A picture of the core, made once."""
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = np.ascontiguousarray(make(), dtype=np.float32)
        return found

    def _sums(self, name: str) -> _Tables:
        """Summed-area tables of a field over the whole context."""
        if name not in self._tables:
            self._tables[name] = kernels.summed_area(self.field(name))
        return self._tables[name]

    def mean(self, name: str, edge: int) -> FloatImage:
        """Mean of a field over the square window of `edge` pixels, shape (y, x)."""
        where = (self.margin, self.margin, self.height, self.width)
        return self._once(
            ("mean", name, edge),
            lambda: kernels.window_mean(self._sums(name)[0], *where, edge // 2),
        )

    def deviation(self, name: str, edge: int) -> FloatImage:
        """Standard deviation of a field over the square window of `edge` pixels."""
        where = (self.margin, self.margin, self.height, self.width)
        return self._once(
            ("deviation", name, edge),
            lambda: kernels.window_deviation(*self._sums(name), *where, edge // 2),
        )

    def lowest(self, name: str, edge: int) -> FloatImage:
        """Minimum of a field over the square window of `edge` pixels."""
        return self._once(("lowest", name, edge), lambda: self._extreme(name, edge, np.minimum))

    def highest(self, name: str, edge: int) -> FloatImage:
        """Maximum of a field over the square window of `edge` pixels."""
        return self._once(("highest", name, edge), lambda: self._extreme(name, edge, np.maximum))

    def _extreme(self, name: str, edge: int, choose: np.ufunc) -> FloatImage:
        around = self._around(name, edge // 2)
        # Doubling the span: log2(edge) passes whatever the window's size.
        for _ in range(2):
            span = 1
            while 2 * span <= edge:
                around = choose(around[:-span], around[span:])
                span *= 2
            if span < edge:
                around = choose(around[: span - edge], around[edge - span :])
            around = around.T
        return around

    def gaussian(self, name: str, sigma: float, grow: int = 0) -> FloatImage:
        """Gaussian smoothing of a field, over the core grown by `grow` pixels on each side."""
        reach = gaussian_radius(sigma) + grow
        return self._once(
            ("gaussian", name, sigma, grow),
            lambda: kernels.smooth(self._around(name, reach), gaussian_weights(sigma)),
        )

    def gaussian_field(self, name: str, sigma: float) -> FloatImage:
        """Gaussian smoothing of a field over the whole context, for fields made of fields."""
        picture = self.field(name)
        wide = np.pad(picture, gaussian_radius(sigma), mode="edge")
        return kernels.smooth(wide, gaussian_weights(sigma))

    def _around(self, name: str, reach: int) -> FloatImage:
        """Core of a field and `reach` pixels around it, as contiguous memory."""
        start, m = self.margin - reach, self.margin + reach
        near = self.field(name)[start : m + self.height, start : m + self.width]
        return np.ascontiguousarray(near)


@dataclass(frozen=True)
class FeatureFunction:
    """A feature and the function that makes it: tile context in, picture of the core (y, x) out."""

    feature: Feature
    image: Callable[[TileContext], FloatImage]


def sample_tile(
    context: TileContext, names: Sequence[str], valid: NDArray[np.bool_] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Take every 8th pixel of a tile in both directions, for `measure`.

    Parameters
    ----------
    context : TileContext
        Its core is read.
    names : sequence of str
        Fields that the sensor has the bands for.
    valid : bool array, shape (y, x), optional
        Pixels that count; all of them by default.

    Returns
    -------
    dict of str to float32 array, shape (pixel,)
    """
    starts = (min(STRIDE_PX // 2, (n - 1) // 2) for n in (context.height, context.width))
    every = tuple(slice(start, None, STRIDE_PX) for start in starts)
    kept = slice(None) if valid is None else valid[every].ravel()
    return {name: context.value(name)[every].ravel()[kept] for name in names}
