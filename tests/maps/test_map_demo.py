"""The synthetic scene of the demo becomes a map with a page; without rasterio it says so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from l4s_ensemble.cli import map as command
from l4s_ensemble.cli.app import app
from l4s_ensemble.errors import DataError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "DEMO_TILES", (1, 2))


def test_the_scene_of_the_demo_is_mapped_and_has_a_page(
    small: None, tiny_run: Path, tmp_path: Path
) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    scene, clouds = command.demo_scene(tmp_path, 0)
    made = scene.stat().st_mtime_ns
    assert command.demo_scene(tmp_path, 0) == (scene, clouds) and scene.stat().st_mtime_ns == made
    with rasterio.open(scene) as file, rasterio.open(clouds) as mask:
        image, hidden = file.read(), mask.read(1) > 0
        assert file.crs == mask.crs and file.transform == mask.transform
        assert file.descriptions[0] == "B1" and file.descriptions[13] == "dem"
    lost = ~image[:12].any(axis=0)
    assert 0.01 < lost.mean() < 0.3 and 0 < hidden.mean() < 0.1
    assert image[13][lost].min() > 0  # elevation is there
    assert np.median(image[1][hidden & ~lost]) > 2 * np.median(image[1])
    words = ["map", str(scene), "--mask", str(clouds), "--run", str(tiny_run), "--jobs", "1"]
    words += ["--out", str(tmp_path / "map"), "--device", "cpu"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, (ended.output, ended.exception)
    page = tmp_path / "map" / "index.html"
    assert page.is_file() and str(page) in ended.output.replace("\n", "")
    page.unlink()
    ended = CliRunner().invoke(app, ["report", "--run", str(tmp_path / "map")])
    assert ended.exit_code == 0 and page.is_file()


def test_without_rasterio_the_demo_says_how_to_get_it_before_it_fits(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    ended = CliRunner().invoke(app, ["demo", "--map", "--out", str(tmp_path / "run")])
    assert isinstance(ended.exception, DataError)
    assert r"pip install 'l4s_ensemble[geo]'" in str(ended.exception)
    assert not (tmp_path / "run" / "synthetic-patches").exists()
