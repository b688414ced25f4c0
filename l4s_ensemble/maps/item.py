"""A map as a STAC item, for a catalogue."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from l4s_ensemble.maps.summary import MapSummary
from l4s_ensemble.maps.write import RASTERS
from l4s_ensemble.predict.card import CARD_FILE
from l4s_ensemble.run.files import read_json, write_json

_EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0", "mlm/v1.4.0")
)
_CLASSES = (
    {"value": 0, "name": "none", "description": "no landslide"},
    {"value": 1, "name": "landslide", "description": "landslide"},
    {"value": 255, "name": "unknown", "description": "not predicted", "nodata": True},
)


def write_item(folder: Path, summary: MapSummary, run: Path) -> None:
    """Write ``item.json`` into the folder of a map, and a copy of the model card of the run.

    The item has the date of the scene, or that of the map where it is not known.
    """
    from rasterio.warp import transform_bounds

    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    (left, *_, top), observed = summary.bounds, summary.observed
    west, south, east, north = box = transform_bounds(summary.crs, "EPSG:4326", *summary.bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    pixel = summary.pixel_m
    geotiff = "image/tiff; application=geotiff; profile=cloud-optimized"
    assets: dict[str, Any] = {
        name: {"href": f"./{name}.tif", "type": geotiff, "roles": ["data"], **_band(name)}
        for name in RASTERS
    }
    polygons = {"type": "application/geopackage+sqlite3", "roles": ["data"]}
    assets["landslides"] = {"href": "./landslides.gpkg", **polygons}
    links: list[dict[str, Any]] = []
    if (run / CARD_FILE).is_file():
        shutil.copyfile(run / CARD_FILE, folder / CARD_FILE)
        card = {"rel": "derived_from", "href": f"./{CARD_FILE}", "type": "application/json"}
        name = read_json(run / CARD_FILE)["name"]
        links.append({**card, "title": "model card", "mlm:name": name})
    properties = {
        "datetime": observed or now,
        "created": now,
        "title": f"Landslides in {Path(summary.scene).name}",
        "description": f"{summary.landslides} landslides, {summary.area_m2 / 1e4:.1f} ha; the date "
        + ("is that of the scene" if observed else "is that of the map: the scene has none"),
        "gsd": pixel,
        "proj:code": summary.crs if summary.crs.startswith("EPSG") else None,
        "proj:shape": summary.shape,
        "proj:transform": [pixel, 0, left, 0, -pixel, top],
        "proj:bbox": summary.bounds,
    }
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": f"landslides-{summary.digest}",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": box,
        "properties": properties,
        "links": links,
        "assets": assets,
    }
    write_json(folder / "item.json", item)


def _band(name: str) -> dict[str, Any]:
    description, unit = RASTERS[name]
    kind = "uint8" if name == "mask" else "float32"
    band: dict[str, Any] = {"name": name, "description": description, "unit": unit}
    band |= {"data_type": kind, "nodata": 255 if name == "mask" else "nan"}
    if name == "mask":
        band["classification:classes"] = _CLASSES
    return {"title": description, "bands": [band]}
