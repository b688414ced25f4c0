"""Light on slopes: facing the sun, turned from it, and in the shadow of a ridge."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.sources.compiled import compiled

Floats = NDArray[np.float32]

DIFFUSE = 0.16
"""Light from the sky over direct light on a surface that faces the sun."""


def illumination(
    dem_m: Floats,
    cell_m: float,
    shadow: Floats,
    sun_azimuth_deg: float,
    sun_elevation_deg: float,
) -> Floats:
    """Light on each cell (y, x) relative to the mean of the scene.

    The cosine of the incidence angle (Teillet, Guindon & Goodenough 1982) plus sky light, where
    `shadow` (0 to 1) does not fall. Azimuth is clockwise from north; rows run south.
    """
    azimuth, elevation = math.radians(sun_azimuth_deg), math.radians(sun_elevation_deg)
    east = math.sin(azimuth) * math.cos(elevation)
    south = -math.cos(azimuth) * math.cos(elevation)
    up = math.sin(elevation)
    gy, gx = np.gradient(dem_m, np.float32(cell_m))
    direct = (up - gx * east - gy * south) / np.sqrt(1 + gx**2 + gy**2)
    lit = np.clip(direct, 0, None) * (1 - shadow)
    return np.asarray((lit + DIFFUSE) / (lit.mean() + DIFFUSE), dtype=np.float32)


def cast_shadow(
    dem_m: Floats, cell_m: float, sun_azimuth_deg: float, sun_elevation_deg: float
) -> Floats:
    """Share of shade, 0 to 1, where a ridge within 1.5 km stands between a cell and the sun."""
    from scipy import ndimage

    azimuth = math.radians(sun_azimuth_deg)
    rise = math.tan(math.radians(sun_elevation_deg))
    shadow = _march(dem_m, cell_m, math.sin(azimuth), -math.cos(azimuth), rise)
    return np.asarray(ndimage.gaussian_filter(shadow, 0.5), dtype=np.float32)


@compiled
def _march(dem_m: Floats, cell_m: float, east: float, south: float, rise: float) -> Floats:
    """Follow a ray from every cell towards the sun; 1 where the ground is above it."""
    ny, nx = dem_m.shape
    shadow = np.zeros((ny, nx), np.float32)
    top = dem_m.max()
    for y in range(ny):
        for x in range(nx):
            step = 1.0
            while step * cell_m < 1500.0:
                ray = dem_m[y, x] + step * cell_m * rise
                if ray > top:
                    break
                yy, xx = int(y + south * step + 0.5), int(x + east * step + 0.5)
                if yy < 0 or yy >= ny or xx < 0 or xx >= nx:
                    break
                if dem_m[yy, xx] > ray:
                    shadow[y, x] = 1.0
                    break
                step += 1.0 + 0.06 * step
    return shadow
