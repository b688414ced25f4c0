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
  && i.getAttribute('src') && !i.naturalWidth).map(i => i.src)"""


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


def test_the_index_tells_its_story_on_one_screen(open_page: OpenPage) -> None:
    page = open_page("index", width=DESK, height=900)
    for told in (".sentence", ".pipeline .predict"):
        box = page.locator(told).last.bounding_box()
        assert box is not None and box["y"] + box["height"] <= 900, told


@pytest.mark.parametrize("name", ["stack", "pixel"])
def test_long_pages_list_their_sections(open_page: OpenPage, name: str) -> None:
    page = open_page(name, width=PHONE)
    links = page.locator(".toc a")
    assert links.count() > 4
    links.nth(3).click()
    place = page.locator(str(links.nth(3).get_attribute("href")))
    page.wait_for_function("() => document.querySelector('.toc [aria-current]')")
    page.wait_for_timeout(100)
    bar, section = page.locator(".toc").bounding_box(), place.bounding_box()
    assert bar is not None and section is not None
    assert bar["y"] == pytest.approx(0, abs=1)  # it stays at the top
    assert bar["height"] - 1 <= section["y"] < 200  # and hides nothing of what was asked for
    assert page.locator(".toc [aria-current]").inner_text() == links.nth(3).inner_text()


def test_tables_are_sorted_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("features")
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
