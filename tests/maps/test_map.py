"""A map does not depend on its blocks, goes on where it was killed, and GDAL reads it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("rasterio", reason="the extra geo is not installed")

import rasterio
from map_world import CRS, LEFT, NAMES, SPECTRAL, TOP, counts, write_scene, write_tif
from typer.testing import CliRunner

from l4s_ensemble import Ensemble
from l4s_ensemble.errors import ConfigError, DataError, RunError
from l4s_ensemble.maps import scene_map
from l4s_ensemble.maps.area import area_of
from l4s_ensemble.maps.blocks import PARTS, Block, read_block, read_part
from l4s_ensemble.maps.opening import open_scene
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.maps.scene_map import map_scene
from l4s_ensemble.maps.summary import MapSummary
from l4s_ensemble.maps.written import open_map
from l4s_ensemble.run.files import read_json

RASTERS = ("probability", "mask", "uncertainty", "applicability")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Scene with a hole, elevation, clouds."""
    folder = tmp_path_factory.mktemp("world")
    scene = counts()
    scene[:12, 100:150, 200:230] = 0
    tif, dem = write_scene(folder, scene)
    clouds = np.zeros((1, *scene.shape[1:]), np.uint8)
    clouds[0, 30:60, 300:330] = 1
    return tif, dem, write_tif(folder / "clouds.tif", clouds)


def mapped(world: tuple[Path, Path, Path], run: Path, out: Path, **options: Any) -> MapSummary:
    tif, dem, clouds = world
    return map_scene(tif, run, out, dem=dem, mask=clouds, device="cpu", **options)


@pytest.fixture(scope="module")
def first(world, tiny_run, tmp_path_factory) -> Path:
    """A map in one block."""
    out = tmp_path_factory.mktemp("maps") / "first"
    mapped(world, tiny_run, out, block_tiles=10)
    return out


def read(folder: Path, name: str) -> np.ndarray:
    with rasterio.open(folder / f"{name}.tif") as file:
        return file.read(1)


def test_a_map_does_not_depend_on_the_size_of_its_blocks(world, tiny_run, first, tmp_path):
    found = mapped(world, tiny_run, tmp_path / "other", block_tiles=1)
    assert found.blocks > read_json(first / "summary.json")["blocks"] == 1
    for name in RASTERS:
        limit = 0 if name in {"mask", "applicability"} else 1e-3
        one, other = read(first, name), read(tmp_path / "other", name)
        np.testing.assert_allclose(one, other, rtol=0, atol=limit, err_msg=name)
    kept = {"landslides", "area_m2", "observed_km2", "threshold", "masked_share"}
    wanted = MapSummary.model_validate(read_json(first / "summary.json"))
    assert found.model_dump(include=kept) == wanted.model_dump(include=kept)


def test_a_part_of_a_scene_has_the_map_of_the_scene(world, tiny_run, first, tmp_path):
    """A box that begins within a tile: the grid of tiles stays, and the statistics."""
    from rasterio.warp import transform_bounds

    box = transform_bounds(CRS, "EPSG:4326", LEFT + 700, TOP - 2000, LEFT + 2500, TOP - 800)
    mapped(world, tiny_run, tmp_path / "part", bbox=box)
    with rasterio.open(tmp_path / "part" / "probability.tif") as part:
        p, at = part.read(1), part.transform
    y, x = int((TOP - at.f) / 10), int((at.c - LEFT) / 10)
    assert y > 0 and x > 0
    wanted = read(first, "probability")[y : y + p.shape[0], x : x + p.shape[1]]
    np.testing.assert_allclose(p, wanted, rtol=0, atol=1e-3)


def test_the_map_is_that_of_the_raster_in_memory(world, tiny_run, first):
    """On the grid of tiles, with the statistics of the scene."""
    tif, dem, clouds = world
    ensemble = Ensemble.load(tiny_run, device="cpu")
    reader = Reader.of(open_scene(tif), ensemble.sensor, str(dem), str(clouds))
    image = reader.read(*(slice(0, n) for n in reader.grid.shape))
    raster = xr.Dataset({"image": (("band", "y", "x"), image)})
    found = ensemble.predict(raster)["probability"].values
    y, x = reader.grid.pixels(reader.extent())
    wanted = read(first, "probability")
    # Beyond the scene elevation is known to the map, and not to the raster.
    inner = np.s_[40:-40, 40:-40]
    off = np.abs(found[y, x] - wanted)[inner]
    assert np.nanquantile(off, 0.99) < 0.05
    np.testing.assert_array_equal(np.isnan(found[y, x]), np.isnan(wanted))


def test_the_expected_area_is_the_sum_of_the_probabilities(first):
    found, p = (
        MapSummary.model_validate(read_json(first / "summary.json")),
        read(first, "probability"),
    )
    seen = p[np.isfinite(p)].astype(np.float64)
    assert found.expected_m2 == pytest.approx(100 * seen.sum(), rel=1e-4)
    above = seen[seen >= found.threshold]
    assert found.expected_mapped_m2 == pytest.approx(100 * above.sum(), rel=1e-4)


def test_a_written_map_is_opened_again_from_anywhere(world, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(world[0].parent)
    mapped([Path(p.name) for p in world], tiny_run, tmp_path / "map")
    monkeypatch.chdir(tmp_path)
    found = open_map(tmp_path / "map")
    assert found.reader.scene.path == str(world[0]) and found.area.window[0].stop > 0
    whole = [slice(0, n) for n in found.reader.grid.shape]
    assert np.isfinite(found.reader.read(*whole)).any()
    with pytest.raises(RunError, match="no finished map"):
        open_map(tmp_path)


def test_what_was_not_seen_is_not_predicted(first):
    p, mask = read(first, "probability"), read(first, "mask")
    for y, x in ((120, 215), (45, 315)):
        assert np.isnan(p[y, x]) and mask[y, x] == 255
    np.testing.assert_array_equal(np.isnan(p), mask == 255)
    assert 0.01 < np.isnan(p).mean() < 0.1
    assert (mask == 1).any()


def test_rasters_are_cloud_optimised_and_say_what_they_are(first):
    from rio_cogeo import cog_validate

    for name in RASTERS:
        valid, errors, _ = cog_validate(first / f"{name}.tif")
        assert valid, errors
        with rasterio.open(first / f"{name}.tif") as file:
            assert file.crs.to_string() == CRS
            assert (file.transform.c, file.transform.f, file.res) == (LEFT, TOP, (10, 10))
            assert file.shape == (256, 384)
            assert file.descriptions[0] and file.units[0]
            assert float(file.tags()["threshold"]) > 0
            assert file.nodata == 255 if name == "mask" else np.isnan(file.nodata)


def test_polygons_are_the_mask(first):
    import pyogrio
    import shapely
    from rasterio.features import rasterize

    meta, _, geometry, fields = pyogrio.raw.read(first / "landslides.gpkg")
    assert meta["crs"] == CRS
    columns = dict(zip(meta["fields"], fields, strict=True))
    shapes = shapely.from_wkb(geometry)
    assert shapely.is_valid(shapes).all()
    np.testing.assert_allclose(shapely.area(shapes), columns["area_m2"])
    with rasterio.open(first / "mask.tif") as file:
        mask, at = file.read(1), file.transform
    np.testing.assert_array_equal(rasterize(shapes, mask.shape, transform=at), mask == 1)
    p = read(first, "probability")
    inside = rasterize([shapes[0]], mask.shape, transform=at) == 1
    np.testing.assert_allclose(columns["mean_probability"][0], p[inside].mean(), atol=1e-3)
    assert (columns["mean_slope_deg"] > 0).all() and (columns["lowest_m"] > 500).all()
    assert columns["reason"][0]
    assert set(columns["needs_review"].tolist()) <= {True, False}
    assert int(columns["needs_review"].sum()) == read_json(first / "summary.json")["review"]


def test_a_killed_map_goes_on_with_the_blocks_that_are_missing(
    world, tiny_run, first, tmp_path, monkeypatch
):
    out, made = tmp_path / "map", []

    def dies(*task: Any) -> Any:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(task[2])
        return scene_map.map_block_alive(*task)  # type: ignore[attr-defined]

    monkeypatch.setattr(scene_map, "map_block_alive", scene_map.map_block, raising=False)
    monkeypatch.setattr(scene_map, "map_block", dies)
    with pytest.raises(KeyboardInterrupt):
        mapped(world, tiny_run, out, block_tiles=2)
    assert len(list((out / "blocks").glob("*.npz"))) == 3
    assert not list(out.glob("*.tif"))
    monkeypatch.undo()
    found = mapped(world, tiny_run, out, block_tiles=2)
    assert found.blocks_kept == 3 < found.blocks
    np.testing.assert_allclose(
        read(out, "probability"), read(first, "probability"), rtol=0, atol=1e-3
    )
    assert not (out / "blocks").exists()
    monkeypatch.setattr(scene_map, "map_block", None)  # nothing is done again
    assert mapped(world, tiny_run, out) == found


def test_the_folder_of_another_map_is_refused(world, tiny_run, first, tmp_path):
    with pytest.raises(RunError, match="another map"):
        mapped(world, tiny_run, first, offset=0.0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no map"):
        mapped(world, tiny_run, tmp_path)


@pytest.mark.parametrize(
    ("change", "words", "fix"),
    [
        (lambda s: s + 1000, "an offset of 1000", {"offset": -1000.0}),
        (lambda s: s / 10_000, "from 0 to 1", {"scale": 10_000.0}),
        (lambda s: np.clip(s / 12, 1, 255).astype(np.uint8), "8-bit", None),
        (lambda s: s * 20.0, "no reflectance", {"scale": 0.05}),
    ],
)
def test_reflectance_that_cannot_be_right_is_refused_with_the_fix(
    world, tiny_run, first, tmp_path, change, words, fix
):
    scene = change(counts()[:12])
    scene = scene.astype(np.float32) if scene.dtype == np.float64 else scene
    tif = write_tif(tmp_path / "s.tif", scene, SPECTRAL)
    with pytest.raises(DataError, match=words):
        map_scene(tif, tiny_run, tmp_path / "out", dem=world[1], device="cpu")
    assert not (tmp_path / "out").exists()
    if fix is not None:
        ensemble = Ensemble.load(tiny_run, device="cpu")
        reader = Reader.of(
            open_scene(tif).scaled(fix.get("scale"), fix.get("offset")),
            ensemble.sensor,
            str(world[1]),
        )
        window = reader.grid.pixels(reader.extent())
        np.testing.assert_allclose(reader.read(*window)[:12], counts()[:12], rtol=1e-3)


def test_an_offset_that_was_taken_off_before_is_refused(world, tiny_run, tmp_path):
    from map_world import write_item

    scene = counts()
    item = write_item(tmp_path / "item.json", scene, applied=True)
    text = item.read_text().replace('"earthsearch:boa_offset_applied": true', '"x": 1')
    item.write_text(text)
    with pytest.raises(DataError, match="taken off before"):
        map_scene(item, tiny_run, tmp_path / "out", dem=world[1], device="cpu")


def test_elevation_that_does_not_cover_the_scene_is_refused(world, tiny_run, tmp_path):
    dem = counts()[NAMES.index("dem")][None, :, :200]
    small = write_tif(tmp_path / "dem.tif", dem.astype(np.float32))
    with pytest.raises(DataError, match=r"4\d% of the scene has none"):
        map_scene(world[0], tiny_run, tmp_path / "out", dem=small, device="cpu")


def test_a_scene_without_data_is_refused(world, tiny_run, tmp_path):
    tif = write_tif(tmp_path / "s.tif", np.zeros((12, 100, 90), np.uint16), SPECTRAL)
    with pytest.raises(DataError, match="no pixel"):
        map_scene(tif, tiny_run, tmp_path / "out", dem=world[1], device="cpu")


@pytest.mark.parametrize(
    ("bands", "signs"), [(8, ["vegetation index"]), (4, ["greenness", "brightness"])]
)
def test_what_was_bare_before_the_event_is_told_from_what_is_new(
    world, tiny_run, first, tmp_path, bands, signs
):
    """Before the event the right half was as it is now, and the left half was not bare."""
    import pyogrio

    with rasterio.open(world[0]) as file:
        scene = file.read()
    slid = np.pad(read(first, "mask") == 1, 2)
    green = np.median(scene[:, read(first, "mask") == 0], axis=1)
    left = np.zeros(scene.shape[1:], bool)
    left[:, :192] = True
    for y, x in ((i, j) for i in range(5) for j in range(5)):
        left_now = left & slid[y : y + 256, x : x + 384]
        scene[:, left_now] = green[:, None]
    before = write_tif(
        tmp_path / "before.tif",
        np.where(scene > 0, 1.3 * scene + 300, 0).astype(np.uint16)[:bands],
        SPECTRAL[:bands],
        nodata=0,
    )
    found = mapped(world, tiny_run, tmp_path / "map", before=before, new_only=bands == 4)
    assert found.before is not None and found.before.signs == signs
    assert found.before.accuracy > 0.8 and found.before.left_out == (bands == 4)
    _, _, geometry, fields = pyogrio.raw.read(
        tmp_path / "map" / "landslides.gpkg", columns=["bare_before", "review_because"]
    )
    import shapely

    middle = shapely.get_x(shapely.centroid(shapely.from_wkb(geometry))) - LEFT
    is_new, share = middle < 1920, fields[0]
    assert is_new.sum() > 3 and np.nanmax(share[is_new]) < 0.5
    wanted = MapSummary.model_validate(read_json(first / "summary.json"))
    if bands == 4:
        assert is_new.mean() > 0.9 and found.landslides < wanted.landslides
        assert found.landslides + found.before.landslides == wanted.landslides
        assert 10_000 * (read(tmp_path / "map", "mask") == 1).sum() == 100 * found.area_m2
    else:
        assert found.landslides == wanted.landslides
        assert (share[~is_new] >= 0.5).mean() > 0.7
        flagged = ["bare before" in text for text in fields[1]]
        np.testing.assert_array_equal(flagged, share >= 0.5)


def test_what_is_new_needs_a_scene_from_before(world, tiny_run, tmp_path):
    with pytest.raises(ConfigError, match="--before"):
        mapped(world, tiny_run, tmp_path / "map", new_only=True)
    assert not (tmp_path / "map").exists()


def test_the_item_is_what_a_catalogue_reads(first, tiny_run):
    """Required fields of STAC 1.1 and of the extensions that are named."""
    from datetime import datetime

    from rasterio.warp import transform_bounds

    item = read_json(first / "item.json")
    assert item["type"] == "Feature" and item["stac_version"] == "1.1.0" and item["id"]
    with rasterio.open(first / "probability.tif") as file:
        np.testing.assert_allclose(item["bbox"], transform_bounds(CRS, "EPSG:4326", *file.bounds))
        known = item["properties"]
        assert known["proj:code"] == CRS and known["proj:shape"] == list(file.shape)
        assert known["proj:transform"] == list(file.transform)[:6]
    assert datetime.fromisoformat(known["datetime"]).utcoffset() is not None
    ring = item["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] and len(ring) == 5
    assert set(item["assets"]) == {*RASTERS, "landslides"}
    for asset in item["assets"].values():
        assert (first / asset["href"]).is_file() and asset["type"] and asset["roles"]
    classes = item["assets"]["mask"]["bands"][0]["classification:classes"]
    assert [c["value"] for c in classes] == [0, 1, 255]
    (card,) = item["links"]
    assert read_json(first / card["href"])["name"] == card["mlm:name"]


def test_landslides_are_geoparquet_where_geopandas_is(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("pyarrow")
    import shapely

    from l4s_ensemble.maps.write import COLUMNS, write_landslides

    row = {name: kind() for name, kind in COLUMNS.items()} | {"id": 3, "bare_before": None}
    write_landslides(tmp_path / "landslides.gpkg", [row], {3: [shapely.box(0, 0, 20, 10)]}, CRS)
    found = geopandas.read_parquet(tmp_path / "landslides.parquet")
    assert found.crs == CRS and found.geometry.area.tolist() == [200]
    assert list(found.columns) == [*COLUMNS, "geometry"]


def test_every_raster_has_a_style_that_qgis_reads(first):
    from xml.etree import ElementTree

    for name in (*RASTERS, "landslides"):
        assert ElementTree.parse(first / f"{name}.qml").getroot().tag == "qgis"


def test_logits_of_a_pixel_do_not_depend_on_its_block(world, tiny_run):
    ensemble = Ensemble.load(tiny_run, device="cpu")
    reader = Reader.of(open_scene(world[0]), ensemble.sensor, str(world[1]))
    area = area_of(reader)
    wide, small = Block(0, 0, 3, 4), Block(1, 1, 2, 3)
    scored = [
        ensemble.score_raster(read_block(ensemble, reader, b, area), None) for b in (wide, small)
    ]
    at = {"y": slice(128, 256), "x": slice(128, 384)}
    logits = [s["logit_pixel"].values for s in (scored[0].isel(at), scored[1])]
    np.testing.assert_array_equal(*logits)
    logits = [s["logit_unet"].values for s in (scored[0].isel(at), scored[1])]
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-3)


def test_a_full_disk_is_said_and_the_same_command_goes_on(world, tiny_run, tmp_path, monkeypatch):
    from l4s_ensemble.cli.app import app
    from l4s_ensemble.maps import blocks
    from l4s_ensemble.run.files import explain

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "0_0_4_4.npz")

    words = ["map", str(world[0]), "--dem", str(world[1]), "--run", str(tiny_run), "--jobs", "1"]
    words += ["--out", str(tmp_path / "map"), "--device", "cpu"]
    monkeypatch.setattr(blocks.np, "savez", full)
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code != 0 and isinstance(ended.exception, OSError)
    assert "the disk is full" in str(explain(ended.exception))
    assert not list((tmp_path / "map" / "blocks").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a limit of POSIX stands for the full disk")
def test_what_gdal_cannot_write_is_said(tmp_path):
    """Its errors are no OSError; a limit on the size of files stands for a full disk."""
    import resource
    from types import SimpleNamespace

    import shapely

    from l4s_ensemble.maps.grid import Grid
    from l4s_ensemble.maps.write import COLUMNS, write_landslides, write_rasters

    grid, noise = Grid(CRS, LEFT, TOP, 10.0, 512, 1, 1), np.random.default_rng(0).random((512, 512))
    result = SimpleNamespace(
        grid=grid, blocks=[Block(0, 0, 1, 1)], threshold=0.5, part=lambda _: {"probability": noise},
        mask=None,
    )  # fmt: skip
    ensemble = SimpleNamespace(sensor=SimpleNamespace(name="s"), applicability=None)
    row = {name: kind() for name, kind in COLUMNS.items()} | {"id": 1}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunError, match=r"probability.tif[\s\S]*MB of the disk are free"):
            write_rasters(ensemble, result, (slice(0, 512),) * 2, tmp_path, {})
        with pytest.raises(RunError, match=r"landslides.gpkg"):
            write_landslides(
                tmp_path / "landslides.gpkg", [row], {1: [shapely.box(0, 0, 20, 10)]}, CRS
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [p for p in tmp_path.iterdir() if p.suffix in {".tif", ".gpkg"}]


def test_the_command_maps_and_says_what_the_reflectance_was(world, tiny_run, tmp_path):
    from l4s_ensemble.cli.app import app

    tif, dem, clouds = world
    out = tmp_path / "map"
    command = ["map", str(tif), "--dem", str(dem), "--mask", str(clouds), "--run", str(tiny_run)]
    ended = CliRunner().invoke(app, [*command, "--out", str(out), "--device", "cpu", "--jobs", "1"])
    assert ended.exit_code == 0, (ended.output, ended.exception)
    assert "median training tile" in ended.output and "landslides" in ended.output
    assert (out / "landslides.gpkg").is_file()


def test_a_block_that_was_mapped_anew_is_read_anew(tmp_path: Path) -> None:
    block = Block(0, 0, 1, 1)
    for at, value in ((1_000, 0.25), (2_000, 0.75)):
        np.savez(tmp_path / block.name, **{n: np.full((2, 2), value) for n in PARTS})
        os.utime(tmp_path / block.name, (at, at))
        assert (read_part(tmp_path, block)["probability"] == value).all()
