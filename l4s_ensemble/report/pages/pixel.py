"""The pixel classifier's page: how well it does, what moves its answer, where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l4s_ensemble.report import curves, words
from l4s_ensemble.report.page import Page, figure, of_fit, section
from l4s_ensemble.report.pages import features
from l4s_ensemble.report.parts import failures, scores
from l4s_ensemble.report.pictures.landslides import landslides
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import key_figures

SWARM_FEATURES = 12
SWARM_ROWS = 500
"""Dots of a row of the beeswarm: more hide each other."""

TOP = 20
"""Features in the list of contributions."""

ONE_WAY = 0.3
"""Correlation of value and contribution from which a feature has a direction."""

_WHY = (
    "All of it on tiles that the model did not see: each pixel is explained by the model of the "
    "fold that holds its tile out. Features that say the same share their credit."
)


def pixel(source: RunSource) -> Page:
    """Make the pixel classifier's page; parts that a run does not know are left out."""
    summary = source.summary("pixel")
    folds = scores.fold_table(
        summary["folds"],
        ("rows", "rows fitted", "count"), ("positives", "of them landslide", "count"),
        ("seconds_fit", "fit", "seconds"), ("seconds_score", "score", "seconds"),
    )  # fmt: skip
    found = scores.of_model(summary, "pixel") | _explained(source) | failures.figures(summary)
    return {
        "lead": f"LightGBM judges each pixel alone by "
        f"{words.plural(len(summary['features']), 'feature')}, "
        f"with one model for each of {len(summary['folds'])} spatial folds.",
        "key_figures": _key_figures(summary),
        "figures": found,
        "tables": {"folds": folds},
        "sections": [
            section("overview", "At a glance", "", "key_figures"),
            section("scores", "How well it does", "", "pr", "threshold", "folds"),
            section("probabilities", "What its probabilities are worth", "", "reliability"),
            section("why", "What it looks at", _WHY, "contribution", "beeswarm"),
            section("words", "Landslides in words", "", "landslides"),
            section("failures", "Where it fails", "", "boundary", "failures"),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }


PAGE = of_fit(30, "pixel", "Pixel classifier", pixel, ("landslides", landslides))


def _key_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = summary["rows"]
    return key_figures(
        [
            ("features", len(summary["features"]), "count"),
            ("trees of a model", summary["folds"][0]["trees"], "count"),
            ("pixels sampled for training", rows["pixels"], "count"),
            ("of them landslide", rows["positives"], "count"),
            ("folds", len(summary["folds"]), "count"),
            ("tiles scored per second", summary["patches_per_s"], "number"),
            ("time to explain", summary["seconds_explain"], "seconds"),
        ]
    )


def colours(source: RunSource, names: Sequence[str]) -> dict[str, str]:
    """Colour of each group, the same as on the features page where that knows the group."""
    known = {g["name"]: g["colour"] for g in features.groups(source)}
    spare = [c for c in features.GROUP_COLOURS if c not in known.values()] or ["mean"]
    fresh = [n for n in dict.fromkeys(names) if n not in known]
    return known | {n: spare[i % len(spare)] for i, n in enumerate(fresh)}


def _explained(source: RunSource) -> dict[str, Any]:
    """Contributions by feature, and of single pixels."""
    rows = source.summary("pixel")["contribution"][:TOP]
    known = colours(source, [r["group"] for r in rows])
    own = {
        "name": "",
        "values": words.sigfig([r["mean_abs"] for r in rows]),
        "hover": [r["group"] for r in rows],
        "colour": [known[r["group"]] for r in rows],
    }
    names = [f"{r['name']}{_arrow(r['direction'])}" for r in rows]
    out = {
        "contribution": figure(
            "rows",
            "What moves the answer",
            "Mean size of what a feature adds to the log-odds of a pixel (exact SHAP values, each "
            "pixel by the model that never saw its tile), over the ground at its true share of "
            "landslide. An arrow says which values speak for a landslide: high ones (↑), low ones "
            "(↓), or none alone.",
            {"names": names, "axis": "mean |contribution|, log-odds", "series": [own]},
            legend=[{"label": g, "colour": known[g]} for g in dict.fromkeys(own["hover"])],
        )
    }
    found = source.arrays("pixel", "contributions.npz")
    if found is not None and {"values", "contributions", "names"} <= set(found):
        scale = (("low value", "low"), ("middle", "middle"), ("high value", "high"))
        out["beeswarm"] = figure(
            "swarm",
            "In which direction a feature pushes",
            "Each dot is a pixel, half of them of landslides: to the right the feature pushes "
            "towards landslide, against the mean pixel of the ground. +0.7 doubles the odds. "
            "Colour is the feature's own value, from low to high among the sampled pixels.",
            {"axis": "added to the log-odds of landslide", "rows": _beeswarm(found)},
            legend=[{"label": label, "colour": colour} for label, colour in scale],
            wide=True,
        )
    return out


def _arrow(direction: float | None) -> str:
    """Which values of a feature speak for a landslide."""
    if direction is None or abs(direction) < ONE_WAY:
        return ""
    return " ↑" if direction > 0 else " ↓"


def _beeswarm(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Contributions of the features that move most, with each value's rank among the rows."""
    size = np.abs(found["contributions"]).mean(axis=0)
    step = max(1, len(found["contributions"]) // SWARM_ROWS)
    rows = []
    for i in np.argsort(-size, kind="stable")[:SWARM_FEATURES]:
        value, push = found["values"][::step, i], found["contributions"][::step, i]
        rank = np.argsort(np.argsort(value, kind="stable")) / max(1, len(value) - 1)
        plain = curves.plain(push, 3), curves.plain(rank, 2), curves.plain(value, 3)
        rows.append(
            {
                "name": str(found["names"][i]),
                **dict(zip(("contribution", "rank", "value"), plain, strict=True)),
            }
        )
    return rows
