"""How the tests look at a page: widths of the window, and what opens a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESK, PHONE = 1280, 390
"""Widths that every page is looked at, px."""

OpenPage = Callable[..., "Page"]
"""Fixture ``open_page``; its parameters are in ``conftest.py``."""

PAGES = ("index", "data", "features", "pixel", "unet", "stack", "prediction-valid")
"""Pages of the made-up run's report."""
