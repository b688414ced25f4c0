"""From two run folders to one page that holds them against each other."""

from __future__ import annotations

import logging
import shlex
import time
from pathlib import Path
from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.report import html
from l4s_ensemble.report.compare.page import compared
from l4s_ensemble.report.compare.pictures import build
from l4s_ensemble.report.compare.sides import Side, open_sides
from l4s_ensemble.run.files import read_json, write_json, write_text

log = logging.getLogger("l4s_ensemble")

REPORTS = Path("reports")
"""Where reports of runs stand unless told otherwise."""

FILES = ("report.css", "report.js", "compare.css")
"""Style and scripts beside the page."""


def render_comparison(first: Path, second: Path, out: Path | None = None) -> Path:
    """Render ``compare.html`` and its twin ``compare.json``.

    Parameters
    ----------
    first, second : Path
        Run folders, A and B; differences are B minus A.
    out : Path, optional
        Folder to write into; ``reports/compare-<A>-<B>`` without it.

    Returns
    -------
    Path
        ``out/compare.html``.

    Raises
    ------
    ConfigError
        If both are the same folder.
    RunError
        If one is not there, is damaged or has no scores.
    """
    started = time.monotonic()
    a, b = open_sides(Path(first), Path(second))
    folder = Path(out) if out is not None else REPORTS / default_name(a, b)
    if folder.exists() and not folder.is_dir():
        raise RunError(
            "the comparison's place is a file", where=folder, fix="name a folder with --out"
        )
    page = compared(a, b)
    head = page["headline"]
    for picture in (folder / "assets" / "tiles").glob("compare-*.webp"):
        picture.unlink()
    if head is not None and head["place"] in page["contests"]:
        page["contest"] = build(a, b, page["contests"][head["place"]], folder / "assets")
    _link(page, (a, b), folder)
    html.write_assets(folder / "assets", FILES)
    write_json(folder / "compare.json", page)
    text = html.environment().get_template(page["template"]).render(
        page=html.with_plots(page), nav=[], files={}, version=html.version(),
        colours=html.picture_colours(),
    )  # fmt: skip
    write_text(folder / page["file"], text)
    log.info("comparison in %.1f s", time.monotonic() - started)
    return folder / str(page["file"])


def default_name(a: Side, b: Side) -> str:
    """Name of the folder of a comparison among the reports."""
    return "compare-" + "-".join(s.name.replace("/", "-") for s in (a, b))


def _link(page: dict[str, Any], sides: tuple[Side, Side], out: Path) -> None:
    """Name the reports of both runs where they stand, and their pages of tiles."""
    for told, side in zip(page["sides"], sides, strict=True):
        found = report_of(side, (out.parent, REPORTS))
        if found is None:
            continue
        there = Path(_relative(found, out)).as_posix()
        told["report"] = f"{there}/index.html"
        contest = page["contest"]
        if contest is None:
            continue
        browser = f"tiles-{page['headline']['place']}.html"
        if (found / browser).is_file():
            for group in contest["groups"]:
                for tile in group["tiles"]:
                    link = f"{there}/{browser}#tile={tile['patch']}"
                    tile.setdefault("links", []).append({"side": side.letter, "href": link})


def report_of(side: Side, folders: tuple[Path, ...]) -> Path | None:
    """Folder of the report of a run, if one of these folders holds it under the run's name."""
    run = side.source.run.resolve()
    for folder in folders:
        place = folder / run.name
        twin = place / "index.json"
        if not twin.is_file() or not (place / "index.html").is_file():
            continue
        foot = read_json(twin).get("foot") or {}
        for line in foot.get("command") or []:
            parts = shlex.split(line)
            named = parts[parts.index("--run") + 1] if "--run" in parts else ""
            if parts[1:2] == ["report"] and Path(named).resolve() == run:
                return place
    return None


def _relative(path: Path, start: Path) -> str:
    import os

    return os.path.relpath(path.resolve(), start.resolve())
