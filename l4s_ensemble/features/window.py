"""A patch and what lies around it: how it goes on where nothing is known."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.features import kernels
from l4s_ensemble.features.definition import FloatImage


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
    rows, columns = (numbers_of(n, width, "symmetric") for n in image.shape[-2:])
    if image.ndim == 2:
        return kernels.gathered(image, rows, columns)
    return image[..., rows, :][..., columns]


@lru_cache(maxsize=64)
def numbers_of(size: int, width: int, mode: Literal["symmetric", "edge"]) -> NDArray[np.int64]:
    """Numbers of the rows or columns that a padded picture is made of."""
    return np.pad(np.arange(size), width, mode=mode)


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
    pictures = zip(image, sensor.bands, strict=True)
    return np.stack([continue_band(picture, band.unit, width) for picture, band in pictures])


def continue_band(picture: FloatImage, unit: str, width: int) -> FloatImage:
    """Continue one band where there are no neighbours, shape (y, x); see `continued`."""
    if width == 0:
        return picture
    return pad_odd(picture, width) if unit == "metre" else pad_mirror(picture, width)


def within(picture: FloatImage, rim: int) -> FloatImage:
    """Cut a rim off a picture, without copying."""
    inner: FloatImage = picture[rim : picture.shape[0] - rim, rim : picture.shape[1] - rim]
    return inner


class Window(Protocol):
    """A patch that gives its bands with as much of the surroundings as is asked for."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the patch, pixels."""
        ...

    def band(self, index: int, reach: int) -> FloatImage:
        """One band in the sensor's units, shape (y + 2 reach, x + 2 reach)."""
        ...


class Alone:
    """A patch of which nothing but itself, and perhaps a rim around it, is known.

    Parameters
    ----------
    image : float32 array, shape (band, y + 2 margin, x + 2 margin)
    sensor : Sensor
    margin : int
        Pixels of true surroundings on each side. Beyond them it goes on as `continued` says.
    """

    def __init__(self, image: NDArray[np.float32], sensor: Sensor, margin: int = 0) -> None:
        self.image = image
        self.sensor = sensor
        self.margin = margin

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the patch, pixels."""
        return self.image.shape[1] - 2 * self.margin, self.image.shape[2] - 2 * self.margin

    def band(self, index: int, reach: int) -> FloatImage:
        """One band in the sensor's units, shape (y + 2 reach, x + 2 reach)."""
        picture, spare = self.image[index], self.margin - reach
        if spare >= 0:
            inner: FloatImage = picture[
                spare : picture.shape[0] - spare, spare : picture.shape[1] - spare
            ]
            return inner
        return continue_band(picture, self.sensor.bands[index].unit, -spare)
