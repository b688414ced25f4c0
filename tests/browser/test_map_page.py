"""The page of a map in a browser: layers, the sorted list, and a row that zooms the map."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page
from viewing import DESK, PHONE, OpenPage

OPTIONS = {"preload": False, "resultTypes": ["violations"]}
"""Of axe: a page opened as a file may not be read by a script."""


@pytest.fixture
def opened(open_page: OpenPage, tiny_map: Path) -> Page:
    page: Page = open_page("index", folder=tiny_map, width=1400)
    page.wait_for_selector(".graticule text")
    return page


def scale(page: Page) -> float:
    return float(
        page.evaluate("document.querySelector('.plate').style.getPropertyValue('--zoom')") or 1
    )


def test_layers_are_switched_with_their_legend(opened: Page) -> None:
    for key in ("probability", "uncertainty", "applicability", "colour"):
        opened.locator(f"[name=layer][value={key}]").check(force=True)
        shown = opened.locator("img[data-layer]:visible")
        assert shown.count() == 1 and shown.get_attribute("data-layer") == key
        assert opened.locator("[data-legend]:visible").get_attribute("data-legend") == key
        assert shown.evaluate("i => i.naturalWidth") > 0
    opened.locator("[name=outlines]").uncheck()
    assert opened.locator(".plate path:visible").count() == 0


def test_the_list_is_sorted_and_a_row_zooms_the_map_to_its_landslide(opened: Page) -> None:
    head = opened.locator(".maplist th button", has_text="area")
    rows, cells = opened.locator(".maplist tbody tr"), opened.locator(".maplist tbody td.t-area")
    for turned in (True, False, True):
        head.click()
        areas = cells.evaluate_all("all => all.map(c => Number(c.dataset.raw))")
        assert areas == sorted(areas, reverse=turned) and len(areas) == rows.count() > 2
    row = rows.nth(1)
    wanted = row.locator("a").inner_text()
    assert scale(opened) == 1
    row.locator("td").last.click()
    path = opened.locator(f'.plate path[data-id="{wanted}"]')
    assert scale(opened) > 2
    frame, own = opened.locator(".mapview .frame").bounding_box(), path.bounding_box()
    assert frame and own
    for at, size in (("x", "width"), ("y", "height")):
        assert frame[at] <= own[at] and own[at] + own[size] <= frame[at] + frame[size]
    assert max(own["width"] / frame["width"], own["height"] / frame["height"]) > 0.15
    assert "chosen" in str(path.get_attribute("class")) and "chosen" in str(
        row.get_attribute("class")
    )
    assert opened.evaluate("location.hash") == f"#landslide={wanted}"
    said = opened.locator("[data-part=chosen]").inner_text()
    assert said.startswith(f"Landslide {wanted}: area")
    opened.locator("[data-zoom='0']").click()
    assert scale(opened) == 1


def test_coordinates_are_those_of_the_map(opened: Page, tiny_map: Path) -> None:
    import rasterio
    from rasterio.warp import transform

    box = opened.locator(".plate").bounding_box()
    assert box
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said = opened.locator("[data-part=where]").inner_text()
    with rasterio.open(tiny_map / "mask.tif") as file:
        x, y = (sum(file.bounds[i::2]) / 2 for i in (0, 1))
        (lon,), (lat,) = transform(file.crs, "EPSG:4326", [x], [y])
        crs = file.crs.to_string()
    numbers = [float(n) for n in re.findall(r"\d+(?:\.\d+)?", said.replace(crs, ""))]
    # A pointer stands on a whole pixel of the window.
    metre = 3 * (file.bounds.right - file.bounds.left) / box["width"] / 111_000
    assert numbers[0] == pytest.approx(abs(lat), abs=metre) and crs in said
    assert numbers[1] == pytest.approx(abs(lon), abs=2 * metre)
    assert numbers[2] == pytest.approx(x, abs=3 * metre * 111_000)


def test_the_map_is_moved_by_mouse_and_zoomed_by_keys(opened: Page) -> None:
    frame = opened.locator(".mapview .frame")
    frame.focus()
    for _ in range(3):
        opened.keyboard.press("+")
    assert scale(opened) > 3
    box = frame.bounding_box()
    assert box
    before = frame.evaluate("f => [f.scrollLeft, f.scrollTop]")
    opened.mouse.move(box["x"] + 300, box["y"] + 200)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 240, box["y"] + 150, steps=4)
    opened.mouse.up()
    after = frame.evaluate("f => [f.scrollLeft, f.scrollTop]")
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([60, 50], abs=2)
    opened.keyboard.press("0")
    assert scale(opened) == 1


def test_a_link_opens_the_map_at_a_landslide(open_page: OpenPage, tiny_map: Path) -> None:
    page = open_page("index#landslide=1", folder=tiny_map)
    page.wait_for_selector("path.chosen")
    assert scale(page) > 2


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", DESK)])
def test_axe_finds_nothing_and_nothing_runs_over_the_window(
    open_page: OpenPage, tiny_map: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    page = open_page("index", folder=tiny_map, scheme=scheme, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = axe.Axe().run(page, None, OPTIONS).response["violations"]
    assert not [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
