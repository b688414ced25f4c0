"""Rules of accessibility: axe finds nothing on any page, in either colour scheme and width."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewing import DESK, PHONE, OpenPage

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

OPTIONS = {"preload": False, "resultTypes": ["violations"]}
"""Without loading the style by itself: a page opened as a file may not be read by a script."""

WITHOUT_FIGURES = {"exclude": [[".main-svg"]]}
"""A figure is one picture with a text that tells it (role img); what it is drawn of is not read."""


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", PHONE), pytest.param("dark", DESK, marks=pytest.mark.slow)]
)
def test_axe_finds_nothing(open_page: OpenPage, tiny_report: Path, scheme: str, width: int) -> None:
    wrong = []
    for path in sorted(tiny_report.glob("*.html")):
        page = open_page(path.stem, scheme=scheme, width=width)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        found = axe.Axe().run(page, WITHOUT_FIGURES, OPTIONS).response["violations"]
        wrong += [
            f"{path.stem}: {v['id']}: {v['help']}: {[n['target'] for n in v['nodes']][:4]}"
            for v in found
        ]
    assert not wrong, "\n".join(wrong)
