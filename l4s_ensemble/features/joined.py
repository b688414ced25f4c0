"""A patch with its neighbours: what a feature reads beyond the edge.

A patch is continued as `l4s_ensemble.features.window.continued` says, and every part of the margin
that belongs to one of the eight neighbouring tiles is then pasted over from that tile. Nothing
further away than the eight neighbours is read, however far a feature reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.features.definition import FloatImage
from l4s_ensemble.features.window import continue_band
from l4s_ensemble.scenes.surroundings import AROUND


class Joined:
    """A patch with its known neighbours: a `l4s_ensemble.features.window.Window`.

    Parameters
    ----------
    image : float32 array, shape (band, y, x)
        The patch, in the sensor's units.
    sensor : Sensor
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
                counts[index, from_y, from_x], factor[index], out=wide[into_y, into_x],
                dtype=np.float32, casting="unsafe",
            )  # fmt: skip
        return wide


def _strip(step: int, size: int, reach: int) -> tuple[slice, slice]:
    """Where a neighbour stands in the margin, and which of its pixels, along one axis."""
    if step == 0:
        return slice(reach, reach + size), slice(0, size)
    kept = min(reach, size)
    if step < 0:
        return slice(reach - kept, reach), slice(size - kept, size)
    return slice(reach + size, reach + size + kept), slice(0, kept)
