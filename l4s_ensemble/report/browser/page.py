"""The pages of the tile browser: one for each scored split, and links to their tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.browser.build import build
from l4s_ensemble.report.browser.scored import ScoredTiles, all_scored
from l4s_ensemble.report.pieces import Page
from l4s_ensemble.report.source import RunSource

PREFIX = "tiles-"
"""How the names of these pages begin."""

FILES = (
    "browser.css", "zoom.js", "browser-data.js", "browser-draw.js", "browser-list.js",
    "browser-stage.js", "browser.js", "scenes.js", "scenes.css",
)  # fmt: skip
"""Style and scripts, in the order in which they are read."""


@dataclass(frozen=True)
class BrowserPage:
    """A page to make.

    Attributes
    ----------
    page : str
    behind : list of str
        Stages behind it.
    scored : ScoredTiles
    others : tuple of ScoredTiles
        Those of all these pages, in order.
    """

    page: str
    behind: list[str]
    scored: ScoredTiles
    others: tuple[ScoredTiles, ...]

    def page_of(self) -> Page:
        """Make the page without its tiles."""
        scored = self.scored
        model = headline.MODEL_NAMES[scored.main]
        how = "scored by models that did not see them" if scored.out_of_fold else "as predicted"
        n = words.plural(len(scored.patch), "tile")
        return {
            "title": title(scored),
            "nav": "Tiles",
            "template": "tiles.html.jinja",
            "lead": f"{n} of {scored.split}, {how}; predicted is the landslide of the {model}.",
            "headline": None,
            "ladder": None,
            "sections": [],
            "switch": [
                {"file": f"{one.page}.html", "name": title(one), "here": one is scored}
                for one in self.others
            ],
        }  # fmt: skip


def title(scored: ScoredTiles) -> str:
    """Name of a split's tiles."""
    if scored.out_of_fold:
        return "Training tiles, out of fold"
    return f"Tiles of {scored.split}"


def pages(source: RunSource) -> list[BrowserPage]:
    """Pages of the browser that a run can have; none where the settings switch it off."""
    if not source.config.report.browser:
        return []
    found = tuple(source.once("browser", lambda: all_scored(source)))
    return [BrowserPage(one.page, _behind(source, one), one, found) for one in found]


def add_tiles(source: RunSource, made: list[Page], assets: Path) -> None:
    """Draw the tiles of all pages of the browser that are among `made`, and complete them."""
    by_name = {p.page: p for p in pages(source)}
    for page in made:
        if page["page"] in by_name:
            page["browser"] = build(source, by_name[page["page"]].scored, assets)


def _behind(source: RunSource, scored: ScoredTiles) -> list[str]:
    names = ["data/train", *scored.scores] if scored.out_of_fold else []
    names += [s for s in source.stages if s.startswith(f"predict/{scored.split}/")]
    return [n for n in names if n in source]


def add_links(made: list[Page]) -> None:
    """Link the tiles that other pages show to their place in the browser.

    Tiles of galleries, explained tiles and called landslides get ``link``; the grids of mosaics
    get ``links``: ``pages``, and ``page`` of each cell, -1 where it has none.
    """
    known = {p["browser"]["split"]: _link_maker(p) for p in reversed(made) if p.get("browser")}
    if not known:
        return
    for page in made:
        split = (page.get("gallery") or {}).get("split", "train")
        for key, items, own in (
            ("gallery", "tiles", split), ("slides", "rows", "train"),
        ):  # fmt: skip
            for tile in (page.get(key) or {}).get(items, []):
                tile["link"] = known[own](tile["patch"]) if own in known else None
        for scene in (page.get("mosaics") or {}).get("scenes", []):
            scene["grid"]["links"] = _cells(scene, made)


def _cells(scene: dict[str, Any], made: list[Page]) -> dict[str, Any]:
    """Pages of the browser that show tiles of a scene, and which of them each cell leads to.

    The holdout's tiles lie in a training scene and have a page of their own.
    """
    found = [p for p in made if p.get("browser") and p["browser"]["stage"] == scene["stage"]]
    there = [set(p["browser"]["tiles"]["patch"]) for p in found]
    ids = scene["grid"]["ids"]
    return {
        "pages": [p["file"] for p in found],
        "page": [next((n for n, own in enumerate(there) if i in own), -1) for i in ids],
    }


def _link_maker(page: Page) -> Any:
    there = set(page["browser"]["tiles"]["patch"])
    file = page["file"]
    return lambda patch: f"{file}#tile={patch}" if patch in there else None
