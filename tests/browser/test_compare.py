"""The page of two runs compared in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from viewing import DESK, PHONE, OpenPage

from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report.compare.render import render_comparison
from l4s_ensemble.run.files import read_json, write_json


@pytest.fixture(scope="module")
def compared(report_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a comparison of the made-up run with one whose U-Net counts otherwise."""
    place = tmp_path_factory.mktemp("compared")
    other = place / "other"
    shutil.copytree(report_run, other)
    tiles = TileHistograms.load(other / "stack/tiles_stack.npz")
    moved = tiles.negative[:, :100].copy()
    tiles.negative[:, :100] = 0
    tiles.negative[:, 900:] += moved  # false alarms
    tiles.save(other / "stack/tiles_stack.npz")
    path = other / "predict/valid/scores/summary.json"
    told = read_json(path)
    for tile in told["tiles"]:
        tile["fp"] += 50
    write_json(path, told)
    return render_comparison(report_run, other, place / "out").parent


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", DESK)])
def test_the_page_loads_and_fits(
    open_page: OpenPage, compared: Path, scheme: str, width: int
) -> None:
    page = open_page("compare", scheme=scheme, width=width, folder=compared)
    assert page.locator("h1").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for figure in page.locator(".fig").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".plot .main-svg").first.wait_for()
    assert page.locator(".contest img").count() > 0
    assert "\u221250" in page.locator("#tiles-valid").inner_text()
