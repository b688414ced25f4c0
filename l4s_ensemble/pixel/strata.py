"""What kind of pixel it is: of a landslide, close to one, elsewhere; and where a landslide ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

STRATA: tuple[str, ...] = ("landslide", "rim", "elsewhere")
LANDSLIDE, RIM, ELSEWHERE = range(3)

RIM_PX = 5.0
"""Largest distance of a rim pixel to the next landslide pixel, pixels."""


def strata(mask: ArrayLike, rim_px: float = RIM_PX) -> NDArray[np.uint8]:
    """Stratum of every pixel of a tile.

    Parameters
    ----------
    mask : array_like of {0, 1}, shape (y, x)
        1 = landslide.
    rim_px : float
        Width of the rim, pixels.

    Returns
    -------
    uint8 array, shape (y, x)
        Index into `STRATA`.
    """
    from scipy.ndimage import distance_transform_edt

    slide = np.asarray(mask).astype(bool)
    out = np.full(slide.shape, ELSEWHERE, np.uint8)
    if slide.any():
        out[distance_transform_edt(~slide) <= rim_px] = RIM
        out[slide] = LANDSLIDE
    return out


def edge(mask: ArrayLike, edge_px: float) -> NDArray[np.bool_]:
    """Pixels of a tile at most `edge_px` from the next pixel of the other class.

    A landslide that is all edge keeps its own pixels (they are not edge): a way of sampling must
    not make small landslides unknown.

    Parameters
    ----------
    mask : array_like of {0, 1}, shape (y, x)
    edge_px : float

    Returns
    -------
    bool array, shape (y, x)
    """
    from scipy.ndimage import distance_transform_edt, label

    slide = np.asarray(mask).astype(bool)
    if slide.all() or not slide.any():
        return np.zeros(slide.shape, bool)
    inside = slide & (distance_transform_edt(slide) <= edge_px)
    outside = ~slide & (distance_transform_edt(~slide) <= edge_px)
    number, n = label(slide, np.ones((3, 3)))
    has_middle = np.bincount(number[slide & ~inside], minlength=n + 1) > 0
    return np.asarray(outside | (inside & has_middle[number]))
