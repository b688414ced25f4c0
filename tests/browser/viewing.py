"""How the tests look at a page: widths of the window, what opens a page, and all of it drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESK, PHONE = 1280, 390
"""Widths that every page is looked at, px."""

TALLEST = 16_000
"""A window higher than this is not made, px: a picture of it would not be."""

OpenPage = Callable[..., "Page"]
"""Fixture ``open_page``; its parameters are in ``conftest.py``."""

_DRAWN = """() => [...document.querySelectorAll('[data-plot]')].every(d => {
  const r = d.getBoundingClientRect(), svg = d.querySelector('.main-svg');
  return d.clientWidth < 120 || r.top > innerHeight || d.closest('details:not([open])')
    || svg && Math.abs(svg.getBoundingClientRect().width - d.clientWidth) <= 1;
}) && [...document.images].every(i => i.complete || i.closest('details:not([open])')
  || i.getBoundingClientRect().top > innerHeight)"""


def whole(page: Page) -> Page:
    """Make the window as high as the page, so that all figures and pictures of it are there."""
    width = page.viewport_size["width"] if page.viewport_size else DESK
    for _ in range(2):  # a drawn figure may be higher than the place that was kept for it
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": width, "height": min(height, TALLEST)})
        page.wait_for_function(_DRAWN, timeout=30_000)
    return page
