"""Rasters of a map as Cloud-Optimised GeoTIFF, landslides as GeoPackage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.maps.blocks import Block
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.run.files import atomic_path, write_text

NODATA = {"float32": float("nan"), "uint8": 255}
_TILE = 512


def write_raster(
    path: Path,
    grid: Grid,
    window: tuple[slice, slice],
    blocks: Sequence[Block],
    values: Callable[[Block], NDArray[Any]],
    *,
    dtype: str,
    tags: Mapping[str, str],
) -> None:
    """Write a raster block by block; it appears when it is whole.

    Parameters
    ----------
    path : Path
    grid : Grid
    window : tuple of slice
        Rows and columns of the grid that the file holds.
    blocks : sequence of Block
    values : callable
        Raster of a block, (y, x).
    dtype : {'float32', 'uint8'}
        Fixes what is no data: NaN and 255.
    tags : mapping of str to str
        ``description`` and ``unit`` go to the band.
    """
    import rasterio
    from rasterio.shutil import copy
    from rasterio.windows import Window

    rows, columns = window
    profile = {
        "driver": "GTiff",
        "dtype": dtype,
        "count": 1,
        "nodata": NODATA[dtype],
        "crs": grid.crs,
        "height": rows.stop - rows.start,
        "width": columns.stop - columns.start,
        "transform": grid.transform(rows.start, columns.start),
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
        "bigtiff": "IF_SAFER",
    }
    plain = path.with_name(f".{path.name}.plain")
    try:
        with rasterio.open(plain, "w", **profile) as file:
            for block in blocks:
                y, x = block.pixels(grid.edge)
                top, left = max(y.start, rows.start), max(x.start, columns.start)
                bottom, right = min(y.stop, rows.stop), min(x.stop, columns.stop)
                part = values(block)[top - y.start :, left - x.start :]
                part = part[: bottom - top, : right - left].astype(dtype)
                at = Window(left - columns.start, top - rows.start, right - left, bottom - top)
                file.write(part, 1, window=at)
            file.update_tags(**{k: v for k, v in tags.items() if k not in {"description", "unit"}})
            file.set_band_description(1, tags["description"])
            file.set_band_unit(1, tags["unit"])
        with atomic_path(path) as partial:
            copy(
                plain,
                partial,
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                overview_resampling="AVERAGE" if dtype == "float32" else "MODE",
                bigtiff="IF_SAFER",
            )
    finally:
        plain.unlink(missing_ok=True)


def polygons(labels: NDArray[np.int64], transform: Any, found: dict[int, list[Any]]) -> None:
    """Add the outlines of a tile's landslides (y, x; 0 elsewhere) to those found, by number."""
    from rasterio.features import shapes
    from shapely.geometry import shape

    for outline, number in shapes(labels.astype(np.int32), labels > 0, 8, transform):
        found.setdefault(int(number), []).append(shape(outline))


def write_landslides(
    path: Path, rows: Sequence[Mapping[str, Any]], found: Mapping[int, Sequence[Any]], crs: str
) -> None:
    """Write landslides as GeoPackage, layer ``landslides``; it appears when it is whole.

    Parameters
    ----------
    path : Path
    rows : sequence of mapping
        Attributes; ``id`` is the key of `found`.
    found : mapping of int to sequence of Polygon
        Parts of each.
    crs : str
    """
    import pyogrio
    import shapely

    whole = [shapely.union_all(found[row["id"]]) for row in rows]
    multi = [shapely.MultiPolygon([w]) if w.geom_type == "Polygon" else w for w in whole]
    data = [_column([row.get(name) for row in rows], kind) for name, kind in COLUMNS.items()]
    partial = path.with_name(f".partial.{path.name}")  # GDAL wants the ending
    try:
        pyogrio.raw.write(
            partial,
            geometry=np.array(shapely.to_wkb(multi), object),
            field_data=data,
            fields=[*COLUMNS],
            geometry_type="MultiPolygon",
            crs=crs,
            layer="landslides",
            driver="GPKG",
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


COLUMNS = {
    "id": int, "area_m2": float, "length_m": float, "mean_slope_deg": float,
    "max_slope_deg": float, "lowest_m": float, "highest_m": float, "mean_probability": float,
    "peak_probability": float, "mean_uncertainty": float, "dissimilarity": float,
    "share_predicted_pixel": float, "share_predicted_unet": float, "cut_by_edge": bool,
    "needs_review": bool, "review_because": str, "reason": str, "feature_1": str,
    "feature_2": str, "feature_3": str,
}  # fmt: skip
"""Attributes of a landslide, as in ``landslides.csv`` of a split.

``length_m`` is the long side of the narrowest rectangle around it."""


def _column(values: Sequence[Any], kind: type) -> NDArray[Any]:
    if kind is float:
        return np.array([np.nan if v is None else v for v in values], np.float64)
    if kind is str:
        return np.array(values, object)
    return np.array(values, np.int64 if kind is int else np.bool_)


def length_m(parts: Sequence[Any]) -> float:
    """Long side of the narrowest rectangle around some polygons, metres."""
    import shapely

    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shapely.union_all(parts)))
    sides = np.hypot(*np.diff(corners, axis=0).T)
    return float(sides.max(initial=0.0))


def write_styles(folder: Path) -> None:
    """Write QGIS styles beside probability and mask."""
    ramp = "".join(
        f'<item value="{v}" label="{v}" alpha="{a}" color="{c}"/>'
        for v, a, c in (
            (0, 0, "#ffffcc"),
            (0.25, 120, "#fecc5c"),
            (0.5, 200, "#fd8d3c"),
            (1, 255, "#bd0026"),
        )
    )
    write_text(
        folder / "probability.qml",
        _QML.format(
            '<rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" '
            'classificationMin="0" classificationMax="1"><rastershader>'
            '<colorrampshader colorRampType="INTERPOLATED">'
            f"{ramp}</colorrampshader></rastershader></rasterrenderer>"
        ),
    )
    write_text(
        folder / "mask.qml",
        _QML.format(
            '<rasterrenderer type="paletted" band="1" opacity="1"><colorPalette>'
            '<paletteEntry value="0" alpha="0" color="#ffffff" label="no landslide"/>'
            '<paletteEntry value="1" alpha="255" color="#d7191c" label="landslide"/>'
            "</colorPalette></rasterrenderer>"
        ),
    )


_QML = '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n<qgis><pipe>{}</pipe></qgis>\n'
