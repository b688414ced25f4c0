"""One patch with its surroundings, and every picture made of it, each made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.features import kernels
from l4s_ensemble.features.recipe import Field, FloatImage

REFLECTANCE_PER_DN = np.float32(1e-4)
LEVEL_PER_UNIT = np.float32(1e-3)
"""Relative sensors: the robust level of a tile is 1000 units, so 1 after this factor."""

HIGHEST_LIGHT = 100.0
"""Light is clipped here. Reflectance above 6.5 does not fit the files."""

HIGHEST_M = 2e4
"""Elevation is clipped here, up and down."""


def _clipped(picture: FloatImage, low: float, high: float) -> FloatImage:
    bounded: FloatImage = np.clip(picture, np.float32(low), np.float32(high))
    return bounded


def pad_odd(image: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Continue a picture beyond its edge by odd reflection: ``2 edge − mirrored``.

    The same as ``numpy.pad(..., mode="reflect", reflect_type="odd")`` on the last two axes, and
    exact on a plane, so that slope keeps its value up to the edge of the patch.

    Parameters
    ----------
    image : float32 array, shape (..., y, x)
    width : int
        Pixels added on each side. Where it is more than the picture has, it reflects again.

    Returns
    -------
    float32 array, shape (..., y + 2 width, x + 2 width)
    """
    pads = [(0, 0)] * (image.ndim - 2) + [(width, width)] * 2
    padded: NDArray[np.float32] = np.pad(image, pads, mode="reflect", reflect_type="odd")
    return padded


def pad_mirror(image: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Continue a picture beyond its edge by mirroring it, the edge included.

    The same as ``numpy.pad(..., mode="symmetric")`` on the last two axes: no value appears that
    the picture does not have. See `pad_odd` for the parameters.
    """
    rows, columns = (np.pad(np.arange(n), width, mode="symmetric") for n in image.shape[-2:])
    return image[..., rows, :][..., columns]


def continued(image: NDArray[np.float32], sensor: Sensor, width: int) -> NDArray[np.float32]:
    """Continue a patch where it has no neighbours: elevation by odd reflection, the rest mirrored.

    On adjoining real tiles, in the 16 pixels along a seam and against the truth beyond it, odd
    reflection makes a third of the error of mirroring in terrain, and twice its error in light:
    bright spots become holes of negative reflectance.

    Parameters
    ----------
    image : float32 array, shape (band, y, x)
    sensor : Sensor
    width : int
        Pixels added on each side.
    """
    wide = pad_mirror(image, width)
    for i, band in enumerate(sensor.bands):
        if band.unit == "metre":
            wide[i] = pad_odd(image[i], width)
    return wide


@lru_cache(maxsize=32)
def gaussian_weights(sigma: float) -> NDArray[np.float32]:
    """Right half of a Gaussian kernel cut at 4 sigma, as `scipy.ndimage.gaussian_filter` cuts."""
    x = np.arange(gaussian_radius(sigma) + 1)
    half = np.exp(-0.5 * (x / sigma) ** 2)
    weights: NDArray[np.float32] = (half / (2 * half.sum() - half[0])).astype(np.float32)
    return weights


def gaussian_radius(sigma: float) -> int:
    """Reach of `gaussian_weights`, pixels."""
    return int(4 * sigma + 0.5)


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Free one large array, once per process: half the time of a patch, on Linux.

    glibc gives memory back to the system when a canvas is dropped, and the next canvas pays for
    the same pages again. Freeing a block just below 32 MiB raises the size that it keeps.
    """
    np.empty(31 << 20, np.uint8)


class Canvas:
    """A patch (the core) within a margin of pixels around it.

    Fields are pictures over the whole canvas; the window operators give pictures of the core.
    Each is made at most once.

    Parameters
    ----------
    image : float32 array, shape (band, y + 2 margin, x + 2 margin)
        In the sensor's units (see `l4s_ensemble.data.store.units`).
    sensor : Sensor
    margin : int
        Pixels of surroundings on each side.
    fields : mapping of str to Field
        What `field` can make.

    Raises
    ------
    DataError
        By the operators, if a band is not finite.
    """

    def __init__(
        self,
        image: NDArray[np.float32],
        sensor: Sensor,
        margin: int,
        fields: Mapping[str, Field],
    ) -> None:
        _keep_freed_memory()
        self.sensor = sensor
        self.margin = margin
        self.height = image.shape[1] - 2 * margin
        self.width = image.shape[2] - 2 * margin
        self.core = (
            slice(margin, margin + self.height),
            slice(margin, margin + self.width),
        )
        self._image = image
        self._fields = fields
        self._memo: dict[object, FloatImage] = {}
        self._tables: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._index = {name: i for i, name in enumerate(sensor.band_names)}

    @property
    def pixel_m(self) -> float:
        """Edge of a pixel, metres."""
        return self.sensor.pixel_m

    def field(self, name: str) -> FloatImage:
        """Give a band or a field over the whole canvas, shape (y + 2 margin, x + 2 margin)."""
        return self._once(name, lambda: self._make(name))

    def value(self, name: str) -> FloatImage:
        """Give a band or a field over the core, shape (y, x)."""
        return self.field(name)[self.core]

    def _make(self, name: str) -> FloatImage:
        if name not in self._index:
            return self._fields[name].image(self)
        i = self._index[name]
        band = self._image[i]
        if not np.isfinite(band).all():
            raise DataError(
                "a band holds values that are not finite", where=f"band {name}",
                fix="run l4s-ensemble data check",
            )  # fmt: skip
        # Light is not negative. The bounds keep every ratio and square finite.
        unit = self.sensor.bands[i].unit
        if unit == "metre":
            return _clipped(band, -HIGHEST_M, HIGHEST_M)
        if unit == "degree":
            return _clipped(band, 0, 90)
        scale = REFLECTANCE_PER_DN if self.sensor.level == "absolute" else LEVEL_PER_UNIT
        return _clipped(band * scale, 0, HIGHEST_LIGHT)

    def _once(self, key: object, make: Callable[[], FloatImage]) -> FloatImage:
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = np.ascontiguousarray(make(), dtype=np.float32)
        return found

    def _sums(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if name not in self._tables:
            self._tables[name] = kernels.summed_area(self.field(name))
        return self._tables[name]

    def mean(self, name: str, edge: int) -> FloatImage:
        """Mean of a field over the square window of `edge` pixels, shape (y, x)."""
        m = self.margin
        return self._once(
            ("mean", name, edge),
            lambda: kernels.window_mean(
                self._sums(name)[0], m, m, self.height, self.width, edge // 2
            ),
        )

    def deviation(self, name: str, edge: int) -> FloatImage:
        """Standard deviation of a field over the square window of `edge` pixels."""
        m = self.margin
        return self._once(
            ("deviation", name, edge),
            lambda: kernels.window_deviation(
                *self._sums(name), m, m, self.height, self.width, edge // 2
            ),
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
        """Gaussian smoothing of a field over the whole canvas, for fields made of fields."""
        wide = np.pad(self.field(name), gaussian_radius(sigma), mode="edge")
        return kernels.smooth(wide, gaussian_weights(sigma))

    def _around(self, name: str, reach: int) -> FloatImage:
        """Core of a field and `reach` pixels around it, as contiguous memory."""
        start, m = self.margin - reach, self.margin + reach
        near = self.field(name)[start : m + self.height, start : m + self.width]
        return np.ascontiguousarray(near)
