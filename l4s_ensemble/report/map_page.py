"""The page of a map: layers to switch, landslides to sort and zoom to, areas, what is missing."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.maps.summary import SETTINGS, MapSummary
from l4s_ensemble.maps.written import Asked, WrittenMap, open_map
from l4s_ensemble.report import html, words
from l4s_ensemble.report.page import Page, section, stat
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures.map_layers import (
    Overview,
    crops_of,
    layers_of,
    overview_of,
)
from l4s_ensemble.report.table import Column, key_figures, known, table
from l4s_ensemble.run.files import write_text

PAGE = "index.html"
LISTED = 300
"""Landslides in the list, the largest."""

FILES = ("report.css", "report.js", "browser.css", "zoom.js", "map.css", "map.js")

LABELS = {
    "probability.tif": "probability of landslide, 0 to 1",
    "mask.tif": "landslides, 1; not predicted, 255",
    "uncertainty.tif": "uncertainty, 1 at the threshold",
    "applicability.tif": "dissimilarity to the training tiles",
    "landslides.gpkg": "outlines with all attributes",
    "landslides.parquet": "the same as GeoParquet",
    "item.json": "STAC item of the map",
    "summary.json": "the numbers of this page",
}
"""What the files of a map hold."""

_LIST: tuple[Column, ...] = (
    ("picture", "", "picture"), ("to", "no.", "link"), ("area_m2", "area", "area"),
    ("mean_probability", "proba\u00adbility", "score"),
    ("mean_uncertainty", "uncer\u00adtainty", "score"),
    ("mean_slope_deg", "slope (°)", "number"),
    ("review_because", "to be looked at because", "text"),
    ("reason", "leading features (log-odds)", "text"), ("length_m", "length (m)", "count"),
    ("dissimilarity", "dissimi\u00adlarity", "number"), ("place", "latitude, longitude", "text"),
)  # fmt: skip
_SIZES: tuple[Column, ...] = (
    ("size", "size", "text"), ("landslides", "count"), ("area_m2", "area", "area"),
    ("share", "of the mapped area", "share"),
)  # fmt: skip
_MISSING: tuple[Column, ...] = (
    ("what", "", "text"), ("area_m2", "area", "area"),
    ("share", "of the area asked for", "share"),
)  # fmt: skip
_BANDS: tuple[Column, ...] = (
    ("band", "text"), ("stored", "median in the file", "number"), ("used", "as used", "number"),
    ("training", "median training tile", "number"),
)  # fmt: skip


def write_map_page(folder: str | Path) -> Path:
    """Write the page of a map into its folder.

    Parameters
    ----------
    folder : str or Path
        What `l4s_ensemble.maps.scene_map.map_scene` has written; the scene must still be there.

    Returns
    -------
    Path
        ``index.html``; style, scripts and pictures lie in ``assets`` beside it.

    Raises
    ------
    RunError, DataError
        See `open_map`.
    """
    found = open_map(Path(folder))
    assets = found.folder / "assets"
    shutil.rmtree(assets, ignore_errors=True)
    html.write_assets(assets, FILES)
    page = _page(found, assets)
    template = html.environment().get_template("map.html.jinja")
    write_text(found.folder / PAGE, template.render(page=html.laid_out(page), nav=[], files={}))
    return found.folder / PAGE


def _page(found: WrittenMap, assets: Path) -> Page:
    m, shown = found.summary, overview_of(found)
    name = Path(m.scene).name
    area = words.area(m.area_m2)
    expected = words.area(m.expected_m2)
    seen = f"{words.number(m.observed_km2)}\u202fkm²"
    lead = (
        f"{words.plural(m.landslides, 'landslide')} of {area} in all on the {seen} that could be "
        f"predicted. {_trust(m)}"
    )
    gone = 1 - m.masked_share
    stats = [
        stat("mapped", m.area_m2, "area", f"probabilities add up to {expected}"),
        stat("landslides", m.landslides, "count", f"{m.review:,} should be looked at"),
        stat("predicted", gone, "share", "of the area asked for"),
    ]
    if m.outside_share is not None:
        note = "of what was predicted is outside the area of applicability"
        stats.append(stat("to distrust", m.outside_share, "share", note))
    blocks = {
        "map": _block(found, shown, assets),
        "downloads": {"kind": "downloads", "files": _downloads(found.folder)},
        "how": _how(m),
    }
    medians = [b.model_dump() for b in m.bands]
    tables = {
        "by_size": table("By size", _SIZES, _sizes(m)),
        "missing": table("The area asked for", _MISSING, _missing(m, shown)),
        "bands": table("Medians of the bands", _BANDS, medians, note=f"{m.radiometry}."),
    }
    return {
        "page": "map",
        "title": f"Landslides in {name}",
        "question": "Where are landslides, how sure is it, and what should be looked at?",
        "run": Path(m.run).name,
        "report_title": "Landslide map",
        "lead": lead,
        "stats": stats,
        "picture": None,
        "checks": [],
        "missing": [],
        "figures": {},
        "blocks": blocks,
        "tables": tables,
        "sections": [
            section("map", "Map", "", "map"),
            section("downloads", "Downloads", "", "downloads"),
            section("area", "Area", _area_text(m), "by_size"),
            section("not-mapped", "What was not mapped", "", "missing"),
            section("reflectance", "Reflectance", "", "bands", folded=True),
            section("how", "How it was made", "", "how", folded=True),
        ],
        "foot": {"command": [command_of(found.asked, m.run, found.folder)]},
    }


def _trust(m: MapSummary) -> str:
    if m.outside_share is None:
        return "The run has no reference to say where it does not apply."
    if m.outside_share >= 0.5:
        return "Most of it is unlike anything that the models were trained on: check before use."
    if m.outside_share > 0:
        return f"{words.share(m.outside_share)} of it is unlike the training tiles: check there."
    return "All of it is like the training tiles."


def _area_text(m: MapSummary) -> str:
    missed = m.expected_m2 - m.expected_mapped_m2
    return (
        f"{words.area(m.area_m2)} are mapped. By the probabilities, "
        f"{words.area(m.expected_mapped_m2)} of what is at or above the threshold of "
        f"{words.score(m.threshold)} is landslide, and {words.area(missed)} lie below it: "
        f"{words.area(m.expected_m2)} in all. This holds as far as probabilities are calibrated "
        "here, which they are not outside the area of applicability."
    )


def _sizes(m: MapSummary) -> list[dict[str, Any]]:
    hectare = m.pixel_m**2 / 10_000
    return [
        {
            "size": f"{words.number(s.from_px * hectare)} ha and more"
            if s.below_px is None
            else f"{words.number(s.from_px * hectare)} to {words.number(s.below_px * hectare)} ha",
            **s.model_dump(),
            "share": s.area_m2 / m.area_m2 if m.area_m2 else None,
        }
        for s in m.by_size
    ]


def _missing(m: MapSummary, shown: Overview) -> list[dict[str, Any]]:
    """Rows of what was predicted, and of the rest by its reason as the overview counts it."""
    wanted = m.observed_km2 * 1e6 / max(1 - m.masked_share, 1e-9)
    shares = {"predicted": 1 - m.masked_share}
    total = sum(int(where.sum()) for where in shown.missing.values())
    for why, where in shown.missing.items():
        shares[why] = m.masked_share * int(where.sum()) / total
    rows: list[dict[str, Any]] = [
        {"what": what, "area_m2": share * wanted, "share": share} for what, share in shares.items()
    ]
    if shown.outside.any():
        outside = float(shown.outside.sum()) * shown.grid.pixel_m**2
        rows.append({"what": "beside the area asked for", "area_m2": outside})
    return rows


def _block(found: WrittenMap, shown: Overview, assets: Path) -> dict[str, Any]:
    """The map and the list beside it, see ``blocks/map.jinja``."""
    layers = layers_of(shown, found.summary.dissimilarity_limit)
    for layer in layers:
        pictures.save(layer.pop("picture"), assets / f"{layer['key']}.webp", 82)
    rows, shapes = _landslides(found)
    listed = {r["id"]: shapes[r["id"]] for r in rows}
    crops = crops_of(found, shown.levels, listed, assets / "landslides")
    for row in rows:
        crop = crops[row["id"]]
        row["picture"] = {**crop, "file": crop["file"].relative_to(found.folder).as_posix()}
        row["to"] = {"text": str(row["id"]), "href": f"#landslide={row['id']}"}
        row["review_because"] = row["review_because"] if row["needs_review"] else None
    more = len(shapes) - len(rows)
    note = "A click on a row or an outline zooms the map to it."
    if more:
        note = f"The {len(rows):,} largest; landslides.gpkg has {more:,} smaller ones. {note}"
    rows_height, rows_width = shown.grid.shape
    return {
        "kind": "map",
        "layers": layers,
        "outlines": [{"id": n, "path": _path(s, shown.grid)} for n, s in shapes.items()],
        "geo": {
            "width": rows_width,
            "height": rows_height,
            "pixel_m": shown.grid.pixel_m,
            "left": shown.grid.left,
            "top": shown.grid.top,
            "crs": shown.grid.crs,
            "lonlat": lonlat_of(shown.grid),
        },
        "table": table("Landslides", known(_LIST, rows), rows, note=note, sortable=True),
    }


def _landslides(found: WrittenMap) -> tuple[list[dict[str, Any]], dict[int, Any]]:
    """Attributes of the largest landslides, and the outlines of all by number."""
    import pyogrio
    import shapely
    from rasterio.warp import transform

    meta, _, geometry, values = pyogrio.raw.read(found.folder / "landslides.gpkg")
    columns = dict(zip(meta["fields"], values, strict=True))
    shapes = shapely.from_wkb(geometry)
    order = np.argsort(columns["id"])
    inner = shapely.get_coordinates(shapely.point_on_surface(shapes))
    lon, lat = transform(found.summary.crs, "EPSG:4326", *inner.T)
    rows = [
        {
            **{key: _plain(column[i]) for key, column in columns.items()},
            "place": f"{lat[i]:.5f}, {lon[i]:.5f}",
        }
        for i in order[:LISTED]
    ]
    return rows, {int(columns["id"][i]): shapes[i] for i in order}


def _plain(value: Any) -> Any:
    """A value of a column; NaN is None."""
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and np.isnan(plain) else plain


def _path(shape: Any, grid: Grid) -> str:
    """Outline as an SVG path in pixels of the overview."""
    import shapely

    def ring(coordinates: Any) -> str:
        xy = (np.asarray(coordinates)[:-1] - (grid.left, grid.top)) / (grid.pixel_m, -grid.pixel_m)
        return "M" + "L".join(f"{x:.5g} {y:.5g}" for x, y in xy) + "Z"

    simple = shapely.simplify(shape, 0.5 * grid.pixel_m)
    rings = [r for part in shapely.get_parts(simple) for r in (part.exterior, *part.interiors)]
    return "".join(ring(r.coords) for r in rings)


def lonlat_of(grid: Grid) -> list[list[float]]:
    """Longitude and latitude as cubic polynomials of the place on a map.

    Returns
    -------
    list of list of float
        Factors of 1, u, v, u², uv, v², u³, u²v, uv², v³, where u and v go from 0 to 1 to the east
        and the south. On 110 km they are within a metre.
    """
    from rasterio.warp import transform

    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9)))
    height, width = (n * grid.pixel_m for n in grid.shape)
    found = transform(grid.crs, "EPSG:4326", grid.left + u * width, grid.top - v * height)
    terms = [u**0, u, v, u * u, u * v, v * v, u**3, u * u * v, u * v * v, v**3]
    return [np.linalg.lstsq(np.stack(terms, 1), f, rcond=None)[0].tolist() for f in found]


def _downloads(folder: Path) -> list[dict[str, str]]:
    """Files of the map, those with words of their own first."""
    kinds = {".tif", ".gpkg", ".parquet", ".qml", ".json"}
    names = [p.name for p in folder.iterdir() if p.suffix in kinds and p.name != SETTINGS]
    made = []
    for name in [*(n for n in LABELS if n in names), *sorted(set(names) - set(LABELS))]:
        text = LABELS.get(name, "style for QGIS" if name.endswith(".qml") else "")
        size = (folder / name).stat().st_size / 1e6
        more = [text] if text else []
        more += [f"{size:.1f}\u202fMB"] if size >= 0.1 else []
        label = f"{name}: {', '.join(more)}" if more else name
        made.append({"href": name, "label": label})
    return made


def _how(m: MapSummary) -> dict[str, Any]:
    return key_figures(
        [
            ("scene", m.scene, "text"),
            ("run", m.run, "text"),
            ("level", m.level, "text"),
            ("coordinate reference system", m.crs, "text"),
            ("edge of a pixel (m)", m.pixel_m, "number"),
            ("threshold", m.threshold, "score"),
            ("why this threshold", m.threshold_reason, "text"),
            ("factor of reflectance", m.gain if m.gain != 1 else None, "number"),
            ("blocks", m.blocks, "count"),
            ("time", m.seconds, "seconds"),
            ("seconds a km²", m.seconds_per_km2, "number"),
            ("memory (MB)", m.peak_mb, "count"),
        ]
    )


def command_of(asked: Asked, run: str, out: Path) -> str:
    """Command that makes a map again."""
    options = asked.model_dump(exclude={"scene", "sensor", "new_only", "adapt"})
    options |= {"bands": asked.bands and ",".join(asked.bands), "run": run, "out": str(out)}
    parts = ["l4s-ensemble", "map", asked.scene]
    for name, value in options.items():
        if value is not None:
            parts += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
    parts += ["--new-only"] if asked.new_only else []
    parts += [] if asked.adapt else ["--no-adapt"]
    return shlex.join(parts)
