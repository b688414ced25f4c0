"""The threshold's slider in a real browser: its numbers are those of the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from viewing import PHONE, OpenPage

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PLACES = {"stack": "stack", "prediction-valid": "predict/valid/scores"}
LANDSLIDER = "#decide-threshold"


def pooled(run: Path, page: str, model: str) -> ScoreHistogram:
    return TileHistograms.load(run / PLACES[page] / f"tiles_{model}.npz").pooled()


def move(page: Page, value: int) -> None:
    page.locator(LANDSLIDER).evaluate(
        "(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", str(value)
    )


def shown(page: Page, key: str) -> float:
    return float(page.locator(f'.decide [data-key="{key}"]').get_attribute("data-raw") or "nan")


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("model", ["stack", "pixel"])
def test_numbers_are_those_of_the_metrics(
    open_page: OpenPage, tiny_run: Path, name: str, model: str
) -> None:
    page = open_page(name)
    page.locator(f'.decide input[value="{model}"]').check(force=True)
    histogram = pooled(tiny_run, name, model)
    curve = histogram.curve()
    for k in (0, 50, 351, 700, 999):
        move(page, k)
        for key in ("precision", "recall", "f1", "iou"):
            assert shown(page, key) == float(curve[key][k])  # to the last digit
        tp, fp = histogram.positive[k:].sum(), histogram.negative[k:].sum()
        for key, n in (("tp", tp), ("fp", fp), ("fn", histogram.positive[:k].sum())):
            assert shown(page, key) == n
        assert shown(page, "predicted_km2") == pytest.approx((tp + fp) * 1e-4)
    page.locator(".decide .best").click()
    assert int(page.locator(LANDSLIDER).input_value()) == round(histogram.best().value * 1000)


def test_it_begins_at_the_threshold_in_use_and_goes_back(
    open_page: OpenPage, tiny_report: Path
) -> None:
    page = open_page("stack", scheme="dark", width=PHONE)
    twin = read_json(tiny_report / "stack.json")["decide"]
    used = round(twin["models"][-1]["threshold"] * twin["bins"])
    slider, back = page.locator(LANDSLIDER), page.locator(".decide .back")
    assert int(slider.input_value()) == used and back.is_disabled()
    assert page.locator(".decide .said").inner_text().replace("\u202f", " ") == twin[
        "sentence"
    ].replace("\u202f", " ")
    slider.focus()
    page.keyboard.press("ArrowRight")  # the keyboard moves it by one bin
    assert int(slider.input_value()) == used + 1
    assert f"{(used + 1) / 1000:.3f}" in (slider.get_attribute("aria-valuetext") or "")
    back.click()
    assert int(slider.input_value()) == used
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_without_a_script_a_table_stands_there(chromium: Browser, tiny_report: Path) -> None:
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((tiny_report / "stack.html").resolve().as_uri())
    assert page.locator(".decide table").last.is_visible()
    assert page.locator(".decide .said").is_visible()
    assert not page.locator(LANDSLIDER).is_visible()
    context.close()
