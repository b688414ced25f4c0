"""The tile browser in a real browser: what it draws and says is what the run scored."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from viewing import PHONE, OpenPage

from l4s_ensemble.data.store import open_store
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.report import words
from l4s_ensemble.report.pictures import draw
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


@pytest.fixture
def told(tiny_report: Path) -> dict[str, Any]:
    """What the page of the training tiles knows."""
    return dict(read_json(tiny_report / "tiles-train.json")["blocks"]["browser"])


def part(page: Page, name: str) -> Locator:
    return page.locator(f'[data-part="{name}"]')


def shows(page: Page, patch: int) -> None:
    """Wait until a tile is drawn."""
    page.wait_for_selector(f'.browser[data-tile="{patch}"]')


def address(page: Page, wanted: str) -> None:
    """Wait until the address holds something: it follows a moment later."""
    page.wait_for_function("w => location.hash.includes(w)", arg=wanted)


def worst(told: dict[str, Any]) -> int:
    t = told["tiles"]
    return int(t["patch"][int(np.argmax(np.array(t["fp"]) + np.array(t["fn"])))])


def test_the_worst_tile_is_shown_first(open_page: OpenPage, told: dict[str, Any]) -> None:
    for scheme, width in (("dark", 1280), ("light", PHONE)):
        page = open_page("tiles-train", scheme=scheme, width=width)
        shows(page, worst(told))
        assert part(page, "name").inner_text() == f"Tile {worst(told)}"
        assert page.locator('.thumb[aria-selected="true"]').count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        address(page, f"tile={worst(told)}")


def test_thumbnails_out_of_sight_are_not_drawn(open_page: OpenPage) -> None:
    page = open_page("tiles-train", width=PHONE)
    drawn = page.locator(".thumb i").evaluate_all(
        "all => all.filter(e => e.checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert 0 < drawn < page.locator(".thumb").count()


def test_a_pixel_says_and_shows_its_probabilities(
    open_page: OpenPage, tiny_run: Path, told: dict[str, Any]
) -> None:
    patch, (y, x) = worst(told), (30, 77)
    page = open_page(f"tiles-train#tile={patch}&left=stack&right=unet&mix=100&at={y}_{x}")
    shows(page, patch)
    p = open_scores(tiny_run / "stack/oof.zarr")["probability"].sel(patch=patch).values[y, x]
    unet = sigmoid(open_scores(tiny_run / "unet/oof.zarr")["logit"].sel(patch=patch).values[y, x])
    assert part(page, "where-pixel").inner_text() == f"Row {y}, column {x}"
    said = part(page, "pixel").inner_text()
    assert abs(float(re.search(r"stack\s+([\d.]+)", said)[1]) - p) < 0.01
    assert abs(float(re.search(r"U-Net\s+([\d.]+)", said)[1]) - float(unet)) < 0.01
    # No photograph was drawn on this canvas, so that it may be read.
    drawn = part(page, "under").evaluate(
        "(c, [x, y]) => Array.from(c.getContext('2d').getImageData(x, y, 1, 1).data)", [x, y]
    )
    wanted = draw.probability(np.array([[round(255 * float(p)) / 255]]))[0, 0]
    np.testing.assert_allclose(drawn[:3], wanted, atol=1)


def test_values_under_the_pointer(open_page: OpenPage, told: dict[str, Any]) -> None:
    page = open_page(f"tiles-train#tile={worst(told)}&mix=0")
    shows(page, worst(told))
    frame = part(page, "frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.2521, box["y"] + box["height"] * 0.7521)
    assert part(page, "where-pixel").inner_text() == "Row 96, column 32"
    page.mouse.move(2, 2)
    assert part(page, "where-pixel").inner_text() == "Row 64, column 64"
    page.mouse.click(box["x"] + box["width"] * 0.2521, box["y"] + box["height"] * 0.7521)
    page.mouse.move(2, 2)
    assert part(page, "where-pixel").inner_text() == "Row 96, column 32"
    address(page, "at=96_32")


def test_keys_walk_the_tiles_and_the_crosshair(open_page: OpenPage, told: dict[str, Any]) -> None:
    page = open_page("tiles-train#sort=id")
    ids = told["tiles"]["patch"]
    shows(page, ids[0])
    part(page, "list").focus()
    page.keyboard.press("ArrowRight")
    shows(page, ids[1])
    page.keyboard.press("End")
    shows(page, ids[-1])
    assert part(page, "next").is_disabled()
    page.keyboard.press("Home")
    shows(page, ids[0])
    part(page, "frame").focus()
    for key in ("ArrowUp", "ArrowUp", "Shift+ArrowLeft", "+"):
        page.keyboard.press(key)
    assert part(page, "where-pixel").inner_text() == "Row 62, column 56"
    assert part(page, "spoken").inner_text().startswith("Row 62, column 56: pixel classifier ")
    address(page, "zoom=1.5_")
    page.keyboard.press("0")
    page.wait_for_function("!location.hash.includes('zoom')")


def test_a_link_brings_back_the_whole_view(open_page: OpenPage, told: dict[str, Any]) -> None:
    patch = told["tiles"]["patch"][4]
    view = (
        f"tile={patch}&left=relief&right=unet&mode=blend&mix=30&at=5_6&zoom=3_0.4_0.6"
        "&threshold=0.2&lines=reference_predicted&sort=predicted&turned=yes&show=real&thumbs=errors"
    )
    page = open_page(f"tiles-train#{view}")
    shows(page, patch)
    assert part(page, "left").input_value() == "relief"
    assert part(page, "right").input_value() == "unet"
    assert page.locator('[name="mode"][value="blend"]').is_checked()
    assert part(page, "over").evaluate("e => e.style.opacity") == "0.3"
    assert part(page, "divider").is_hidden()
    page.locator('[name="mode"][value="swipe"]').check()
    assert "30%" in part(page, "over").evaluate("e => e.style.clipPath")
    page.locator('[name="mode"][value="blend"]').check()
    assert part(page, "threshold-value").inner_text() == "0.200"
    assert part(page, "sort").input_value() == "predicted"
    assert page.locator('[name="lines"]:checked').count() == 2
    part(page, "swap").click()
    address(page, "left=unet&right=relief")
    page.wait_for_function("document.querySelector('[data-part=link]').hash === location.hash")
    kept = page.evaluate("location.hash")
    asked = dict(pair.split("=") for pair in view.split("&"))
    found = dict(pair.split("=") for pair in kept[1:].split("&"))
    zoom, wanted = (np.array(d.pop("zoom").split("_"), float) for d in (found, asked))
    np.testing.assert_allclose(zoom, wanted, atol=0.01)  # a frame scrolls by whole pixels
    assert found == {**asked, "left": "unet", "right": "relief"}


def test_a_tile_that_is_not_there_is_said(open_page: OpenPage) -> None:
    page = open_page("tiles-train#tile=999")
    page.wait_for_selector(".browser[data-tile]")
    assert "Tile 999 is not among the tiles" in part(page, "fault").inner_text()


def test_filters_count_what_they_say(open_page: OpenPage, told: dict[str, Any]) -> None:
    t = {k: np.array(v) for k, v in told["tiles"].items()}
    page = open_page("tiles-train")
    total = len(t["patch"])
    real = t["tp"] + t["fn"]

    def counted(n: int) -> None:
        assert part(page, "count").inner_text() == f"{n} of {total} tiles"

    counted(total)
    part(page, "show").select_option("missed")
    counted(int((t["fn"] > 0).sum()))
    part(page, "show").select_option("none")
    counted(int((real == 0).sum()))
    part(page, "reset").click()
    part(page, "fold").select_option("1")
    counted(int((t["fold"] == 1).sum()))
    part(page, "show").select_option("none")
    counted(int(((t["fold"] == 1) & (real == 0)).sum()))
    part(page, "reset").click()
    part(page, "sort").select_option("f1")
    first = page.locator(".thumb").first.get_attribute("aria-label") or ""
    f1 = np.where(real > 0, 2 * t["tp"] / np.maximum(2 * t["tp"] + t["fp"] + t["fn"], 1), 9.0)
    assert first.startswith(f"Tile {t['patch'][int(np.argmin(f1))]},")


def test_the_browser_rounds_scores_as_the_tables_do(open_page: OpenPage) -> None:
    """Ties, which JavaScript turns up, and values that a second rounding would move."""
    rng = np.random.default_rng(0)
    tp, wrong = rng.integers(1, 3000, (2, 20_000))
    f1 = [*(2 * tp / (2 * tp + wrong)).tolist(), *(k / 16 for k in range(17)), 834 / 1462]
    said = open_page("tiles-train").evaluate("v => v.map(window.L4S.words.score)", f1)
    assert said == [words.score(v) for v in f1]


def test_the_threshold_moves_the_counts(
    open_page: OpenPage, tiny_run: Path, told: dict[str, Any]
) -> None:
    patch = worst(told)
    page = open_page(f"tiles-train#tile={patch}")
    shows(page, patch)
    i = told["tiles"]["patch"].index(patch)

    def counts() -> list[int]:
        found = re.search(
            r"([\d,]+) pixels found, ([\d,]+) missed, ([\d,]+) false",
            part(page, "summary").inner_text(),
        )
        assert found
        return [int(v.replace(",", "")) for v in found.groups()]

    assert counts() == [told["tiles"][k][i] for k in ("tp", "fn", "fp")]
    part(page, "threshold").evaluate("e => { e.value = 0.6; e.dispatchEvent(new Event('input')); }")
    p = open_scores(tiny_run / "stack/oof.zarr")["probability"].sel(patch=patch).values
    reference = open_store(tiny_run / "data/train")["mask"].sel(patch=patch).values == 1
    predicted = np.rint(255 * p) >= 255 * 0.6
    assert counts() == [
        int(v.sum())
        for v in (predicted & reference, ~predicted & reference, predicted & ~reference)
    ]
    address(page, "threshold=0.6")
    part(page, "threshold-back").click()
    assert counts() == [told["tiles"][k][i] for k in ("tp", "fn", "fp")]


def test_neighbours_lead_around_the_scene(open_page: OpenPage, told: dict[str, Any]) -> None:
    t = told["tiles"]
    where = {(r, c): p for r, c, p in zip(t["row"], t["col"], t["patch"], strict=True)}
    page = open_page(f"tiles-train#tile={where[1, 3]}")
    shows(page, where[1, 3])
    around = part(page, "neighbours").locator("button")
    wanted = [where[r, c] for r in (0, 1, 2) for c in (2, 3, 4)]
    assert [int(text) for text in around.all_inner_texts()] == wanted
    around.nth(0).click()
    shows(page, where[0, 2])
    assert part(page, "neighbours").locator(".none").count() == 3


def test_a_gallery_leads_to_its_tile(open_page: OpenPage) -> None:
    page = open_page("stack")
    link = page.locator(".tile h3 a").first
    patch = int(link.inner_text().removeprefix("Tile "))
    link.click()
    shows(page, patch)


def test_a_damaged_file_is_named(
    open_page: OpenPage, tiny_report: Path, tmp_path: Path, told: dict[str, Any]
) -> None:
    shutil.copytree(tiny_report, tmp_path / "out")
    first, second = told["tiles"]["patch"][:2]
    (tmp_path / "out" / told["folder"] / f"t{first}.js").write_text("// nothing\n")
    page = open_page("tiles-train#sort=id", folder=tmp_path / "out")
    part(page, "fault").wait_for(state="visible")
    assert f"Tile {first} cannot be shown: t{first}.js" in part(page, "fault").inner_text()
    part(page, "next").click()
    shows(page, second)
    assert part(page, "fault").is_hidden()
