"""Every page in a real browser: it loads, fits its window, and its links lead somewhere."""

from __future__ import annotations

import pytest
from viewing import PAGES, PHONE, OpenPage


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_and_asks_for_nothing_from_outside(open_page: OpenPage, name: str) -> None:
    for scheme, width in (("light", PHONE), ("dark", 1280)):
        page = open_page(name, scheme=scheme, width=width)
        assert page.locator("h1").is_visible()
