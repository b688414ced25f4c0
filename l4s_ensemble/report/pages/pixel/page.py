"""The pixel classifier's page: how well it does, why it says so, where it fails."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages import failures
from l4s_ensemble.report.pages.pixel import importance as pixel_importance
from l4s_ensemble.report.pieces import Page, fold_table, scored, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts

_WHY = (
    "All of it on tiles that the model did not see: each pixel is explained by the model of the "
    "fold that holds its tile out. Features that say the same share their credit."
)


def pixel(source: RunSource) -> Page:
    """Make the pixel classifier's page; parts that a run does not know are left out."""
    summary = source.summary("pixel")
    figures = scored(summary["oof"], {"pixel": summary["histogram"]}, "pixel")
    figures |= pixel_importance.figures(source)
    figures |= failures.figures(source, "pixel")
    folds = fold_table(
        summary["folds"],
        ("rows", "rows fitted", "count"), ("positives", "of them landslide", "count"),
        ("seconds_fit", "fit", "seconds"), ("seconds_score", "score", "seconds"),
    )  # fmt: skip
    return {
        "lead": f"LightGBM judges each pixel alone by "
        f"{words.plural(len(summary['features']), 'feature')}, "
        f"with one model for each of {len(summary['folds'])} spatial folds.",
        "facts": _facts(source),
        "figures": figures,
        "tables": {"folds": folds},
        "sections": [
            section("overview", "At a glance", "", "facts"),
            section("scores", "How well it does", "", "pr", "threshold", "folds"),
            section("probabilities", "What its probabilities are worth", "", "reliability"),
            section("why", "What it looks at", _WHY, "contribution", "beeswarm"),
            section("words", "Landslides in words", "", "slides"),
            section("failures", "Where it fails", "", "rim", "failures"),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }  # fmt: skip


def _facts(source: RunSource) -> list[dict[str, Any]]:
    summary = source.summary("pixel")
    rows = summary.get("rows", {})
    return facts(
        [
            ("features", len(summary["features"]), "count"),
            ("trees of a model", summary["folds"][0].get("trees"), "count"),
            ("pixels sampled for training", rows.get("pixels"), "count"),
            ("of them landslide", rows.get("positives"), "count"),
            ("folds", len(summary["folds"]), "count"),
            ("tiles scored per second", summary.get("patches_per_s"), "number"),
            ("time to explain", summary.get("seconds_explain"), "seconds"),
        ]
    )
