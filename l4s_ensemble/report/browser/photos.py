"""Photographs of a tile for the browser: side by side in one strip, and small as thumbnails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures.draw import Picture

THUMB_PX = 80
"""Edge of a thumbnail."""

SUN_AZIMUTH, SUN_HEIGHT = 315.0, 45.0
"""Light of the hillshade, degrees: from the upper left, as maps have it."""

SMOOTH_PX = 1.2
"""Gaussian before the slope of the shade is taken: elevations are whole metres."""

EXAGGERATE = 1.6

_STEEP = (0.0, 10.0, 20.0, 30.0, 45.0)
_TINT = np.array(
    [(246, 244, 238), (236, 222, 184), (221, 176, 112), (186, 106, 62), (122, 46, 42)], np.float64
)
"""Colour of the ground at each of these slopes, degrees: darker is steeper."""


def layers_of(sensor: Sensor) -> list[tuple[str, str, str]]:
    """Photographs that a sensor's tiles have: key, name, one sentence."""
    out = [("colour", pictures.colour_name(sensor), "Stretched by the tile's own colours.")]
    if set(pictures.FALSE_COLOUR) <= set(sensor.band_names):
        names = ", ".join(pictures.FALSE_COLOUR)
        note = "Vegetation green, bare ground red to pink."
        out.append(("swir", f"false colour SWIR ({names})", note))
    if "dem" in sensor.band_names:
        note = "Light from the upper left; pale is flat, dark red is steeper than 45°."
        out.append(("relief", "hillshade with slope", note))
    return out


def photographs(units: NDArray[np.float32], sensor: Sensor) -> list[Picture]:
    """Draw what `layers_of` names, each uint8 (y, x, 3).

    Parameters
    ----------
    units : float32 array, shape (band, y, x)
    """
    made = [pictures.true_colour(units, sensor)]
    swir = pictures.false_colour(units, sensor)
    made += [] if swir is None else [swir]
    if "dem" in sensor.band_names:
        names = sensor.band_names
        slope = units[names.index("slope")] if "slope" in names else None
        made.append(hillshade(units[names.index("dem")], slope, sensor.pixel_m))
    return made


def hillshade(
    dem_m: NDArray[np.float32], slope_deg: NDArray[np.float32] | None, pixel_m: float
) -> Picture:
    """Shade of the terrain (Horn 1981), tinted by slope.

    Parameters
    ----------
    dem_m : float32 array, shape (y, x)
    slope_deg : float32 array, shape (y, x), optional
        Without it the slope is that of the elevation.
    """
    shade, slope = shade_of(dem_m, pixel_m)
    slope_deg = np.nan_to_num(slope if slope_deg is None else slope_deg)
    tint = np.stack([np.interp(slope_deg, _STEEP, _TINT[:, c]) for c in range(3)], axis=-1)
    light = 0.25 + 0.75 * shade
    return np.asarray(np.clip(tint * light[..., np.newaxis], 0, 255), np.uint8)


def shade_of(
    dem_m: NDArray[np.float32], pixel_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Light on the terrain (Horn 1981), 1 on flat ground, and its slope in degrees; (y, x)."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.nan_to_num(dem_m.astype(np.float64)), SMOOTH_PX, mode="nearest")
    south, east = np.gradient(smooth, pixel_m)
    slope = np.degrees(np.arctan(np.hypot(south, east)))
    azimuth, height = np.radians(SUN_AZIMUTH), np.radians(SUN_HEIGHT)
    sun = (np.sin(azimuth) * np.cos(height), np.cos(azimuth) * np.cos(height), np.sin(height))
    rise_east, rise_north = EXAGGERATE * east, -EXAGGERATE * south
    up = 1 / np.sqrt(1 + rise_east**2 + rise_north**2)
    shade = np.clip(up * (sun[2] - sun[0] * rise_east - sun[1] * rise_north), 0, 1)
    return shade / np.sin(height), slope


def thumbnail(picture: Picture) -> Picture:
    """Make a picture small, uint8 (`THUMB_PX`, `THUMB_PX`, 3)."""
    from PIL import Image

    small = Image.fromarray(picture).resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX)
    return np.asarray(small)
