"""Every page of a run's report: when a run has it, what makes it, and how it is made again.

A new page is a module with a function that makes it, and an entry of `PAGES`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from l4s_ensemble.config import is_preset
from l4s_ensemble.report import headline
from l4s_ensemble.report.browser import page as browser
from l4s_ensemble.report.browser import scored
from l4s_ensemble.report.browser.scored import ScoredTiles
from l4s_ensemble.report.pages import card, features, prediction
from l4s_ensemble.report.pages.data import page as data
from l4s_ensemble.report.pages.pixel import page as pixel
from l4s_ensemble.report.pages.stack import page as stack
from l4s_ensemble.report.pages.unet import page as unet
from l4s_ensemble.report.pictures import gallery, mosaics
from l4s_ensemble.report.pictures import pixel as pixel_pictures
from l4s_ensemble.report.pieces import Page
from l4s_ensemble.report.source import FITS, RunSource

CONFIG_FILE = "config.yaml"
"""Name of the settings beside the pages; the commands to reproduce refer to it."""

Draw = Callable[[RunSource, Path, set[str]], Any]


@dataclass(frozen=True)
class PageKind:
    """A kind of page; those of splits have one page a split.

    Attributes
    ----------
    title : str
        ``{}`` stands for the split.
    stages : function of the run
        Names of the pages that the run has, each with the stages behind it.
    make : function of the run and the page's name
    settings : tuple of str
        Sections of the settings that the page shows; none: all.
    commands : function of the run and the page's name
        What makes the page's stages again.
    headline : function of the run and the page's name
        Score at the top of the page; None where the page is not about a score.
    pictures : dict
        Block of the page to what draws it.
    gallery : function of the run and the page's name, optional
        Tiles that the page shows.
    """

    title: str
    stages: Callable[[RunSource], dict[str, list[str]]]
    make: Callable[[RunSource, str], Page]
    settings: tuple[str, ...]
    commands: Callable[[RunSource, str], list[str]]
    headline: Callable[[RunSource, str], Any] = lambda source, page: None
    pictures: tuple[tuple[str, Draw], ...] = ()
    gallery: Callable[[RunSource, str], ScoredTiles | None] = lambda source, page: None

    def draw(self, source: RunSource, page: Page, assets: Path, drawn: set[str]) -> None:
        """Add the pictures of a made page, and write their files."""
        for key, build in self.pictures:
            page[key] = build(source, assets, drawn)
        shown = self.gallery(source, page["page"])
        if shown is not None:
            n = source.config.report.gallery_tiles
            page["gallery"] = gallery.build(source, shown, n, assets, drawn)


def split_of(page: str) -> str:
    """Split of a page of that kind: ``valid`` of ``prediction-valid``."""
    return page.partition("-")[2]


def _of_fit(title: str, name: str, make: Callable[[RunSource], Page], *draw: Any) -> PageKind:
    """The page of a stage of the fit."""
    fitted = name in ("pixel", "unet", "stack")
    made = PageKind(
        title, lambda source: {name: [name]} if name in source else {},
        lambda source, page: make(source), (name,),
        lambda source, page: [_fit_command(source, f"fit {name}" if fitted else name)],
        pictures=draw,
    )  # fmt: skip
    if not fitted:
        return made
    return replace(made, headline=headline.out_of_fold, gallery=scored.of_fit)


def _data_stages(source: RunSource) -> dict[str, list[str]]:
    if not source.splits:
        return {}
    stages = [f"data/{s}" for s in source.splits] + ["scenes"]
    return {"data": [s for s in stages if s in source]}


def _predictions(source: RunSource) -> dict[str, list[str]]:
    return {
        f"prediction-{split}": [s for s in source.stages if s.startswith(f"predict/{split}/")]
        for split in source.predicted
    }


def _card_stages(source: RunSource) -> dict[str, list[str]]:
    return {"card": [n for n in ("data/train", *FITS) if n in source]} if source.card else {}


def _tiles(source: RunSource, page: str) -> Page:
    return next(p for p in browser.pages(source) if p.page == page).page_of()


def all_commands(source: RunSource, page: str = "index") -> list[str]:
    """Command lines that make the whole run and its report again."""
    again = [_predict_command(source, f"prediction-{split}")[0] for split in source.predicted]
    report = f"l4s-ensemble report --run {shlex.quote(str(source.run))}"
    return [_fit_command(source, "fit-all"), *again, report]


def _data_commands(source: RunSource, page: str) -> list[str]:
    run = f" --run {shlex.quote(str(source.run))}"
    check = _fit_command(source, "data check").removesuffix(run)
    return [check, _fit_command(source, "features")]


def _fit_command(source: RunSource, verb: str) -> str:
    config = source.config
    root = config.data.root or source.summary("data/train").get("root")
    settings = config.name if is_preset(config) else CONFIG_FILE
    words = f"l4s-ensemble {verb} --config {shlex.quote(settings)}"
    words += f" --data {shlex.quote(str(root))}" if root else ""
    return f"{words} --run {shlex.quote(str(source.run))}"


def _predict_command(source: RunSource, page: str) -> list[str]:
    split = split_of(page)
    verb = "evaluate" if f"predict/{split}/scores" in source else "predict"
    run = f" --run {shlex.quote(str(source.run))}"
    return [f"l4s-ensemble {verb} {split_words(source, split)}{run}"]


def split_words(source: RunSource, split: str) -> str:
    """Words of the command line for a predicted split; one of another folder names that folder."""
    if f"predict/{split}/data" not in source:
        return f"--split {split}"
    root = source.summary(f"predict/{split}/data").get("root")
    where = f" --data {shlex.quote(str(root))}" if root else ""
    return f"--split {split.partition('-')[0]}{where}"


PAGES: dict[str, PageKind] = {
    "data": PageKind(
        "Data", _data_stages, lambda source, page: data.data(source), ("data", "scenes"),
        _data_commands, pictures=(("mosaics", mosaics.build),),
    ),
    "features": _of_fit("Features", "features", features.features),
    "pixel": _of_fit(
        "Pixel classifier", "pixel", pixel.pixel, ("slides", pixel_pictures.slides)
    ),
    "unet": _of_fit("U-Net", "unet", unet.unet),
    "stack": _of_fit("Stack", "stack", stack.stack),
    "prediction": PageKind(
        "Prediction of {}", _predictions,
        lambda source, page: prediction.prediction(source, split_of(page)), ("data", "stack"),
        _predict_command, lambda source, page: headline.on_split(source, split_of(page)),
        gallery=lambda source, page: scored.of_prediction(source, split_of(page)),
    ),
    "tiles": PageKind(
        "Tiles of {}", lambda source: {p.page: p.behind for p in browser.pages(source)}, _tiles,
        ("data", "report"), all_commands,
    ),
    "card": PageKind(
        "Model card", _card_stages, lambda source, page: card.card(source), (), all_commands
    ),
}  # fmt: skip
"""Kinds of pages in the order of the report, by the first word of their names."""


def kind_of(page: str) -> PageKind:
    """Kind of a page by its name."""
    return PAGES[page.partition("-")[0]]
