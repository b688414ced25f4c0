"""From a page's dict to HTML: templates, blocks of its sections, style and scripts beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from l4s_ensemble.report import figures, words
from l4s_ensemble.report.page import Page
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.table import write
from l4s_ensemble.run.files import write_text

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"

_SPANS = {2: "of2", 3: "of3", 4: "of2", 5: "of3", 6: "of3"}
"""Width of each of so many figures in a row."""


def laid_out(page: Page) -> Page:
    """Lay out the sections of a page: what has no data is left out.

    Returns
    -------
    dict
        The page with ``sections`` that have ``blocks`` (``kind, key, value, span``; see `_blocks`),
        ``hero``: the block of the first screen, which no section repeats, and ``assets``, the
        scripts that the blocks ask for.
    """
    plots = {key: figures.plot(spec) for key, spec in page["figures"].items()}
    hero = _blocks([page["picture"], "gallery"], page, plots)[:1] if page["picture"] else []
    used = {b["key"] for b in hero}
    sections = [
        {**s, "blocks": _blocks([i for i in s["items"] if i not in used], page, plots)}
        for s in page["sections"]
    ]
    shown = hero + [b for s in sections for b in s["blocks"]]
    asked = ["plotly.min.js"] if any(b["kind"] == "figure" for b in shown) else []
    for block in shown:
        asked += block["value"].get("assets", ()) if isinstance(block["value"], Mapping) else ()
    assets = list(dict.fromkeys(asked))
    return {**page, "sections": sections, "hero": hero, "assets": assets}


def _blocks(items: list[str], page: Page, plots: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Blocks of a section; neighbouring figures share a row by twos or threes.

    A block's kind is the name of its template in ``blocks/``: ``figure``, ``table``, else what
    the block itself says.
    """
    blocks: list[dict[str, Any]] = []
    row: list[dict[str, Any]] = []

    def close_row() -> None:
        for block in row:
            block["span"] = _SPANS.get(len(row), "")
        row.clear()

    for key in items:
        value: Any
        if key in plots:
            kind, value = "figure", {**page["figures"][key], **plots[key]}
        elif key in page["tables"]:
            kind, value = "table", page["tables"][key]
        else:
            value = page["blocks"].get(key)
            kind = value["kind"] if value else ""
        if not value:
            continue
        blocks.append({"kind": kind, "key": key, "value": value, "span": ""})
        if kind == "figure" and not value["wide"]:
            row.append(blocks[-1])
        else:
            close_row()
    close_row()
    return blocks


def environment() -> jinja2.Environment:
    """Templates, with the filters that write numbers; they fail on a name that is not there."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.policies["json.dumps_kwargs"] = {
        "sort_keys": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    made.policies["json.dumps_function"] = json.dumps
    made.filters["as_kind"] = write
    made.filters["points"] = words.points
    made.filters["yaml"] = lambda v: yaml.safe_dump(v, sort_keys=False, allow_unicode=True)
    colours = {
        "found": pictures.FOUND,
        "false_alarm": pictures.FALSE_ALARM,
        "missed": pictures.MISSED,
    }
    css = {k: f"rgb({r} {g} {b})" for k, (r, g, b) in colours.items()}
    made.globals.update(colours={**css, "ramp": pictures.scale_css()}, version=package_version())
    return made


def write_assets(assets: Path, files: Sequence[str] = ()) -> None:
    """Copy style and scripts of pages: some, or all of them with the plotly script."""
    assets.mkdir(parents=True, exist_ok=True)
    if not files:
        from plotly.offline import get_plotlyjs

        (assets / "tiles").mkdir(exist_ok=True)
        write_text(assets / "plotly.min.js", get_plotlyjs())
        files = [p.name for p in TEMPLATES.iterdir() if p.suffix in {".css", ".js"}]
    for name in files:
        shutil.copyfile(TEMPLATES / name, assets / name)


def package_version() -> str:
    """Version of this package, empty where it is not installed."""
    try:
        return metadata.version("l4s_ensemble")
    except metadata.PackageNotFoundError:
        return ""
