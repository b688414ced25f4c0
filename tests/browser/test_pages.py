"""Every page in a real browser: it loads, fits its window, and its links lead somewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from viewing import DESK, PHONE, OpenPage, whole

SCREENSHOTS = os.environ.get("L4S_SCREENSHOTS")
"""Folder for pictures of the pages."""

PAPER = 718
"""Width of A4 between the margins that browsers leave, px."""

OVERRUN = """() => {
  const seen = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) seen.push('the page is wider than the window');
  for (const card of document.querySelectorAll('.card, .sheet, .tile')) {
    const own = card.getBoundingClientRect();
    if (own.width && own.right > wide + 1) seen.push(`${card.id || card.className} leaves it`);
    for (const part of card.querySelectorAll('*')) {
      if (part.closest('.scroll, pre, .unseen, svg svg') || !part.getClientRects().length) continue;
      const inner = part.getBoundingClientRect();
      if (inner.width && inner.height && inner.right > own.right + 1.5)
        seen.push(`${card.id || card.className}: ${part.tagName} runs over by ` +
                  Math.round(inner.right - own.right));
    }
  }
  return seen.slice(0, 9);
}"""
"""What is wider than the window, or than the card that it stands in."""

NOT_SHOWN = """() => [...document.images].filter(i => i.getBoundingClientRect().top < innerHeight
  && !i.closest('details:not([open])') && i.getAttribute('src') && !i.naturalWidth)
  .map(i => i.src)"""


def pages_of(report: Path) -> list[str]:
    return sorted(path.stem for path in report.glob("*.html"))


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", DESK), pytest.param("dark", PHONE, marks=pytest.mark.slow)]
)
def test_every_page_loads_and_fits(
    open_page: OpenPage, tiny_report: Path, scheme: str, width: int
) -> None:
    """The fixture fails it for a request or an error."""
    wrong = {}
    for name in pages_of(tiny_report):
        page = whole(open_page(name, scheme=scheme, width=width))
        assert page.locator("h1").count() == 1, name
        found = page.evaluate(OVERRUN) + page.evaluate(NOT_SHOWN)
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{scheme}-{width}.jpg", quality=70)
        if found:
            wrong[name] = found
    assert not wrong


@pytest.mark.parametrize(("width", "most"), [(1400, 6), (PHONE, 15)])
def test_pages_are_short_before_anything_is_opened(
    open_page: OpenPage, tiny_report: Path, width: int, most: int
) -> None:
    screens = {
        name: whole(open_page(name, width=width)).evaluate(
            "document.querySelector('main').scrollHeight / 900"
        )
        for name in pages_of(tiny_report)
    }
    assert not {name: n for name, n in screens.items() if n > most}


@pytest.mark.parametrize("name", ["index", "data", "pixel", "stack", "prediction-valid"])
def test_the_first_screen_answers_its_question(open_page: OpenPage, name: str) -> None:
    page = open_page(name, width=1400, height=900)
    for part in (".question", ".lead", ".stats dd", ".hero .card"):
        box = page.locator(part).last.bounding_box()
        assert box is not None and box["y"] + box["height"] <= 900, part


@pytest.mark.parametrize("name", ["stack", "pixel"])
def test_sections_are_listed_and_a_link_opens_a_folded_one(open_page: OpenPage, name: str) -> None:
    page = open_page(name, width=PHONE)
    link = page.locator(".toc a", has_text="Curves")
    place = page.locator(str(link.get_attribute("href")))
    assert place.locator("details:not([open])").count() == 1
    link.click()
    page.wait_for_function("() => document.querySelector('.toc [aria-current]')")
    page.wait_for_timeout(300)
    assert place.locator("details[open]").count() == 1
    bar, section = page.locator(".toc").bounding_box(), place.bounding_box()
    assert bar is not None and section is not None
    assert bar["y"] == pytest.approx(0, abs=1)  # it stays at the top
    assert bar["height"] - 1 <= section["y"] < 200  # and hides nothing of what was asked for
    assert page.locator(".toc [aria-current]").inner_text() == link.inner_text()


def test_a_click_on_the_map_leads_to_the_tile(open_page: OpenPage, tiny_report: Path) -> None:
    page = open_page("prediction-valid")
    scene = page.locator("[data-scene]").first
    box = scene.locator("img").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    page.wait_for_url("**/tiles-valid.html#tile=2*")


def test_tables_are_sorted_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("features")
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    table = page.locator("table.sortable").first
    heads = table.locator("thead th")
    column = 2
    button = heads.nth(column).locator("button")
    button.focus()
    for order, way in (("descending", -1), ("ascending", 1)):
        page.keyboard.press("Enter")
        assert heads.nth(column).get_attribute("aria-sort") == order
        cells = table.locator(f"tbody tr > :nth-child({column + 1})")
        raw = cells.evaluate_all("all => all.map(c => c.dataset.raw)")
        values = [float(v) for v in raw if v]
        assert len(values) > 3 and values == sorted(values, key=lambda v: way * v)


@pytest.mark.parametrize("name", ["stack", "features", "card"])
def test_paper_shows_everything(open_page: OpenPage, name: str) -> None:
    """Closed parts are opened, bars that stick are gone, and nothing is wider than the paper."""
    page = open_page(name)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator(".toc").is_visible()
    assert page.locator("[data-plot] .main-svg").count() >= page.locator("[data-plot]").count()
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER
    over = page.eval_on_selector_all(
        "[data-plot]", "all => Math.max(0, ...all.map(d => d.scrollWidth - d.clientWidth))"
    )
    assert over <= 1
