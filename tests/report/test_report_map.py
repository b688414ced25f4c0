"""The page of a map: numbers are those of its files, and pictures lie where the map lies."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="the extra geo is not installed")

import pyogrio
import rasterio
import shapely
import typer
from PIL import Image
from rasterio.warp import transform

from l4s_ensemble.cli.app import app
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.maps.summary import MapSummary
from l4s_ensemble.maps.write import write_landslides
from l4s_ensemble.maps.written import Asked, open_map
from l4s_ensemble.report import words
from l4s_ensemble.report.map_page import command_of, lonlat_of, write_map_page
from l4s_ensemble.report.pictures import map_layers as pictures
from l4s_ensemble.run.files import read_json


@pytest.fixture(scope="module")
def text(tiny_map: Path) -> str:
    return (tiny_map / "index.html").read_text()


@pytest.fixture(scope="module")
def summary(tiny_map: Path) -> MapSummary:
    return MapSummary.model_validate(read_json(tiny_map / "summary.json"))


def test_the_page_names_all_landslides_and_areas(
    tiny_map: Path, text: str, summary: MapSummary
) -> None:
    info = pyogrio.read_info(tiny_map / "landslides.gpkg")
    assert info["features"] == summary.landslides > 0
    assert text.count("<path data-id=") == text.count("#landslide=") == summary.landslides
    assert words.area(summary.area_m2) in text and words.area(summary.expected_m2) in text


def test_all_that_the_page_asks_for_is_beside_it(tiny_map: Path, text: str) -> None:
    asked = set(re.findall(r'(?:src|href)="([^"#:]+)"', text))
    assert asked and all((tiny_map / name).is_file() for name in asked)
    assert {"probability.tif", "mask.tif", "landslides.gpkg", "probability.qml"} <= asked
    assert "http" not in text.replace("http://www.w3.org", "")


def test_shares_of_what_is_missing_are_those_of_the_map(tiny_map: Path) -> None:
    found = open_map(tiny_map)
    shown = pictures.overview_of(found)
    with rasterio.open(tiny_map / "probability.tif") as file:
        p = file.read(1)
    np.testing.assert_allclose(shown.probability, p)  # no larger than the overview
    assert {k.split()[0] for k in shown.missing} == {"no", "clouds"}
    np.testing.assert_array_equal(np.any([*shown.missing.values()], axis=0), np.isnan(p))
    with rasterio.open(found.reader.scene.path) as file:
        seen = file.read(2) > 0
    no_data = shown.missing["no data in the scene"]
    assert no_data.any() and not (no_data & seen).any()


def test_an_overview_of_a_large_map_lies_where_the_map_lies(
    tiny_map: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = open_map(tiny_map)
    whole = pictures.overview_of(found)
    monkeypatch.setattr(pictures, "OVERVIEW_PX", 100)
    small = pictures.overview_of(found)
    step = 4
    assert small.grid.pixel_m == step * whole.grid.pixel_m and max(small.grid.shape) <= 100
    assert (small.grid.left, small.grid.top) == (whole.grid.left, whole.grid.top)
    rows, columns = small.grid.shape
    for name in ("rgb", "probability", "dem_m"):
        fine, coarse = getattr(whole, name), getattr(small, name)
        cut = fine[: rows * step, : columns * step].reshape(rows, step, columns, step, -1)
        wanted, got = cut.mean(axis=(1, 3)).ravel(), coarse.reshape(-1)
        both = np.isfinite(wanted) & np.isfinite(got)
        assert both.mean() > 0.8
        assert np.corrcoef(wanted[both], got[both])[0, 1] > 0.9, name


def test_coordinates_of_a_whole_sentinel_scene_are_within_a_metre() -> None:
    grid = Grid("EPSG:32754", 400_000.0, 6_000_000.0, 70.0, 1, 1568, 1568)
    u, v = np.random.default_rng(0).random((2, 500))
    side = 1568 * 70.0
    lon, lat = transform(grid.crs, "EPSG:4326", grid.left + u * side, grid.top - v * side)
    terms = [u**0, u, v, u * u, u * v, v * v, u**3, u * u * v, u * v * v, v**3]
    for factors, wanted in zip(lonlat_of(grid), (lon, lat), strict=True):
        off = np.abs(np.tensordot(factors, terms, 1) - wanted) * 111_000
        assert off.max() < 1


def test_a_thumbnail_shows_its_landslide_in_the_middle(tiny_map: Path) -> None:
    _, _, geometry, (ids,) = pyogrio.raw.read(tiny_map / "landslides.gpkg", columns=["id"])
    left, bottom, right, top = read_json(tiny_map / "summary.json")["bounds"]
    looked_at = 0
    for number, shape in zip(ids.tolist(), shapely.from_wkb(geometry), strict=True):
        west, south, east, north = shape.bounds
        if min(west - left, south - bottom, right - east, top - north) < 300:
            continue  # a picture does not reach beyond the scene
        picture = np.asarray(Image.open(tiny_map / "assets" / "landslides" / f"{number}.webp"))
        orange = np.abs(picture.astype(int) - pictures.pictures.FALSE_ALARM).sum(axis=-1) < 90
        for at in np.nonzero(orange):
            assert (at.min() + at.max()) / 2 / len(picture) == pytest.approx(0.5, abs=0.06)
        looked_at += 1
    assert looked_at


def test_a_map_without_a_landslide_has_a_page(tiny_map: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_map, tmp_path / "map"))
    write_landslides(folder / "landslides.gpkg", [], {}, "EPSG:32754")
    text = write_map_page(folder).read_text()
    assert "No landslide was mapped" in text and "<path data-id" not in text


def test_layers_are_pictures_of_the_map(tiny_map: Path, text: str) -> None:
    data = re.search(r'data-part="geo">(.*?)</script>', text)
    assert data
    geo = json.loads(data[1])
    for name in ("colour", "probability", "uncertainty", "applicability"):
        with Image.open(tiny_map / "assets" / f"{name}.webp") as picture:
            assert picture.size == (geo["width"], geo["height"])
    p = np.asarray(Image.open(tiny_map / "assets" / "probability.webp")).astype(int)
    with rasterio.open(tiny_map / "probability.tif") as file:
        found = file.read(1)
    bright = p.sum(axis=-1)
    few, many = np.nanquantile(found, [0.5, 0.99])
    assert bright[found >= many].mean() > bright[found <= few].mean() + 100


def test_the_command_that_makes_a_map_again_says_all_that_was_asked() -> None:
    given = {
        "scene": "a b.tif", "dem": "dem.tif", "mask": None, "before": "before.tif",
        "new_only": True, "adapt": False, "bbox": (-1.5, 2.0, 3.0, 4.0), "aoi": None,
        "bands": ("B2", "B3"), "scale": 2.0, "offset": None,
    }  # fmt: skip
    asked = Asked(**given, sensor=L4S)
    program, name, *words_ = shlex.split(command_of(asked, "runs/x", Path("a map")))
    assert (program, name) == ("l4s-ensemble", "map")
    read = typer.main.get_command(app).commands["map"].make_context("map", words_).params
    read["bands"] = tuple(read["bands"].split(","))
    read = {key: str(v) if isinstance(v, Path) else v for key, v in read.items()}
    assert {key: read[key] for key in given} == given
    assert (read["run"], read["out"]) == ("runs/x", "a map")
