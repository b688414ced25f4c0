"""Pictures of numbers: colour scales, and the boundary of landslides over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report.pictures.draw import Picture

ZOOM = 2
"""Each pixel becomes a square of this edge, so that the rim of a landslide hides little."""

RIM_LIGHT, RIM_DARK = (255, 255, 255), (0, 0, 0)
"""One of the two is seen on any colour."""

# PuOr of ColorBrewer (Brewer, Apache 2.0), turned: purple below zero, orange above it.
TWO_SIDED = np.array(
    [
        (84, 39, 136), (128, 115, 172), (178, 171, 210), (216, 218, 235), (247, 247, 247),
        (254, 224, 182), (253, 184, 99), (224, 130, 20), (179, 88, 6),
    ],
    dtype=np.float64,
)  # fmt: skip


def coloured(values: NDArray[np.float64], ends: tuple[float, float]) -> Picture:
    """Paint values between two ends around zero, shape (y, x) to (y, x, 3)."""
    low, high = ends
    part = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    place = np.clip(np.nan_to_num(part), 0, 1) * (len(TWO_SIDED) - 1)
    at = np.minimum(place.astype(int), len(TWO_SIDED) - 2)
    more = (place - at)[..., np.newaxis]
    painted = TWO_SIDED[at] * (1 - more) + TWO_SIDED[at + 1] * more
    return np.asarray(np.round(painted), dtype=np.uint8)


def rimmed(picture: Picture, mask: NDArray[np.bool_]) -> Picture:
    """Enlarge a picture and draw the rim of the landslides: light outside, dark inside."""
    from scipy import ndimage

    large = picture.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    inside = mask.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    large[ndimage.binary_dilation(inside) & ~inside] = RIM_LIGHT
    large[inside & ~ndimage.binary_erosion(inside, border_value=1)] = RIM_DARK
    return large


def css(scale: NDArray[np.float64]) -> str:
    """Show a colour scale as a CSS gradient."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in scale)
    return f"linear-gradient(to right, {stops})"
