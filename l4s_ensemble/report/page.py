"""What a page of a report is: its kind, and the pieces that it is laid out of.

A page is a dict of plain values, which its JSON twin holds as they are. ``sections`` name what
they show: a key of ``figures``, of ``tables`` or of ``blocks``. A block is drawn by the template
``blocks/<kind>.jinja``, so that a new one needs its maker and that template alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l4s_ensemble.report import commands
from l4s_ensemble.report.source import RunSource

Page = dict[str, Any]
Draw = Callable[[RunSource, str, Path, set[str]], dict[str, Any]]
"""From the run, the page's name, the folder of assets and the names of pictures drawn (grows):
blocks by their key."""


def nothing_drawn(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Draw no picture."""
    return {}


@dataclass(frozen=True)
class PageKind:
    """A kind of page; those of splits have one page a split.

    Attributes
    ----------
    order : int
        Place in the report.
    name : str
        Name of the page; of a split's page, what stands before ``-<split>``.
    title : str
        ``{}`` stands for the split.
    question : str
        What the first screen answers.
    stages : function of the run
        Names of the pages that the run has, each with the stages behind it.
    make : function of the run and the page's name
    commands : function of the run and the page's name
        What makes the page's stages again.
    settings : tuple of str
        Sections of the settings that the page shows; none: all.
    draw : Draw
        Makes the blocks with pictures, and writes their files.
    """

    order: int
    name: str
    title: str
    question: str
    stages: Callable[[RunSource], dict[str, list[str]]]
    make: Callable[[RunSource, str], Page]
    commands: Callable[[RunSource, str], list[str]]
    settings: tuple[str, ...] = ()
    draw: Draw = nothing_drawn


def blank() -> Page:
    """Make the parts of a page that it may do without."""
    empty: Page = {key: {} for key in ("blocks", "tables", "figures")}
    return {**empty, "stats": [], "missing": [], "checks": [], "picture": None, "lead": ""}


def split_of(page: str) -> str:
    """Split of a page of that kind: ``valid`` of ``prediction-valid``."""
    return page.partition("-")[2]


def section(key: str, title: str, text: str, *items: str, folded: bool = False) -> dict[str, Any]:
    """Describe a section: items are keys of figures, tables or blocks; folded: closed at first."""
    return {"id": key, "title": title, "text": text, "items": list(items), "folded": folded}


def figure(kind: str, title: str, read: str, data: Any, **more: Any) -> dict[str, Any]:
    """Describe a figure.

    Parameters
    ----------
    kind : str
        Function of `l4s_ensemble.report.figures` that draws its panels.
    title, read : str
        What it shows, and how to read it.
    data : dict or list of dict
        Its panel; several stand side by side.
    **more
        ``wide`` (a row of its own), ``few`` (at most three side by side), ``legend`` (label and
        colour of what is drawn).
    """
    return {"kind": kind, "title": title, "read": read, "data": data, **more}


def lines(items: list[str], title: str = "") -> dict[str, Any]:
    """Make the block of a list of sentences."""
    return {"kind": "lines", "title": title, "lines": items}


def stat(label: str, value: Any, kind: str, note: str = "") -> dict[str, Any]:
    """Describe a number of the first screen; `note` stands below it."""
    return {"label": label, "value": value, "kind": kind, "note": note}


def of_fit(
    order: int,
    name: str,
    title: str,
    question: str,
    make: Callable[[RunSource], Page],
    draw: Draw = nothing_drawn,
) -> PageKind:
    """Make the kind of a page of one stage of the fit."""
    verb = f"fit {name}" if name in ("pixel", "unet", "stack") else name
    return PageKind(
        order=order,
        name=name,
        title=title,
        question=question,
        stages=lambda source: {name: [name]} if name in source else {},
        make=lambda source, page: make(source),
        commands=lambda source, page: [commands.fit(source, verb)],
        settings=(name,),
        draw=draw,
    )
