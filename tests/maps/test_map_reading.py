"""Scenes in all their forms give the same reflectance; what is wrong with one is said."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="the extra geo is not installed")

from map_world import (
    CRS,
    LEFT,
    NAMES,
    SPECTRAL,
    TOP,
    counts,
    write_item,
    write_safe,
    write_scene,
    write_tif,
)

from l4s_ensemble.data.sensor import L4S, load_sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.area import area_of
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.maps.opening import open_scene
from l4s_ensemble.maps.reader import CLOUD_BUFFER_PX, Reader, slope_degrees


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return counts()


def whole(reader: Reader) -> np.ndarray:
    """All of a scene as read, without what lies around it."""
    window = reader.grid.pixels(reader.extent())
    return reader.read(*window)


@pytest.mark.parametrize("form", ["tif", "folder", "safe", "zip", "l2a", "stac", "applied", "vrt"])
def test_every_form_of_a_scene_gives_its_reflectance(tmp_path: Path, scene, form):
    tif, dem = write_scene(tmp_path / "plain", scene)
    sensor, path = L4S, tif
    if form == "folder":
        path = tmp_path / "bands"
        for name in SPECTRAL:
            one = scene[NAMES.index(name)][None].astype(np.uint16)
            write_tif(path / f"scene_{name}.tif", one, nodata=0)
    elif form in {"safe", "zip"}:
        path = write_safe(tmp_path, scene)
        if form == "zip":
            path = Path(shutil.make_archive(str(tmp_path / "product"), "zip", tmp_path, path.name))
    elif form == "l2a":
        path = write_safe(tmp_path, scene, level="L2A")
        kept = [b for b in L4S.bands if b.name != "B10"]
        sensor = L4S.model_copy(update={"bands": tuple(kept)})
    elif form in {"stac", "applied"}:
        path = write_item(tmp_path / "item.json", scene, applied=form == "applied")
    elif form == "vrt":
        from rasterio.shutil import copy

        path = tmp_path / "scene.vrt"
        copy(tif, path, driver="VRT")
    opened = open_scene(path)
    if form in {"safe", "zip", "l2a", "stac", "applied"}:
        assert opened.level == ("L2A" if form == "l2a" else "L1C")
    found = whole(Reader.of(opened, sensor, str(dem)))
    wanted = scene[[NAMES.index(n) for n in sensor.spectral]]
    np.testing.assert_allclose(found[: len(wanted)], wanted, atol=0.01)
    np.testing.assert_allclose(found[-1], scene[-1], atol=0.01)


def test_windows_agree_whatever_their_place(tmp_path, scene):
    """Geographic scene and elevation: both are warped."""
    tif, dem = write_scene(tmp_path, scene)
    for path in (tif, dem):
        _warp(path, path.with_suffix(".geo.tif"))
    geo = [p.with_suffix(".geo.tif") for p in (tif, dem)]
    reader = Reader.of(open_scene(geo[0]), L4S, str(geo[1]))
    assert reader.grid.crs == CRS and reader.grid.left % 1280 == 0
    rows, columns = reader.grid.pixels(reader.extent())
    all_of_it = reader.read(rows, columns, 40)
    y, x = slice(rows.start + 30, rows.start + 90), slice(columns.start + 7, columns.start + 99)
    part = reader.read(y, x, 20)
    np.testing.assert_array_equal(part, all_of_it[:, 50:150, 27:159])
    inner = np.s_[:, 60:-60, 60:-60]
    known = all_of_it[inner]
    assert np.isfinite(known).all()
    from scipy.ndimage import gaussian_filter

    rough = np.abs(gaussian_filter(known[3], 3).mean() / scene[3].mean() - 1)
    assert rough < 0.05


def _warp(path: Path, out: Path, crs: str = "EPSG:4326") -> None:
    import rasterio
    from rasterio.vrt import WarpedVRT

    with rasterio.open(path) as file, WarpedVRT(file, crs=crs, resampling=1) as warped:
        profile = warped.profile | {"driver": "GTiff"}
        with rasterio.open(out, "w", **profile) as target:
            target.write(warped.read())
            target.descriptions = file.descriptions


def test_slope_of_a_plane_is_its_slope_beside_missing_elevation_too():
    y, x = np.mgrid[:60, :60].astype(np.float32)
    z = 500 + 10 * (0.3 * x + 0.4 * y)
    z[:, 40:] = np.nan
    found = slope_degrees(z, 10.0)
    np.testing.assert_allclose(found[10:-10, 10:30], np.degrees(np.arctan(0.5)), atol=1e-3)


def test_clouds_are_grown_and_not_read(tmp_path, scene):
    tif, dem = write_scene(tmp_path, scene)
    clouds = np.zeros((1, *scene.shape[1:]), np.uint8)
    clouds[0, 100, 200] = 1
    mask = write_tif(tmp_path / "clouds.tif", clouds)
    found = whole(Reader.of(open_scene(tif), L4S, str(dem), str(mask)))
    lost = np.isnan(found[:12]).all(axis=0)
    y, x = np.mgrid[: lost.shape[0], : lost.shape[1]]
    near = np.hypot(y - 100, x - 200) <= CLOUD_BUFFER_PX
    np.testing.assert_array_equal(lost, near)
    assert np.isfinite(found[12:]).all()


def test_scene_classes_hide_the_ground(tmp_path, scene):
    path = write_safe(tmp_path, scene, level="L2A")
    classes = np.full((1, *scene.shape[1:]), 4, np.uint8)
    classes[0, 60, 60] = 9
    image = next(path.rglob("*_B02_10m.jp2"))
    write_tif(image.parents[1] / "R20m" / "T54TWN_20180910T012651_SCL_20m.tif", classes)
    from rasterio.shutil import copy

    plain = next(path.rglob("*_SCL_20m.tif"))
    copy(plain, plain.with_suffix(".jp2"), driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    plain.unlink()
    sensor = load_sensor("l4s-rgb")
    found = whole(Reader.of(open_scene(path), sensor))
    assert np.isnan(found[:, 60, 60]).all()
    assert np.isfinite(found[:, 60, 90]).all()


def test_a_dark_pixel_is_no_hole_and_a_hole_is_not_dark(tmp_path, scene):
    dark = scene.copy()
    dark[NAMES.index("B10"), 50, 50] = 0
    dark[:12, 70, 70] = 0
    tif, dem = write_scene(tmp_path, dark)
    found = whole(Reader.of(open_scene(tif), L4S, str(dem)))
    assert found[NAMES.index("B10"), 50, 50] == 0 and np.isfinite(found[:, 50, 50]).all()
    assert np.isnan(found[:12, 70, 70]).all()


def test_a_hole_is_no_surface_where_the_file_has_terrain_too(tmp_path):
    scene = counts(1, 1).astype(np.uint16)
    scene[:12, 20:60, 30:50] = 0
    scene[3, 80, 80] = 0
    reader = Reader.of(open_scene(write_tif(tmp_path / "s.tif", scene, NAMES)), L4S)
    hole = np.isnan(whole(reader)[:12])
    wanted = scene[:12].any(axis=0) == 0
    np.testing.assert_array_equal(hole.all(axis=0), wanted)
    np.testing.assert_array_equal(hole.any(axis=0), wanted)


def test_scale_and_offset_of_the_file_count(tmp_path, scene):
    _, dem = write_scene(tmp_path, scene)
    stored = (scene[:12] + 1000).astype(np.uint16)
    path = write_tif(
        tmp_path / "s.tif", stored, SPECTRAL, nodata=0, scales=[1e-4] * 12, offsets=[-0.1] * 12
    )
    opened = open_scene(path)
    np.testing.assert_allclose(whole(Reader.of(opened, L4S, str(dem)))[:12], scene[:12], atol=0.02)
    given = opened.scaled(None, 0.0)
    assert given.bands[0].offset == 0 and "as given" in given.source


def test_the_grid_is_anchored_to_the_ground(tmp_path, scene):
    tif, dem = write_scene(tmp_path, scene)
    reader = Reader.of(open_scene(tif), L4S, str(dem))
    assert reader.grid.left % 1280 == 0 and reader.grid.top % 1280 == 0
    assert reader.grid.left <= LEFT < reader.grid.left + 1280
    from affine import Affine

    moved = write_tif(
        tmp_path / "moved.tif",
        scene[:12, 64:, 64:].astype(np.uint16),
        SPECTRAL,
        transform=Affine(10, 0, LEFT + 640, 0, -10, TOP - 640),
        nodata=0,
    )
    other = Reader.of(open_scene(moved), L4S, str(dem)).grid
    assert (other.left - reader.grid.left) % 1280 == 0


@pytest.mark.parametrize("case", ["rotated", "two zones", "small"])
def test_a_scene_of_another_grid_is_warped_to_one(tmp_path, scene, case):
    """North is up, the zone is that of the finest band, and fewer pixels than a tile will do."""
    from affine import Affine

    bands = scene[:12].astype(np.uint16)
    bands[:] = 500 + 10 * np.arange(12)[:, None, None]
    _, dem = write_scene(tmp_path, scene)
    path = tmp_path / "bands"
    if case == "rotated":
        at = Affine.translation(LEFT + 600, TOP - 200) @ Affine.rotation(20) @ Affine.scale(10, -10)
        path = write_tif(tmp_path / "s.tif", bands[:, :100, :150], SPECTRAL, transform=at, nodata=0)
        size = 100 * 150
    elif case == "small":
        path, size = write_tif(tmp_path / "s.tif", bands[:, :30, :50], SPECTRAL, nodata=0), 1500
    else:
        size = bands[0].size
        for name, band in zip(SPECTRAL, bands, strict=True):
            write_tif(path / f"{name}.tif", band[None], nodata=0)
        _warp(path / "B11.tif", path / "B11_z.tif", "EPSG:32655")
        (path / "B11.tif").unlink()
    reader = Reader.of(open_scene(path), L4S, str(dem))
    assert reader.grid.crs == CRS
    found = whole(reader)[:12]
    seen = np.isfinite(found).all(axis=0)
    assert abs(seen.sum() / size - 1) < 0.05
    np.testing.assert_allclose(found[:, seen].T, np.tile(bands[:, 0, 0], (seen.sum(), 1)), atol=1)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no crs", "coordinate reference system"),
        ("missing bands", "missing: B11, B12"),
        ("no dem", "--dem"),
        ("l2a", "L2A"),
        ("no names", "--bands"),
        ("twice", "twice"),
        ("not there", "no such scene"),
        ("no raster", "GDAL"),
        ("cut short", "cut short"),
        ("no stac", "STAC"),
        ("half a product", "Sentinel-2 product"),
    ],
)
def test_what_is_wrong_with_a_scene_is_said(tmp_path, scene, case, words):
    tif, dem = write_scene(tmp_path, scene)
    image, path, given = scene[:12].astype(np.uint16), tmp_path / "bad.tif", str(dem)
    if case == "no crs":
        write_tif(path, image, SPECTRAL, crs=None)
    elif case == "missing bands":
        write_tif(path, image[:10], SPECTRAL[:10])
    elif case == "no dem":
        path, given = tif, None
    elif case == "l2a":
        path = write_safe(tmp_path, scene, level="L2A")
    elif case == "no names":
        write_tif(path, image)
    elif case == "twice":
        write_tif(path, image, [*SPECTRAL[:11], "B1"])
    elif case == "no raster":
        path.write_text("not a picture")
    elif case == "cut short":
        path = write_safe(tmp_path, scene)
        image_file = next(path.rglob("*_B05.jp2"))
        image_file.write_bytes(image_file.read_bytes()[:-9000])
    elif case == "no stac":
        path = tmp_path / "item.json"
        path.write_text("{}")
    elif case == "half a product":
        path = write_safe(tmp_path, scene)
        (path / "MTD_MSIL1C.xml").write_text("<a/>")
    else:
        path = tmp_path / "nowhere.tif"
    with pytest.raises(DataError, match=words):
        whole(Reader.of(open_scene(path), L4S, given))


def test_an_area_outside_the_scene_is_refused_with_the_bounds_of_the_scene(tmp_path, scene):
    tif, dem = write_scene(tmp_path, scene)
    reader = Reader.of(open_scene(tif), L4S, str(dem))
    with pytest.raises(DataError, match="within 141"):
        area_of(reader, bbox=(10, 50, 11, 51))
    with pytest.raises(DataError, match="no box"):
        area_of(reader, bbox=(11, 50, 10, 51))


def test_polygons_are_mapped_and_nothing_around_them(tmp_path, scene):
    import pyogrio
    import shapely

    tif, dem = write_scene(tmp_path, scene)
    reader = Reader.of(open_scene(tif), L4S, str(dem))
    box = shapely.box(LEFT + 500, TOP - 900, LEFT + 700, TOP - 600)
    path = tmp_path / "aoi.gpkg"
    pyogrio.raw.write(
        path, np.array([shapely.to_wkb(box)], object), [], [], geometry_type="Polygon", crs=CRS
    )
    area = area_of(reader, aoi=path)
    inside = area.inside(reader.grid, *(slice(0, n) for n in reader.grid.shape))
    assert inside.sum() == 20 * 30
    y, x = np.argwhere(inside)[0]
    found = reader.grid.transform(int(y), int(x))
    assert (found.c, found.f) == (LEFT + 500, TOP - 600)


def test_pixels_of_bounds_lie_within_the_grid():
    grid = Grid(CRS, 0.0, 1280.0, 10.0, 128, 1, 1)
    assert grid.pixels((-50, 1255, 25, 9999)) == (slice(0, 3), slice(0, 3))
    assert replace(grid, rows=2).shape == (256, 128)
