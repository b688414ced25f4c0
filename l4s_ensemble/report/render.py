"""From a run folder to a folder of HTML pages that opens without a network."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from l4s_ensemble.config import Config
from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics import telling
from l4s_ensemble.report import html
from l4s_ensemble.report.browser import page as browser
from l4s_ensemble.report.browser.build import FOLDER as BROWSER_FOLDER
from l4s_ensemble.report.pages.registry import CONFIG_FILE, kind_of
from l4s_ensemble.report.pieces import Page
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.summarise import summarise
from l4s_ensemble.run.files import read_json, write_json, write_text

log = logging.getLogger("l4s_ensemble")

INDEX_LAYERS = ("colour", "truth", "stack", "errors", "called")
"""Pictures of a tile that the index shows; the page of the model has all."""


def render_report(run: Path, out: Path, config: Config | None = None) -> Path:
    """Render a run's report.

    Parameters
    ----------
    run : Path
        The run folder; stages that have not been run are left out.
    out : Path
        Folder to write into. Files of an older report there are replaced, others stay.
    config : Config, optional
        For its ``report`` section; those of the run without it.

    Returns
    -------
    Path
        ``out/index.html``. Beside it a page and a JSON twin for each stage, ``config.yaml``, and
        ``assets`` with one plotly script, the style and the pictures of tiles.

    Raises
    ------
    RunError
        If the folder holds no run, or a file in it is damaged; the message names it.
    """
    started = time.monotonic()
    source = RunSource(Path(run), config)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise RunError("the report's place is a file", where=out, fix="name a folder with --out")
    pages = summarise(source)
    drawn: set[str] = set()
    _add_galleries(source, pages, out / "assets", drawn)
    browser.add_tiles(source, pages, out / "assets")
    browser.add_links(pages)
    html.write_assets(out / "assets")
    templates = html.environment()
    nav = _nav(pages)
    files = {p["page"]: p["file"] for p in pages}
    _remove_stale(out, files, drawn)
    for page in pages[1:] + pages[:1]:  # the index last: it is there when all it links to is
        write_json(out / f"{page['page']}.json", page)
        text = templates.get_template(page.get("template", "page.html.jinja")).render(
            page=html.with_plots(page), nav=nav, files=files, version=html.version(),
            colours=html.picture_colours(),
        )  # fmt: skip
        write_text(out / page["file"], text)
    settings = source.config.model_dump(mode="json")
    write_text(out / CONFIG_FILE, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    log.info("report: %d pages in %.1f s", len(pages), time.monotonic() - started)
    return out / "index.html"


def _nav(pages: list[Page]) -> list[dict[str, str]]:
    """Entries of the bar at the top; pages of one name share an entry, that of the first."""
    entries: dict[str, Page] = {}
    for page in pages:
        entries.setdefault(str(page.get("nav") or page["title"]), page)
    return [{"page": p["page"], "file": p["file"], "title": t} for t, p in entries.items()]


def _add_galleries(source: RunSource, pages: list[Page], assets: Path, drawn: set[str]) -> None:
    for page in pages[1:]:
        kind_of(page["page"]).draw(source, page, assets, drawn)
    by_page = {p["page"]: p["gallery"] for p in pages[1:] if p["gallery"]}
    index = pages[0]
    head = index["headline"]
    if head is None:
        return
    name = head["row"] if head["kind"] == "out-of-fold" else f"prediction-{head['split']}"
    if name in by_page:
        index["gallery"] = _few(by_page[name], name, f"{name}.html#tiles")


def _few(whole: Mapping[str, Any], page: str, file: str) -> dict[str, Any]:
    """Take the worst and the best tile of a page's gallery, with few pictures of each."""
    kept = []
    for wanted in ((telling.WORST, telling.CALLED), (telling.BEST,)):
        kept += [t for t in whole["tiles"] if t["why"] in wanted][:1]
    layers = [
        layer for layer in whole["layers"]
        if layer["key"] in INDEX_LAYERS or (page != "stack" and layer["key"] == page)
    ]  # fmt: skip
    return {
        **whole, "tiles": kept, "layers": layers, "pair": True, "more": file if kept else None,
        "note": "" if kept else whole["note"],
    }  # fmt: skip


def _remove_stale(out: Path, files: Mapping[str, str], drawn: set[str]) -> None:
    """Remove pages and pictures of an older report in the same folder that are no longer made."""
    old = out / "index.json"
    if old.is_file():
        for page in read_json(old).get("pages", []):
            name = str(page.get("page", ""))
            if name and name not in files and "/" not in name:
                (out / f"{name}.html").unlink(missing_ok=True)
                (out / f"{name}.json").unlink(missing_ok=True)
    for folder in (out / "assets" / BROWSER_FOLDER).glob(f"{browser.PREFIX}*"):
        if folder.name not in files:
            shutil.rmtree(folder, ignore_errors=True)
    kept = {Path(name).name for name in drawn}
    for picture in (out / "assets" / "tiles").glob("*-*-*.*"):
        if picture.suffix in {".png", ".webp"} and picture.name not in kept:
            picture.unlink()
    for picture in (out / "assets").glob("mosaic-*-*-*.webp"):
        if picture.name not in kept:
            picture.unlink()
