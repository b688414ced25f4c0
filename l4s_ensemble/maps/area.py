"""What of a scene is mapped: all of it, a box, or polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.maps.polygons import read_polygons
from l4s_ensemble.maps.reader import Reader


@dataclass(frozen=True)
class Area:
    """What is to be predicted.

    Attributes
    ----------
    window : tuple of slice
        Rows and columns of the grid.
    shapes : tuple of bytes
        Polygons in the CRS of the grid as WKB; empty: all of the window.
    """

    window: tuple[slice, slice]
    shapes: tuple[bytes, ...] = ()

    def inside(self, grid: Grid, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Pixels of a window of the grid that lie in it."""
        y, x = (
            (np.arange(s.start, s.stop) >= own.start) & (np.arange(s.start, s.stop) < own.stop)
            for own, s in zip(self.window, (rows, columns), strict=True)
        )
        found = np.asarray(y[:, None] & x)
        if self.shapes:
            import shapely
            from rasterio.features import geometry_mask

            transform = grid.transform(rows.start, columns.start)
            polygons = [shapely.from_wkb(s) for s in self.shapes]
            found &= geometry_mask(polygons, found.shape, transform, invert=True)
        return found


def area_of(
    reader: Reader,
    bbox: tuple[float, float, float, float] | None = None,
    aoi: str | Path | None = None,
) -> Area:
    """Find what is to be mapped: the scene, and of it a box or polygons.

    Raises
    ------
    DataError
        If nothing of them lies in the scene.
    """
    from rasterio.warp import transform_bounds, transform_geom

    grid, extent = reader.grid, reader.extent()
    windows, shapes = [grid.pixels(extent)], ()
    if bbox is not None:
        west, south, east, north = bbox
        if not (west < east and south < north and abs(south) <= 90 and abs(north) <= 90):
            raise DataError(
                "this is no box", where="--bbox", found=bbox, allowed="west south east north"
            )
        windows.append(grid.pixels(transform_bounds("EPSG:4326", grid.crs, *bbox)))
    if aoi is not None:
        import shapely

        drawn, crs = read_polygons(Path(aoi))
        moved = [
            shapely.geometry.shape(transform_geom(crs, grid.crs, shapely.geometry.mapping(g)))
            for g in drawn
        ]
        shapes = tuple(shapely.to_wkb(g) for g in moved)
        windows.append(grid.pixels(tuple(shapely.total_bounds(moved).tolist())))
    y, x = (
        slice(max(s.start for s in own), min(s.stop for s in own))
        for own in zip(*windows, strict=True)
    )
    if y.start >= y.stop or x.start >= x.stop:
        raise DataError(
            "nothing of the area to map lies in the scene",
            where=aoi or "--bbox",
            found=None if bbox is None else _degrees(bbox),
            allowed=f"within {_degrees(transform_bounds(grid.crs, 'EPSG:4326', *extent))} "
            "(west south east north)",
            fix="degrees of longitude come first",
        )
    return Area((y, x), shapes)


def _degrees(bounds: Sequence[float]) -> str:
    return " ".join(f"{b:.4f}" for b in bounds)
