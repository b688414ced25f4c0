"""Rasters of a map as Cloud-Optimised GeoTIFF, landslides as GeoPackage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import RunError
from l4s_ensemble.maps.blocks import Block
from l4s_ensemble.maps.result import MapResult
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.run.files import atomic_path, write_text

NODATA = {"float32": float("nan"), "uint8": 255}
RASTERS = {
    "probability": ("probability of landslide, calibrated", "1"),
    "mask": ("1 = landslide, 0 = none, 255 = not predicted", "class"),
    "uncertainty": ("0 = sure, 1 = at the threshold", "1"),
    "applicability": ("dissimilarity to the training tiles; 1 = a held-out training tile", "1"),
}
"""Description and unit of each raster, by the name of its file."""

_TILE = 512


@contextmanager
def _by_gdal(path: Path) -> Iterator[None]:
    """Say what GDAL could not write: its own errors do not say that a disk is full."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (DataLayerError, DataSourceError, FeatureError, CPLE_BaseError, RasterioError) as error:
        free = shutil.disk_usage(path.parent).free / 1e6
        raise RunError(
            "the file cannot be written",
            where=path,
            found=f"{error.__cause__ or error}; {free:.0f} MB of the disk are free",
            fix="make room; the same command goes on with the blocks that are kept",
        ) from None


def write_rasters(
    ensemble: Ensemble,
    result: MapResult,
    window: tuple[slice, slice],
    folder: Path,
    tags: Mapping[str, str],
) -> None:
    """Write the rasters of a map as Cloud-Optimised GeoTIFF; each appears when it is whole.

    Parameters
    ----------
    ensemble : Ensemble
    result : MapResult
    window : tuple of slice
        Rows and columns of the grid that the files hold.
    folder : Path
    tags : mapping of str to str
        More tags of the files.
    """
    values: dict[str, Callable[[Block], NDArray[Any]]] = {
        "probability": lambda b: result.part(b)["probability"],
        "mask": result.mask,
        "uncertainty": lambda b: ensemble.stack.uncertainty(result.part(b)["probability"]),
        "applicability": lambda b: result.part(b)["dissimilarity"],
    }
    known = {**tags, "threshold": f"{result.threshold:.6g}", "sensor": ensemble.sensor.name}
    if ensemble.applicability is not None:
        known["dissimilarity_limit"] = f"{ensemble.applicability.limit:.6g}"
    for name in RASTERS:
        _write_raster(folder / f"{name}.tif", name, result, window, values[name], known)


def _write_raster(
    path: Path,
    name: str,
    result: MapResult,
    window: tuple[slice, slice],
    values: Callable[[Block], NDArray[Any]],
    tags: Mapping[str, str],
) -> None:
    import rasterio
    from rasterio.shutil import copy
    from rasterio.windows import Window

    grid, (rows, columns) = result.grid, window
    dtype = "uint8" if name == "mask" else "float32"
    description, unit = RASTERS[name]
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": 1, "nodata": NODATA[dtype], "crs": grid.crs,
        "height": rows.stop - rows.start, "width": columns.stop - columns.start,
        "transform": grid.transform(rows.start, columns.start),
        "tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    plain = path.with_name(f".{path.name}.plain")
    try:
        with _by_gdal(path), rasterio.open(plain, "w", **profile) as file:
            for block in result.blocks:
                y, x = block.pixels(grid.edge)
                top, left = max(y.start, rows.start), max(x.start, columns.start)
                bottom, right = min(y.stop, rows.stop), min(x.stop, columns.stop)
                part = values(block)[top - y.start : bottom - y.start, left - x.start :]
                at = Window(left - columns.start, top - rows.start, right - left, bottom - top)
                file.write(part[:, : right - left].astype(dtype), 1, window=at)
            file.update_tags(**tags)
            file.set_band_description(1, description)
            file.set_band_unit(1, unit)
        with _by_gdal(path), atomic_path(path) as partial:
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
    """Write landslides as GeoPackage and, with geopandas and pyarrow, as GeoParquet.

    Parameters
    ----------
    path : Path
        ``landslides.gpkg``, with the layer ``landslides``; it appears when it is whole.
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
        with _by_gdal(path):
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
    try:
        import geopandas
        import pyarrow  # noqa: F401
    except ImportError:
        return
    table = geopandas.GeoDataFrame(dict(zip(COLUMNS, data, strict=True)), geometry=multi, crs=crs)
    with atomic_path(path.with_suffix(".parquet")) as made:
        table.to_parquet(made)


COLUMNS = {
    "id": int, "area_m2": float, "length_m": float, "mean_slope_deg": float,
    "max_slope_deg": float, "lowest_m": float, "highest_m": float, "mean_probability": float,
    "peak_probability": float, "mean_uncertainty": float, "dissimilarity": float,
    "share_predicted_pixel": float, "share_predicted_unet": float, "bare_before": float,
    "cut_by_edge": bool,
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
    """Write a QGIS style beside each raster, and one beside the landslides."""
    ramps = {
        "probability": ("#ffffcc", "#fecc5c", "#fd8d3c", "#bd0026"),
        "uncertainty": ("#f2f0f7", "#cbc9e2", "#9e9ac8", "#54278f"),
        "applicability": ("#edf8fb", "#b2e2e2", "#66c2a4", "#006d2c"),
    }
    for name, colours in ramps.items():
        highest = 2 if name == "applicability" else 1
        items = "".join(
            f'<item value="{v * highest}" label="{v * highest}" alpha="{a}" color="{c}"/>'
            for v, a, c in zip((0, 0.25, 0.5, 1), (0, 120, 200, 255), colours, strict=True)
        )
        write_text(folder / f"{name}.qml", _STYLE.format(_RAMP.format(highest, items)))
    write_text(folder / "mask.qml", _STYLE.format(_MASK))
    write_text(folder / "landslides.qml", _OUTLINE)


_STYLE = (
    '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n<qgis><pipe>{}</pipe></qgis>\n'
)
_RAMP = (
    '<rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" classificationMin="0" '
    'classificationMax="{}"><rastershader><colorrampshader colorRampType="INTERPOLATED">{}'
    "</colorrampshader></rastershader></rasterrenderer>"
)
_MASK = (
    '<rasterrenderer type="paletted" band="1" opacity="1"><colorPalette>'
    '<paletteEntry value="0" alpha="0" color="#ffffff" label="no landslide"/>'
    '<paletteEntry value="1" alpha="255" color="#d7191c" label="landslide"/>'
    "</colorPalette></rasterrenderer>"
)
_OUTLINE = """<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">
<qgis><renderer-v2 type="singleSymbol"><symbols><symbol name="0" type="fill" alpha="1">
<layer class="SimpleLine"><Option type="Map"><Option name="line_color" type="QString"
value="215,25,28,255"/><Option name="line_width" type="QString" value="0.4"/></Option></layer>
</symbol></symbols></renderer-v2></qgis>
"""
