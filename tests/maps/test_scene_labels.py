"""Labels of a scene that has a map: chosen, drawn, read, adapted to, and mapped again."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="the extra geo is not installed")
pytest.importorskip("pyogrio", reason="the extra geo is not installed")

import rasterio
from map_world import CRS, LEFT, TOP, counts, write_scene
from test_polygons import written
from tiny_patches import tiny_patch
from typer.testing import CliRunner

from l4s_ensemble.adapt import adaptation
from l4s_ensemble.adapt.adaptation import classifiers_of, score_pixel
from l4s_ensemble.adapt.choose import choose
from l4s_ensemble.adapt.labels import encode
from l4s_ensemble.adapt.scene import (
    candidates_of_scene,
    polygon_labels,
    read_tiles,
    source_of_scene,
)
from l4s_ensemble.cli.app import app
from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.blocks import Block, read_block
from l4s_ensemble.maps.scene_map import map_scene, scene_statistics
from l4s_ensemble.maps.written import WrittenMap, open_map
from l4s_ensemble.pipeline import load_run
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.report.render import render_report

ROWS, COLUMNS = 3, 3
REFERENCE = np.block(
    [[tiny_patch([9, 10 * r + c])[1] for c in range(COLUMNS)] for r in range(ROWS)]
)


@pytest.fixture(scope="module")
def found(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> WrittenMap:
    """A map of a scene that holds four tiles of the grid as a whole."""
    folder = tmp_path_factory.mktemp("scene")
    tif, dem = write_scene(folder, counts(ROWS, COLUMNS))
    map_scene(tif, tiny_run, folder / "map", dem=dem, device="cpu")
    return open_map(folder / "map")


def drawn(found: WrittenMap, patch: int) -> np.ndarray:
    """Reference of a tile, by coordinates of the ground."""
    grid = found.reader.grid
    corner = grid.transform(*(n * grid.edge for n in divmod(patch, grid.columns)))
    y, x = round((TOP - corner.f) / 10), round((corner.c - LEFT) / 10)
    return REFERENCE[y : y + 128, x : x + 128]


def polygons(path: Path) -> Path:
    import shapely
    from affine import Affine
    from rasterio.features import shapes

    at = Affine(10, 0, LEFT, 0, -10, TOP)
    outlines = [shapely.geometry.shape(s) for s, v in shapes(REFERENCE, transform=at) if v]
    return written(path, outlines, CRS)


@pytest.mark.slow
def test_a_page_is_drawn_on_and_the_adapted_run_maps_the_scene(
    found: WrittenMap, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "STEPS", 3)
    run = load_run(tiny_run, jobs=1, device="cpu")
    words = ["--scene", str(found.folder), "--run", str(tiny_run), "--tiles", "9", "--jobs", "1"]
    done = CliRunner().invoke(app, ["label", *words, "--out", str(tmp_path / "label.html")])
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"--labels labels-map.json --run {tiny_run} --scene {found.folder}" in done.output
    chosen = choose(candidates_of_scene(found), 9)
    page = (tmp_path / "label.html").read_text()
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert text is not None
    told = json.loads(text[1].replace("<\\/", "</"))
    assert [t["patch"] for t in told["tiles"]] == [c.patch for c in chosen]
    assert len(chosen) == 4 and told["split"] == "map"
    with rasterio.open(found.folder / "mask.tif") as file:
        for tile in told["tiles"]:
            grid = found.reader.grid
            at = grid.transform(*(n * grid.edge for n in divmod(tile["patch"], grid.columns)))
            row, col = file.index(at.c + 5, at.f - 5)
            part = file.read(1)[row : row + 128, col : col + 128]
            assert part.shape == (128, 128) and tile["mask"] == encode(part == 1)
    kept = {k: told[k] for k in ("format", "version", "run", "models", "split", "size")}
    labels = [
        {k: t[k] for k in ("patch", "reason", "content")}
        | {"runs": encode(drawn(found, t["patch"]))}
        for t in told["tiles"]
    ]
    (tmp_path / "labels.json").write_text(json.dumps({**kept, "tiles": labels}))
    summary = run.adapt(tmp_path / "labels.json", tmp_path / "new", scene=found.folder, anyway=True)
    assert summary.scene == str(found.folder) and summary.split is None
    assert {t.patch: t.reason for t in summary.tiles} == {c.patch: c.reason for c in chosen}
    assert summary.block_kind == "spatial"
    again = map_scene(
        found.asked.scene, tmp_path / "new", tmp_path / "map", dem=found.asked.dem, device="cpu"
    )
    assert again.threshold == summary.models[-1].threshold_after
    render_report(tmp_path / "new", tmp_path / "report")
    shown = html.unescape((tmp_path / "report/adaptation.html").read_text())
    assert all(c.reason in shown for c in chosen) and f"--scene {found.folder}" in shown


def test_polygons_label_the_whole_tiles_that_they_touch(
    found: WrittenMap, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "STEPS", 3)
    path = polygons(tmp_path / "a.gpkg")
    labels = polygon_labels(path, found)
    assert 2 <= len(labels.patch) <= 4
    for patch, mask in zip(labels.patch.tolist(), labels.mask, strict=True):
        np.testing.assert_array_equal(mask, drawn(found, patch))
    run = load_run(tiny_run, jobs=1, device="cpu")
    summary = run.adapt(path, tmp_path / "new", scene=found.folder)
    assert [t.patch for t in summary.tiles] == labels.patch.tolist()
    assert sum(t.landslide_pixels for t in summary.tiles) == labels.mask.sum() > 0
    with pytest.raises(DataError, match="--scene"):
        run.adapt(path, tmp_path / "other")


def test_labelled_tiles_have_the_features_of_the_map(found: WrittenMap, tiny_run: Path) -> None:
    ensemble, reader = Ensemble.load(tiny_run, device="cpu"), found.reader
    row, col = 1, 2
    patch = np.array([row * reader.grid.columns + col])
    source = source_of_scene(ensemble, reader, patch, 1)
    assert source.dataset().sizes["patch"] == 9
    made = score_pixel(classifiers_of(ensemble), source, patch, jobs=1)[:, 0]
    raster = read_block(ensemble, reader, Block(row, col, row + 1, col + 1), found.area)
    statistics, _ = scene_statistics(ensemble, reader, 1)
    wanted = ensemble.score_raster(raster, statistics)["logit_pixel"]
    assert np.quantile(abs(made - wanted.values), 0.99) < 0.02


def test_tiles_beyond_the_scene_are_not_read(found: WrittenMap) -> None:
    cells = found.reader.grid.rows * found.reader.grid.columns
    assert read_tiles(found.reader, [cells // 2, 10**7])["patch"].values.tolist() == [cells // 2]
    with pytest.raises(DataError, match="no such tiles"):
        read_tiles(found.reader, [10**7])
