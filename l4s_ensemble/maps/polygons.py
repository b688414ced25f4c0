"""Masks of landslides that are drawn as polygons, in a geographic information system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ConfigError, DataError

AREAS = ("Polygon", "MultiPolygon")


def rasterise(
    path: str | Path,
    transform: Sequence[float],
    shape: tuple[int, int],
    crs: object,
    *,
    layer: str | None = None,
) -> NDArray[np.uint8]:
    """Draw polygons onto the grid of a raster: a pixel is landslide if its centre is in one.

    Parameters
    ----------
    path : str or Path
        GeoPackage, or another file of polygons that GDAL reads.
    transform : sequence of six floats
        Affine transform of the grid, as ``rasterio``'s: pixel width, 0, left, 0, minus height, top.
    shape : tuple of int
        Rows and columns.
    crs : object
        Coordinate reference system of the grid, as ``rasterio`` takes it. Polygons of another one
        are transformed.
    layer : str, optional
        Layer of the file; without it the only one.

    Returns
    -------
    uint8 array, shape (y, x)
        1 = landslide.

    Raises
    ------
    ConfigError
        If the extra ``geo`` is not installed.
    DataError
        If the file cannot be read, has no coordinate reference system, holds no polygon or others
        than polygons, or none is on the raster.
    """
    try:
        import shapely
        from rasterio.features import geometry_mask
        from rasterio.transform import Affine, array_bounds
        from rasterio.warp import transform_geom
    except ImportError as error:
        raise ConfigError(
            "reading polygons needs rasterio, pyogrio and shapely",
            found=error,
            fix="pip install 'l4s_ensemble[geo]'",
        ) from None
    path, grid = Path(path), Affine(*transform)
    shapes, own = read_polygons(path, layer)
    drawn = [transform_geom(own, crs, shapely.geometry.mapping(s)) for s in shapes]
    free = geometry_mask(drawn, shape, grid)
    if free.all():
        there = shapely.total_bounds([shapely.geometry.shape(d) for d in drawn])
        found, allowed = (
            f"x {box[0]:.6g} to {box[2]:.6g}, y {box[1]:.6g} to {box[3]:.6g}"
            for box in (there, array_bounds(*shape, grid))
        )
        raise DataError(
            "no polygon covers the centre of a pixel of the raster",
            where=path,
            found=found,
            allowed=allowed,
            fix="check the coordinate reference systems of both",
        )
    return np.asarray(~free, np.uint8)


def read_polygons(path: Path, layer: str | None = None) -> tuple[Sequence[Any], str]:
    """Read the polygons of a file and their coordinate reference system.

    Raises
    ------
    DataError
        If it cannot be read, or holds no polygon or no coordinate reference system.
    """
    import shapely
    from pyogrio import list_layers
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read

    if not path.is_file():
        raise DataError("no such file of polygons", where=path, allowed="a GeoPackage")
    try:
        names = [str(name) for name, _ in list_layers(path)]
        if layer is None and len(names) != 1:
            raise DataError("which layer?", where=path, found=", ".join(names), fix="name one")
        about, _, found, _ = read(path, layer=layer, columns=[], force_2d=True)
        shapes = [s for s in shapely.from_wkb(found) if s is not None and not s.is_empty]
    except (DataSourceError, DataLayerError, shapely.errors.ShapelyError) as error:
        raise DataError("polygons cannot be read", where=path, found=error) from None
    other = sorted({s.geom_type for s in shapes} - set(AREAS))
    if other or not shapes:
        raise DataError(
            "these are no polygons",
            where=path,
            found=", ".join(other) or "nothing",
            allowed=", ".join(AREAS),
            fix="export landslides as polygons",
        )
    if not about["crs"]:
        raise DataError(
            "polygons without a coordinate reference system",
            where=path,
            fix="assign one, for example with ogr2ogr -a_srs",
        )
    return shapes, str(about["crs"])
