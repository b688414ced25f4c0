"""The pages of the tile browser: one for each scored split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l4s_ensemble.report import commands, words
from l4s_ensemble.report.browser.build import build
from l4s_ensemble.report.browser.links import browsed
from l4s_ensemble.report.browser.scored import ScoredTiles
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import Page, PageKind
from l4s_ensemble.report.source import RunSource


def tiles(source: RunSource, page: str) -> Page:
    """Make a page without its tiles."""
    found = browsed(source)
    scored = found[page]
    how = "scored by models that did not see them" if scored.out_of_fold else "as predicted"
    return {
        "title": _title(scored),
        "nav": "Tiles",
        "template": "tiles.html.jinja",
        "lead": f"{words.plural(len(scored.patch), 'tile')} of {scored.split}, {how}; predicted "
        f"is the landslide of the {MODEL_NAMES[scored.main]}.",
        "sections": [],
        "switch": [
            {"file": f"{name}.html", "name": _title(one), "here": name == page}
            for name, one in found.items()
        ],
    }


def _draw(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    return {"browser": build(source, browsed(source)[page], assets)}


def _stages(source: RunSource) -> dict[str, list[str]]:
    out = {}
    for page, one in browsed(source).items():
        names = ["data/train", *one.scores] if one.out_of_fold else []
        names += [s for s in source.stages if s.startswith(f"predict/{one.split}/")]
        out[page] = [n for n in names if n in source]
    return out


def _title(scored: ScoredTiles) -> str:
    return "Training tiles, out of fold" if scored.out_of_fold else f"Tiles of {scored.split}"


PAGE = PageKind(
    order=70,
    name="tiles",
    title="Tiles of {}",
    question="What happened on this tile?",
    stages=_stages,
    make=tiles,
    commands=commands.everything,
    settings=("data", "report"),
    draw=_draw,
)
