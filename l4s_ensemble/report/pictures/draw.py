"""Pictures of one tile: true colour, reference, probability, errors. Arrays in, small files out.

Colours are chosen so that they stay apart for every common kind of colour blindness and in grey:
found is near white, a false alarm orange, a miss blue (Okabe and Ito 2008).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.bands import TRUE_COLOUR
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.run.files import atomic_path

Picture = NDArray[np.uint8]

FOUND = (250, 250, 245)
FALSE_ALARM = (230, 159, 0)
MISSED = (86, 180, 233)

FALSE_COLOUR = ("B12", "B8", "B4")
"""Bands shown red, green and blue where the eye sees nothing."""

# Anchors of a dark-to-light scale with even steps of lightness (after matplotlib's inferno, CC0).
SCALE = np.array(
    [
        (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85),
        (227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164),
    ],
    dtype=np.float64,
)  # fmt: skip


UNCERTAINTY_SCALE = np.array(
    [
        (6, 8, 14), (20, 42, 66), (24, 79, 101), (32, 116, 121), (73, 152, 135), (131, 187, 150),
        (190, 219, 175), (242, 247, 214),
    ],
    dtype=np.float64,
)  # fmt: skip
"""Another such scale, cool, so that uncertainty is not taken for probability."""


def colour_bands(sensor: Sensor) -> tuple[tuple[str, str, str], bool]:
    """Bands to show as red, green, blue, and whether that is true colour."""
    if set(TRUE_COLOUR) <= set(sensor.band_names):
        return TRUE_COLOUR, True
    names = (sensor.spectral or sensor.band_names)[:3]
    padded = (*names, *(names[-1],) * (3 - len(names)))
    return (padded[0], padded[1], padded[2]), False


def colour_name(sensor: Sensor) -> str:
    """What `true_colour` shows of a sensor's tiles."""
    bands, is_true = colour_bands(sensor)
    return "true colour" if is_true else "colour from " + ", ".join(bands)


def true_colour(units: NDArray[np.float32], sensor: Sensor) -> Picture:
    """Stretch a tile's red, green and blue between percentiles of its own.

    Parameters
    ----------
    units : float32 array, shape (band, y, x)

    Returns
    -------
    uint8 array, shape (y, x, 3)
        One stretch for the three bands keeps the tile's hue; a gamma of 1/1.3 opens the shades.
    """
    bands, _ = colour_bands(sensor)
    return _stretched(units, sensor, bands, None)


def false_colour(units: NDArray[np.float32], sensor: Sensor) -> Picture | None:
    """Show short-wave infrared, near infrared and red; None where a band is missing.

    Vegetation is green, bare and dry soil red to pink, water dark. Each band has a stretch of its
    own, for their levels are far apart; otherwise like `true_colour`.
    """
    if not set(FALSE_COLOUR) <= set(sensor.band_names):
        return None
    return _stretched(units, sensor, FALSE_COLOUR, (0, 1))


def _stretched(
    units: NDArray[np.float32],
    sensor: Sensor,
    bands: tuple[str, str, str],
    axes: tuple[int, int] | None,
) -> Picture:
    """Three bands as red, green, blue; the ceiling is taken over `axes`, over all without them."""
    rgb = np.stack([units[sensor.band_names.index(b)] for b in bands], axis=-1)
    rgb = np.nan_to_num(rgb.astype(np.float64))
    return stretched(rgb, *levels_of(rgb.reshape(-1, 3), None if axes is None else 0))


def levels_of(
    pixels: NDArray[np.floating[Any]], axis: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Floor of each band, and the range above it: one for all, or each its own with `axis` 0.

    Parameters
    ----------
    pixels : float array, shape (pixel, 3)
    """
    # Haze lifts blue most: each band begins at its own floor.
    floor = np.percentile(pixels, 1, axis=0)
    return floor, np.asarray(np.percentile(pixels - floor, 99.5, axis=axis), np.float64)


def stretched(
    rgb: NDArray[np.floating[Any]], floor: NDArray[np.float64], ceiling: NDArray[np.float64]
) -> Picture:
    """Bring bands (y, x, 3) between their levels, see `levels_of`."""
    level = np.clip((rgb - floor) / np.maximum(ceiling, 1e-9), 0, 1)
    return np.asarray(np.round(255 * level ** (1 / 1.3)), dtype=np.uint8)


def dimmed(colour: Picture) -> Picture:
    """Grey and dark, so that what lies on it stands out."""
    grey = colour.astype(np.float64) @ np.array([0.30, 0.59, 0.11])
    return np.repeat((12 + 0.42 * grey)[..., np.newaxis], 3, axis=-1).astype(np.uint8)


def reference(mask: NDArray[np.bool_], colour: Picture) -> Picture:
    """Landslide pixels of the reference on the dimmed tile."""
    out = dimmed(colour)
    out[mask] = FOUND
    return out


def probability(values: NDArray[np.floating[Any]]) -> Picture:
    """Probability in [0, 1] from black over red to pale yellow."""
    return on_scale(values, SCALE)


def on_scale(values: NDArray[np.floating[Any]], scale: NDArray[np.float64]) -> Picture:
    """Colours of values in [0, 1] between the anchors of a scale."""
    place = np.clip(np.nan_to_num(values.astype(np.float64)), 0, 1) * (len(scale) - 1)
    low = np.minimum(place.astype(int), len(scale) - 2)
    part = (place - low)[..., np.newaxis]
    return np.asarray(np.round(scale[low] * (1 - part) + scale[low + 1] * part), dtype=np.uint8)


def errors(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_] | None, colour: Picture
) -> Picture:
    """Found, falsely predicted and missed pixels on the dimmed tile.

    Without a reference, the tile in colour with the boundary of what is predicted.
    """
    if reference is None:
        from scipy import ndimage

        out = colour.copy()
        out[predicted & ~ndimage.binary_erosion(predicted)] = FALSE_ALARM
        return out
    out = dimmed(colour)
    out[predicted & reference] = FOUND
    out[predicted & ~reference] = FALSE_ALARM
    out[~predicted & reference] = MISSED
    return out


def save(picture: Picture, path: Path, quality: int = 86) -> None:
    """Write a picture: ``.webp`` for photographs, ``.png`` for flat colours."""
    from PIL import Image

    image = Image.fromarray(picture)
    with atomic_path(path) as partial:
        if path.suffix == ".webp":
            image.save(partial, format="WEBP", quality=quality, method=4)
        else:
            image.quantize(64).save(partial, format="PNG", optimize=True)


def scale_css(scale: NDArray[np.float64] = SCALE) -> str:
    """Show a scale as a CSS gradient, for the keys beside pictures."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in scale)
    return f"linear-gradient(to right, {stops})"
