"""A patch with its neighbourhood, continued by reflection where none is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.scenes.layout import AROUND

FloatImage = NDArray[np.floating[Any]]
"""One float32 picture, shape (y, x). (numpy's types widen float32 beside plain numbers.)"""


def continue_band(picture: FloatImage, unit: str, width: int) -> FloatImage:
    """Continue a band beyond its edges: elevation by odd reflection, other bands mirrored.

    On adjoining real tiles, in the 16 pixels along a seam and against the reference beyond it, odd
    reflection makes a third of the error of mirroring in terrain, and twice its error in
    reflectance: bright spots become holes of negative reflectance.

    Parameters
    ----------
    picture : float32 array, shape (y, x)
    unit : str
        Of the band; ``metre`` is elevation.
    width : int
        Pixels added on each side. Where it is more than the picture has, it reflects again.
    """
    if width == 0:
        return picture
    if unit == "metre":  # exact on a plane: slope keeps its value up to the edge
        return np.pad(picture, width, mode="reflect", reflect_type="odd")
    return np.pad(picture, width, mode="symmetric")


class Window(Protocol):
    """A patch that gives its bands with as much of the neighbourhood as is asked for."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the patch, pixels."""
        ...

    def band(self, index: int, reach: int) -> FloatImage:
        """One band in the sensor's units, shape (y + 2 reach, x + 2 reach)."""
        ...


class Alone:
    """A patch of which nothing but itself, and perhaps a border around it, is known.

    Parameters
    ----------
    image : float32 array, shape (band, y + 2 margin, x + 2 margin)
    margin : int
        Pixels of true neighbourhood on each side. Beyond them it goes on as `continue_band` says.
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


class Joined:
    """A patch with its known neighbours, pasted over the margin where it would be continued.

    Nothing further away than the eight neighbours is read, however far a feature reaches.

    Parameters
    ----------
    image : float32 array, shape (band, y, x)
        The patch, in the sensor's units.
    around : mapping of (int, int) to (array, array)
        By the step in rows and columns: counts (band, y, x) of a neighbour, and the factors
        (band,) that express them in the units of the patch.
    """

    def __init__(
        self,
        image: NDArray[np.float32],
        sensor: Sensor,
        around: Mapping[tuple[int, int], tuple[NDArray[Any], NDArray[np.float32]]],
    ) -> None:
        self.image = image
        self.sensor = sensor
        self.around = around

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the patch, pixels."""
        return self.image.shape[1], self.image.shape[2]

    def band(self, index: int, reach: int) -> FloatImage:
        """One band in the sensor's units, shape (y + 2 reach, x + 2 reach)."""
        picture: FloatImage = self.image[index]
        if reach == 0:
            return picture
        if len(self.around) == len(AROUND) and reach <= min(self.size):
            # All of the margin is pasted over: no need to make something to paste over.
            height, width = self.size
            wide = np.empty((height + 2 * reach, width + 2 * reach), np.float32)
            wide[reach : reach + height, reach : reach + width] = picture
        else:
            wide = continue_band(picture, self.sensor.bands[index].unit, reach)
        for (down, right), (counts, factor) in self.around.items():
            into_y, from_y = _strip(down, self.size[0], reach)
            into_x, from_x = _strip(right, self.size[1], reach)
            np.multiply(
                counts[index, from_y, from_x],
                factor[index],
                out=wide[into_y, into_x],
                dtype=np.float32,
                casting="unsafe",
            )
        return wide


def _strip(step: int, size: int, reach: int) -> tuple[slice, slice]:
    """Where a neighbour stands in the margin, and which of its pixels, along one axis."""
    if step == 0:
        return slice(reach, reach + size), slice(0, size)
    kept = min(reach, size)
    if step < 0:
        return slice(reach - kept, reach), slice(size - kept, size)
    return slice(reach + size, reach + size + kept), slice(0, kept)
