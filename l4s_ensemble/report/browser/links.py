"""Links to the tiles of the browser, from wherever a page shows a tile."""

from __future__ import annotations

from l4s_ensemble.report.browser.scored import ScoredTiles, all_scored, chosen
from l4s_ensemble.report.source import RunSource


def browsed(source: RunSource) -> dict[str, ScoredTiles]:
    """Scored splits by their page; none where the settings switch the browser off."""
    if not source.config.report.browser:
        return {}
    found: list[ScoredTiles] = source.once("browser", lambda: all_scored(source))
    return {one.page: one for one in found}


def pages_of(source: RunSource) -> dict[str, tuple[str, frozenset[int]]]:
    """File of each split's page of tiles, and the tiles that it shows."""

    def make() -> dict[str, tuple[str, frozenset[int]]]:
        most = source.config.report.browser_tiles
        out: dict[str, tuple[str, frozenset[int]]] = {}
        for page, one in browsed(source).items():
            shown = frozenset(one.patch[chosen(one, most)].tolist())
            out.setdefault(one.split, (f"{page}.html", shown))
        return out

    found: dict[str, tuple[str, frozenset[int]]] = source.once("browser pages", make)
    return found


def link(source: RunSource, split: str, patch: int) -> str | None:
    """Link to a tile; None where it is not shown."""
    file, shown = pages_of(source).get(split, ("", frozenset()))
    return f"{file}#tile={patch}" if patch in shown else None
