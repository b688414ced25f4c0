"""The grid of a map: UTM, north up, in whole tiles that are anchored to the ground.

Tiles begin at multiples of their size, so that maps of two areas agree where these overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@dataclass(frozen=True)
class Grid:
    """Pixels in whole tiles.

    Attributes
    ----------
    crs : str
        Such as ``EPSG:32654``.
    left, top : float
        Upper left corner of the first tile, metres.
    pixel_m : float
    edge : int
        Edge of a tile, pixels.
    rows, columns : int
        Tiles.
    """

    crs: str
    left: float
    top: float
    pixel_m: float
    edge: int
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.rows * self.edge, self.columns * self.edge

    def transform(self, y: int = 0, x: int = 0) -> Affine:
        """Affine transform of a window that starts at a pixel."""
        from affine import Affine

        left, top = self.left + x * self.pixel_m, self.top - y * self.pixel_m
        return Affine(self.pixel_m, 0, left, 0, -self.pixel_m, top)

    def pixels(self, bounds: Bounds) -> tuple[slice, slice]:
        """Rows and columns that touch some bounds, within the grid."""
        left, bottom, right, top = bounds
        e = 1e-6  # of a pixel: rounding of coordinates
        rows = (self.top - top) / self.pixel_m, (self.top - bottom) / self.pixel_m
        columns = (left - self.left) / self.pixel_m, (right - self.left) / self.pixel_m
        made = []
        for (low, high), size in zip((rows, columns), self.shape, strict=True):
            start, stop = math.floor(low + e), math.ceil(high - e)
            made.append(slice(min(max(start, 0), size), max(min(stop, size), 0)))
        return made[0], made[1]


def grid_of(reference: DatasetReader, pixel_m: float, edge: int) -> Grid:
    """Choose the grid of a scene.

    Parameters
    ----------
    reference : DatasetReader
        A band of the scene. Where it is in UTM with the pixels of the sensor, these stay as they
        are; else they are warped to the UTM zone of its centre.
    pixel_m : float
        Of the sensor.
    edge : int
        Edge of a tile, pixels.

    Raises
    ------
    DataError
        If it has no CRS, or lies nearer to a pole than UTM reaches.
    """
    from rasterio.warp import transform_bounds

    if reference.crs is None:
        raise DataError(
            "the scene has no coordinate reference system",
            where=reference.name,
            fix="assign the one it is in: gdal_edit.py -a_srs EPSG:32654 FILE",
        )
    crs, phase = reference.crs, (0.0, 0.0)
    a = reference.transform
    if _is_utm(crs) and np.allclose((a.a, a.b, a.d, a.e), (pixel_m, 0, 0, -pixel_m), atol=1e-6):
        phase = a.c % pixel_m, a.f % pixel_m
    elif not _is_utm(crs):
        west, south, east, north = transform_bounds(crs, "EPSG:4326", *reference.bounds)
        crs = _utm((west + east) / 2, (south + north) / 2, reference.name)
    bounds = transform_bounds(reference.crs, crs, *reference.bounds)
    tile = pixel_m * edge
    left, bottom, right, top = ((b - phase[i % 2]) / tile for i, b in enumerate(bounds))
    e = 1e-6 / edge
    first, last = math.floor(left + e), math.ceil(right - e)
    upper, lower = math.ceil(top - e), math.floor(bottom + e)
    name = f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt()
    corner = phase[0] + first * tile, phase[1] + upper * tile
    return Grid(name, *corner, pixel_m, edge, upper - lower, last - first)


def _is_utm(crs: CRS) -> bool:
    code = crs.to_epsg() or 0
    return 32601 <= code <= 32660 or 32701 <= code <= 32760


def _utm(longitude: float, latitude: float, where: str) -> CRS:
    from rasterio.crs import CRS

    if not -80 <= latitude <= 84:
        raise DataError(
            "the scene lies beyond UTM",
            where=where,
            found=f"latitude {latitude:.1f}",
            allowed="-80 to 84",
        )
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Grow a mask by a disk of some pixels."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= radius)
