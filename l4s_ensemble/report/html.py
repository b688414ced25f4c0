"""From a page's dict to HTML: templates, blocks of its sections, style and scripts beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from l4s_ensemble.report import words
from l4s_ensemble.report.browser import page as browser
from l4s_ensemble.report.figures import makers as figures
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pieces import Page
from l4s_ensemble.report.table import write
from l4s_ensemble.run.files import write_text

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
FILES = ("report.css", "report.js", "words.js", "decision.css", "decision.js", *browser.FILES)
"""Style and scripts beside the pages of a run's report."""


def with_plots(page: Page) -> Page:
    """Add plotly dicts and lay out the sections: what has no data is left out."""
    plots = {key: figures.plot(spec) for key, spec in page["figures"].items()}
    sections = [{**s, "blocks": _blocks(s["items"], page, plots)} for s in page["sections"]]
    return {**page, "plots": plots, "sections": sections}


def _blocks(items: list[str], page: Page, plots: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Blocks of a section; neighbouring figures share a row by twos or threes."""
    blocks: list[dict[str, Any]] = []
    row: list[dict[str, Any]] = []

    def close_row() -> None:
        span = {2: "of2", 3: "of3", 4: "of2", 5: "of3", 6: "of3"}.get(len(row), "")
        for block in row:
            block["span"] = span
        row.clear()

    for key in items:
        if key in plots:
            block = {"kind": "figure", "key": key, "span": ""}
            if plots[key]["wide"]:
                close_row()
            else:
                row.append(block)
        else:
            close_row()
            if key in page["tables"]:
                block = {"kind": "table", "key": key}
            elif page.get("lines", {}).get(key):
                block = {"kind": "lines", "key": key}
            elif page.get(key):
                block = {"kind": key, "key": key}
            else:
                continue
        blocks.append(block)
    close_row()
    return blocks


def environment() -> jinja2.Environment:
    """Templates, with the filters that write numbers; they fail on a name that is not there."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    made.policies["json.dumps_kwargs"] = {
        "sort_keys": False, "separators": (",", ":"), "allow_nan": False,
    }  # fmt: skip
    made.policies["json.dumps_function"] = json.dumps
    made.filters["as_kind"] = write
    made.filters["points"] = words.points
    made.filters["yaml"] = lambda v: yaml.safe_dump(v, sort_keys=False, allow_unicode=True)
    return made


def write_assets(assets: Path, files: Sequence[str] = FILES) -> None:
    """Copy the style and the scripts that pages ask for, and the plotly script."""
    from plotly.offline import get_plotlyjs

    (assets / "tiles").mkdir(parents=True, exist_ok=True)
    write_text(assets / "plotly.min.js", get_plotlyjs())
    for name in files:
        shutil.copyfile(TEMPLATES / name, assets / name)


def picture_colours() -> dict[str, str]:
    """Colours of the pictures, for their keys."""
    named = {
        "found": pictures.FOUND, "false_alarm": pictures.FALSE_ALARM, "missed": pictures.MISSED,
    }  # fmt: skip
    css = {k: f"rgb({r} {g} {b})" for k, (r, g, b) in named.items()}
    return {**css, "ramp": pictures.scale_css()}


def version() -> str:
    """Version of this package, empty where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version("l4s_ensemble")
    except metadata.PackageNotFoundError:
        return ""
