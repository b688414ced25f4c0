"""What of a scene is mapped: all of it, a box, or polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.grid import Bounds, Grid
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
        found = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        y, x = (
            slice(max(own.start - s.start, 0), max(own.stop - s.start, 0))
            for own, s in zip(self.window, (rows, columns), strict=True)
        )
        found[y, x] = True
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
    from rasterio.warp import transform_bounds

    grid, extent = reader.grid, reader.extent()
    window = grid.pixels(extent)
    shapes: tuple[bytes, ...] = ()
    wanted, where = bbox, "--bbox"
    if bbox is not None:
        west, south, east, north = bbox
        if not (west < east and south < north and abs(south) <= 90 and abs(north) <= 90):
            raise DataError(
                "this is no box", where=where, found=bbox, allowed="west south east north, degrees"
            )
        window = _overlap(window, grid.pixels(transform_bounds("EPSG:4326", grid.crs, *bbox)))
    if aoi is not None:
        where = str(aoi)
        shapes, bounds = _polygons(Path(aoi), grid)
        wanted = transform_bounds(grid.crs, "EPSG:4326", *bounds)
        window = _overlap(window, grid.pixels(bounds))
    if any(s.start >= s.stop for s in window):
        whole = transform_bounds(grid.crs, "EPSG:4326", *extent)
        raise DataError(
            "nothing of the area to map lies in the scene",
            where=where,
            found=_degrees(wanted),
            allowed=f"within {_degrees(whole)} (west south east north)",
            fix="degrees of longitude come first",
        )
    return Area(window, shapes)


def _overlap(one: tuple[slice, slice], other: tuple[slice, slice]) -> tuple[slice, slice]:
    y, x = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return y, x


def _degrees(bounds: Sequence[float] | None) -> str:
    return "nothing" if bounds is None else " ".join(f"{b:.4f}" for b in bounds)


def _polygons(path: Path, grid: Grid) -> tuple[tuple[bytes, ...], Bounds]:
    """Polygons of a vector file in the CRS of the grid as WKB, and their bounds.

    Raises
    ------
    DataError
        If it cannot be read, has no CRS or no polygon.
    """
    import pyogrio
    import shapely
    from rasterio.crs import CRS
    from rasterio.warp import transform

    try:
        meta, _, geometry, _ = pyogrio.raw.read(path, columns=[])
    except (pyogrio.errors.DataSourceError, OSError, ValueError) as error:
        raise DataError(
            "this is not a vector file that GDAL reads", where=path, found=error
        ) from None
    found = [g for g in shapely.from_wkb(geometry) if g is not None and g.area > 0]
    if not found or meta["crs"] is None:
        raise DataError(
            "the area to map has no polygon" if not found else "the area to map has no CRS",
            where=path,
            found=f"{len(geometry)} features, CRS {meta['crs']}",
            allowed="polygons with a CRS",
        )
    crs = CRS.from_user_input(meta["crs"])

    def warped(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(transform(crs, grid.crs, xy[:, 0], xy[:, 1]))

    moved = [shapely.transform(shapely.force_2d(g), warped) for g in found]
    return tuple(shapely.to_wkb(g) for g in moved), tuple(shapely.total_bounds(moved).tolist())
