"""A real browser that looks at the rendered report of the tiny run, and what it may not do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from viewing import DESK, OpenPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LOCAL = ("file:", "data:", "blob:", "about:")
"""Schemes that reach no network."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless browser: that of ``L4S_CHROMIUM``, else the first found; skips without one."""
    found = os.environ.get("L4S_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is there, nor L4S_CHROMIUM is set")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A blank page of a browser without a network.

    When the test ends it fails if the page wrote an error to its console, threw one, asked for
    anything that is not a file beside it, or asked for a file that is not there.
    """
    wrong: list[str] = []
    context = chromium.new_context(offline=True, reduced_motion="reduce")
    made = context.new_page()
    made.set_default_timeout(60_000)

    def asked(request: Request) -> None:
        if not request.url.startswith(LOCAL):
            wrong.append(f"asked for {request.url}")

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left before it came
            wrong.append(f"not loaded: {request.url} ({request.failure})")

    made.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    made.on("pageerror", lambda e: wrong.append(f"thrown: {e}"))
    made.on("request", asked)
    made.on("requestfailed", failed)
    yield made
    context.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def open_page(page: Page, tiny_report: Path) -> OpenPage:
    """Open a page of the report: ``open_page("stack", scheme="dark", width=390)``.

    Parameters of the function: `name` (without ``.html``, or with a ``#fragment``), `scheme`
    ('light' or 'dark'), `width` and `height` of the window in px, `folder` of another report.
    It returns the playwright page once all that the page loads is there.
    """

    def opened(
        name: str,
        *,
        scheme: Literal["light", "dark"] = "light",
        width: int = DESK,
        height: int = 900,
        folder: Path = tiny_report,
    ) -> Page:
        file, _, fragment = name.partition("#")
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        url = (folder / f"{file}.html").resolve().as_uri()
        page.goto(f"{url}#{fragment}" if fragment else url, wait_until="load")
        return page

    return opened
