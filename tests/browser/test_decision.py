"""The threshold's slider in a real browser: its numbers are those of the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from viewing import PHONE, OpenPage

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report.pages.decision import at_threshold
from l4s_ensemble.run.files import read_json
from l4s_ensemble.stack.decision import prevalence

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PLACES = {"stack": "stack", "prediction-valid": "predict/valid/scores"}
SLIDER, FACTOR = "#decide-threshold", "#decide-factor"


def pooled(run: Path, page: str, model: str) -> ScoreHistogram:
    return TileHistograms.load(run / PLACES[page] / f"tiles_{model}.npz").pooled()


def move(page: Page, slider: str, value: float) -> None:
    page.locator(slider).evaluate(
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
        move(page, SLIDER, k)
        for key in ("precision", "recall", "f1", "iou"):
            assert shown(page, key) == float(curve[key][k])  # to the last digit
        expected = at_threshold(histogram, k)
        for key in ("tp", "fp", "fn"):
            assert shown(page, key) == expected[key]
        assert shown(page, "called_km2") == pytest.approx((expected["tp"] + expected["fp"]) * 1e-4)
    page.locator(".decide .best").click()
    assert int(page.locator(SLIDER).input_value()) == round(histogram.best().value * 1000)


def test_another_prevalence(open_page: OpenPage, tiny_run: Path) -> None:
    page = open_page("stack")
    histogram = pooled(tiny_run, "stack", "stack")
    threshold = read_json(tiny_run / "stack/summary.json")["threshold"]
    used = round(threshold * 1000)
    for factor, place in ((0.25, -2), (0.5, -1), (2.0, 1), (4.0, 2)):
        move(page, FACTOR, place)
        for k in (200, used):
            move(page, SLIDER, k)
            expected = at_threshold(histogram, k, factor)
            for key in ("precision", "recall", "f1", "iou", "tp", "fp", "fn"):
                assert shown(page, key) == pytest.approx(expected[key], rel=1e-12)
        lost = page.locator(".decide").get_attribute("data-lost")
        assert float(lost or "nan") == pytest.approx(
            prevalence.lost_at(histogram, threshold, factor), abs=1e-12
        )
        said = page.locator(".decide .said").inner_text()
        assert f"Suppose that landslides are {factor:g} times as common" in said


def test_it_begins_at_the_threshold_in_use_and_goes_back(
    open_page: OpenPage, tiny_report: Path
) -> None:
    page = open_page("stack", scheme="dark", width=PHONE)
    twin = read_json(tiny_report / "stack.json")["decide"]
    used = round(twin["models"][-1]["threshold"] * twin["bins"])
    slider, back = page.locator(SLIDER), page.locator(".decide .back")
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
    assert not page.locator(SLIDER).is_visible()
    context.close()


def test_without_masks_the_predicted_area_moves(open_page: OpenPage, tiny_run: Path) -> None:
    counts = read_json(tiny_run / "predict/test/result/summary.json")["histogram"]
    page = open_page("prediction-test")
    for k in (0, 300, 999):
        move(page, SLIDER, k)
        assert shown(page, "called") == sum(counts[k:])
    assert page.locator(FACTOR).count() == 0
