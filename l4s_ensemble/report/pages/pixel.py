"""The pixel classifier's page: how well it does, what moves its answer, where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l4s_ensemble.features.summary import FeaturesSummary
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.browser import scored
from l4s_ensemble.report.browser.links import link
from l4s_ensemble.report.page import Page, figure, of_fit, section, stat
from l4s_ensemble.report.pages import features
from l4s_ensemble.report.parts import failures, scores
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.pictures.crops import crop
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

TOP = 15
"""Features in the list of contributions."""

ONE_WAY = 0.3
"""Correlation of value and contribution from which a feature has a direction."""

SHOWN = 3
"""Landslides in words, of those found and of the false ones each."""

_LANDSLIDES: tuple[Column, ...] = (
    ("picture", "", "picture"), ("kind", "it is", "text"),
    ("sentence", "what speaks for it and against it (log-odds)", "text"),
    ("probability", "mean probability", "score"), ("area_m2", "area", "area"),
    ("tile", "tile", "link"),
)  # fmt: skip


def pixel(source: RunSource) -> Page:
    """Make the pixel classifier's page; parts that a run does not know are left out."""
    summary = source.need(PixelSummary)
    score = headline.out_of_fold(source, "pixel")
    assert score is not None
    folds = scores.fold_table(
        [f.model_dump() for f in summary.folds],
        ("rows", "pixels fitted", "count"),
        ("positives", "of them landslide", "count"),
    )
    counts, used = scores.histogram(summary.histogram), summary.oof.threshold
    found = scores.scored({"pixel": counts}, {"pixel": used})
    found |= _contribution(source, summary) | failures.figures(summary.failures)
    found["places"] = scores.where_it_was_scored(source, "pixel")
    return {
        "lead": score.sentence(),
        "stats": stats(source, "pixel"),
        "picture": "places",
        "figures": found,
        "tables": {"folds": folds},
        "sections": [
            section("why", "Why: what moves its answer", "", "contribution"),
            section("failures", "Where it is wrong", "", "boundary", "failures"),
            section("tiles", "Tiles", "", "gallery"),
            section("words", "Landslides in words", "", "landslides", folded=True),
            section("scores", "Curves and folds", "", "pr", "reliability", "folds", folded=True),
        ],
    }


def stats(source: RunSource, model: str) -> list[dict[str, Any]]:
    """Numbers of a base model's first screen."""
    found = headline.everywhere(source, model)
    made = [stat(f"F1, {s.short()}", s.row.f1, "score", words.interval_of(s.row)) for s in found]
    known = found[0].row
    made.append(stat("precision", known.precision, "score", "of mapped pixels are landslide"))
    made.append(stat("recall", known.recall, "score", "of landslide pixels are mapped"))
    return made


def _draw(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    made = gallery.of_fit(source, page, assets, drawn)
    shown = scored.of_fit(source, "pixel")
    rows = source.need(PixelSummary).landslides
    if shown is None or not rows:
        return made
    listed = []
    for kind in ("found", "false"):
        for r in [r for r in rows if r.kind == kind][:SHOWN]:
            centre = (r.box[0] + r.box[1] + 1) / 2, (r.box[2] + r.box[3] + 1) / 2
            picture = crop(shown, r.patch, centre, r.pixels, assets, drawn)
            to = {"text": str(r.patch), "href": link(source, "train", r.patch)}
            listed.append({**r.model_dump(), "picture": picture, "tile": to})
    note = (
        "The largest found and the largest false ones, mapped out of fold, tile by tile. Log-odds "
        "are against the mean pixel of the ground: +0.7 doubles the odds. Orange is the boundary "
        "of what was mapped, white that of the reference."
    )
    block = table("What the classifier says of them", _LANDSLIDES, listed, note=note)
    return made | {"landslides": {"kind": "table", **block}}


PAGE = of_fit(
    30,
    "pixel",
    "Pixel classifier",
    "How good is the pixel classifier in a known and in a new place, why, and where is it wrong?",
    pixel,
    _draw,
)


def _contribution(source: RunSource, summary: PixelSummary) -> dict[str, Any]:
    """Figure of the mean contribution by feature."""
    rows = summary.contribution[:TOP]
    if not rows:
        return {}
    known = features.group_colours(source.get(FeaturesSummary))
    colours = [known.get(r.group, "mean") for r in rows]
    own = {
        "name": "",
        "values": words.sigfig([r.mean_abs for r in rows]),
        "hover": [r.group for r in rows],
        "colour": colours,
    }
    read = (
        "Mean size of what a feature adds to the log-odds of a pixel (exact SHAP values, each "
        "pixel by the model that never saw its tile). High values speak for a landslide (↑), low "
        "ones do (↓), or neither alone. Features that say the same share their credit."
    )
    return {
        "contribution": figure(
            "rows",
            f"The {len(rows)} features that move its answer most",
            read,
            {
                "names": [f"{r.name}{_arrow(r.direction)}" for r in rows],
                "axis": "mean |contribution|, log-odds",
                "series": [own],
            },
            legend=[
                {"label": g, "colour": c}
                for g, c in dict(zip(own["hover"], colours, strict=True)).items()
            ],
        )
    }


def _arrow(direction: float | None) -> str:
    """Which values of a feature speak for a landslide."""
    if direction is None or abs(direction) < ONE_WAY:
        return ""
    return " ↑" if direction > 0 else " ↓"
