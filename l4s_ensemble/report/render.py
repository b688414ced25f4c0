"""From a run folder to a folder of HTML pages that opens without a network."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from l4s_ensemble.config import Config
from l4s_ensemble.errors import RunError
from l4s_ensemble.report import html
from l4s_ensemble.report.browser.build import FOLDER as BROWSER_FOLDER
from l4s_ensemble.report.commands import CONFIG_FILE
from l4s_ensemble.report.page import Page
from l4s_ensemble.report.registry import kind_of
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.summarise import summarise
from l4s_ensemble.run.files import read_json, write_json, write_text

log = logging.getLogger("l4s_ensemble")


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
    pages, drawn = summarise(source), set[str]()
    for page in pages:
        page["blocks"] |= kind_of(page["page"]).draw(source, page["page"], out / "assets", drawn)
    html.write_assets(out / "assets")
    templates = html.environment()
    files = {p["page"]: p["file"] for p in pages}
    known = {"nav": _nav(pages), "files": files}
    _remove_stale(out, files, drawn)
    pages[0]["pages"] = [{key: p[key] for key in ("page", "file", "title")} for p in pages[1:]]
    for page in reversed(pages):  # the index last: it is there when all it links to is
        write_json(out / f"{page['page']}.json", page)
        template = templates.get_template(page.get("template", "page.html.jinja"))
        write_text(out / page["file"], template.render(page=html.laid_out(page), **known))
    settings = source.config.model_dump(mode="json")
    write_text(out / CONFIG_FILE, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    log.info("report: %d pages in %.1f s", len(files), time.monotonic() - started)
    return out / "index.html"


def _nav(pages: list[Page]) -> list[dict[str, str]]:
    """Entries of the bar at the top; pages of one name share an entry, that of the first."""
    entries: dict[str, Page] = {}
    for page in pages:
        entries.setdefault(str(page.get("nav") or page["title"]), page)
    return [{"page": p["page"], "file": p["file"], "title": t} for t, p in entries.items()]


def _remove_stale(out: Path, files: Mapping[str, str], drawn: set[str]) -> None:
    """Remove pages and pictures of an older report in the same folder that are no longer made."""
    old = out / "index.json"
    for page in read_json(old).get("pages", []) if old.is_file() else []:
        name = str(page.get("page", ""))
        if name and name not in files and "/" not in name:
            (out / f"{name}.html").unlink(missing_ok=True)
            (out / f"{name}.json").unlink(missing_ok=True)
    for folder in (out / "assets" / BROWSER_FOLDER).glob("tiles-*"):
        if folder.name not in files:
            shutil.rmtree(folder, ignore_errors=True)
    kept = {Path(name).name for name in drawn}
    for picture in _pictures(out / "assets"):
        if picture.name not in kept:
            picture.unlink()


def _pictures(assets: Path) -> Iterator[Path]:
    """Pictures of tiles and scenes."""
    for pattern in ("tiles/*-*-*.png", "tiles/*-*-*.webp", "mosaic-*-*-*.webp"):
        yield from assets.glob(pattern)
