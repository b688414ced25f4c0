from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l4s_ensemble.data.summary import BandSummary
from l4s_ensemble.errors import RunError
from l4s_ensemble.report.checks import run_checks
from l4s_ensemble.report.pages.data import data
from l4s_ensemble.report.parts.faults import fault_table, standardised
from l4s_ensemble.report.pictures import draw, mosaics
from l4s_ensemble.report.pictures.scene import draw_scene, thumbnails
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.layout import layout_of


@pytest.fixture
def data_run(tiny_run: Path, tmp_path: Path) -> Path:
    """The stages that the data page shows, to be changed at will."""
    run = tmp_path / "run"
    for name in ("data", "scenes"):
        shutil.copytree(tiny_run / name, run / name)
    return run


def test_a_standardised_shift_is_in_interquartile_ranges() -> None:
    def band(p25: float, p50: float, p75: float) -> BandSummary:
        rest = dict.fromkeys(("min", "max", "std"), 0.0)
        return BandSummary(name="B4", unit="DN", p25=p25, p50=p50, p75=p75, **rest)

    here, there = band(10, 12, 14), band(4, 6, 8)
    assert standardised(here, there) == pytest.approx(1.5)
    assert standardised(there, here) == pytest.approx(-1.5)
    assert standardised(here, here) == 0
    assert standardised(band(1, 1, 1), band(1, 1, 1)) == 0
    assert standardised(band(2, 2, 2), band(1, 1, 1)) is None


def test_a_split_that_moved_is_flagged_and_named(with_summary: Callable[..., RunSource]) -> None:
    def brighter(summary: dict[str, Any]) -> None:
        for key in ("p25", "p50", "p75"):
            summary["bands"][3][key] += 5000

    source = with_summary("data/valid", brighter)
    found = next(c for c in run_checks(source) if c["key"] == "shift")
    assert found["level"] == "tip" and "B4 in valid" in found["explanation"]
    first = data(source)["tables"]["shifts"]["rows"][0]
    assert (first["split"], first["band"]) == ("valid", "B4") and first["shift"] > 1


def test_the_scan_is_shown_where_it_was_kept(data_run: Path) -> None:
    assert fault_table(RunSource(data_run)) == {}
    found = [
        {"level": "warning", "code": "stray", "where": "a", "message": "m", "split": "train"},
        {"level": "error", "code": "nan", "where": "b", "message": "m", "split": "valid"},
    ]
    write_json(data_run / "data/train/check.json", {"faults": found})
    made = data(RunSource(data_run))
    assert [r["code"] for r in made["tables"]["faults"]["rows"]] == ["nan", "stray"]
    # An error would stop a fit: the first screen says so.
    assert "1 error and 1 warning" in made["lead"] and made["blocks"]["stop"]["lines"]
    write_json(data_run / "data/train/check.json", ["no", "report"])
    with pytest.raises(RunError, match=r"check\.json"):
        fault_table(RunSource(data_run))


def test_scenes_lie_in_the_report(tiny_report: Path) -> None:
    shown = read_json(tiny_report / "data.json")["blocks"]
    (first,), others = shown["scene"]["pictures"], shown["scenes"]["pictures"]
    assert [p["title"] for p in (first, *others)] == [
        "Scene 1 of train",
        "Scene 3 of test",
        "Scene 2 of valid",
    ]
    for picture in (first, *others):
        file = tiny_report / picture["file"]
        assert file.stat().st_size <= mosaics.MOST_BYTES
        with Image.open(file) as image:
            assert image.size == (picture["width"], picture["height"])
        assert picture["file"] in (tiny_report / "data.html").read_text()
        wide = picture["cols"] * 1.28  # km
        assert picture["scale"]["percent"] == pytest.approx(
            100 * picture["scale"]["km"] / wide, 1e-3
        )
    labels = [entry["label"] for entry in shown["scene"]["legend"]]
    assert labels == ["fold 0", "fold 1", "fits nothing (degenerate)"]


def test_a_map_has_the_colours_of_what_was_counted(tiny_run: Path, tiny_report: Path) -> None:
    picture = read_json(tiny_report / "prediction-valid.json")["blocks"]["map"]["pictures"][0]
    drawn = np.asarray(Image.open(tiny_report / picture["file"]).convert("RGB")).astype(int)
    counts = read_json(tiny_run / "predict/valid/scores/summary.json")["masks"]
    step = 256 // drawn.shape[1] if drawn.shape[1] < 256 else 1
    for colour, key in ((draw.FALSE_ALARM, "fp"), (draw.FOUND, "tp")):
        near = (np.abs(drawn - colour).max(axis=-1) <= 40).sum() * step**2
        assert near == pytest.approx(counts[key], rel=0.35)


def test_what_fits_nothing_is_hatched(tiny_run: Path) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    folds = load_folds(tiny_run / "scenes")
    place = layout_of(folds.patch, folds.scene, folds.row, folds.col)
    grey = np.full((3 * 8, 6 * 8, 3), 128, np.uint8)
    role = np.array(["fit"] * 15 + ["holdout", "guard", "degenerate"])
    drawn = mosaics._marked(grey, place, np.zeros(18, int), role, 8)
    tiles = [drawn[8 * (n // 6) :, 8 * (n % 6) :][:8, :8] for n in range(18)]
    assert (tiles[0] == tiles[0][0, 0]).all()  # one fold: its colour, no line, no pattern
    assert not (tiles[0] == 128).all()
    inner = [t[1:-1, 1:-1] for t in tiles[15:]]
    assert all((t == mosaics.CHALK).all(-1).any() and (t == 128).any() for t in inner)


@pytest.mark.parametrize("cells", [1, 150, 3034, 100_000])
def test_pictures_stay_small(cells: int) -> None:
    edge = mosaics.tile_edge_px(128, cells)
    assert 128 % edge == 0
    assert edge == 4 or edge**2 * cells <= mosaics.MOST_PIXELS


def test_pictures_of_scenes_that_are_gone_are_removed(data_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    render_report(data_run, out)
    assert (out / "assets/mosaic-valid-2-plain.webp").is_file()
    shutil.rmtree(data_run / "data/valid")
    render_report(data_run, out)
    assert sorted(p.name for p in (out / "assets").glob("mosaic*")) == [
        "mosaic-test-3-plain.webp",
        "mosaic-train-1-folds.webp",
    ]


def test_a_scene_shows_every_tile_in_its_place() -> None:
    images = np.full((7, 3, 16, 16), 100, np.uint16)
    images[2] = 1000
    where = layout_of(
        np.arange(7), [1, 1, 1, 1, 2, 2, -1], [0, 0, 1, 2, 0, 0, -1], [0, 1, 0, 0, 0, 1, -1]
    )
    picture = draw_scene(thumbnails(images, (0, 1, 2), 20), where, 1)
    assert picture.shape == (60, 40, 3)
    assert (picture[20:40, :20] > 250).all()
    assert (picture > 250).sum() == 3 * 20 * 20
