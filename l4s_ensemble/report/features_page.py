"""The features page."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report import curves, words
from l4s_ensemble.report.pieces import (
    Page,
    figure,
    section,
)
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts, table


def features(source: RunSource) -> Page:
    """The features page: what they are, what each tells alone, how they go together."""
    summary = source.summary("features")
    rows = list(summary["features"])
    sample = source.arrays("features", "sample.npz")
    figures: dict[str, Any] = {}
    if sample is not None and sample["X"].shape[1] == len(rows):
        corr = curves.correlation(sample["X"])
        truth = sample["y"].astype(bool)
        chosen = curves.telling(rows, corr)
        figures["telling"] = figure(
            "classes",
            "The features that tell most, by class",
            "The less the two areas overlap, the more the feature tells by itself. Each area "
            "sums to one, so the rare landslides are as tall as the rest. AUC near 0 tells as "
            "much as near 1, the other way round.",
            [
                {
                    "name": rows[i]["name"],
                    "unit": rows[i]["unit"],
                    "auc": words.sigfig(rows[i].get("auc")),
                    **curves.class_histogram(sample["X"][:, i], truth),
                }
                for i in chosen
            ],
        )
        figures["correlation"] = figure(
            "correlation",
            "Features that say the same",
            "Rank correlation of every pair on the sampled pixels. Strong colours far from the "
            "diagonal mark features that repeat each other; the pixel classifier does not mind.",
            {"names": [r["name"] for r in rows], "value": curves.plain(corr, 2)},
        )
    left_out = summary.get("left_out", [])
    drawn = summary.get("sample", {})
    by_strength = sorted(rows, key=lambda r: -abs((r.get("auc") or 0.5) - 0.5))
    best = by_strength[0] if by_strength else None
    groups: dict[str, int] = {}
    for r in rows:
        groups[r["group"]] = groups.get(r["group"], 0) + 1
    lead = f"{words.plural(len(rows), 'feature')} of each pixel in {len(groups)} groups"
    if best is not None and best.get("auc") is not None:
        either_way = max(best["auc"], 1 - best["auc"])
        lead += f"; {best['name']} tells most by itself, AUC {words.score(either_way)}"
    columns = [
        ("name", "feature", "text"), ("group", "group", "text"), ("unit", "unit", "text"),
        ("formula", "formula", "text"), ("auc", "AUC", "score"), ("best_f1", "best F1", "score"),
        ("mean_landslide", "mean, landslide", "number"), ("mean_other", "mean, other", "number"),
        ("p01", "p1", "number"), ("p50", "median", "number"), ("p99", "p99", "number"),
        ("support_px", "support (px)", "count"), ("source", "source", "text"),
    ]  # fmt: skip
    return {
        "lead": lead + ".",
        "facts": facts(
            [("features", len(rows), "count")]
            + [(f"of them {g}", n, "count") for g, n in groups.items()]
            + [
                ("left out", len(left_out), "count"),
                ("pixels sampled", drawn.get("pixels"), "count"),
                ("landslide pixels sampled", drawn.get("positives"), "count"),
                ("tiles per second", summary.get("patches_per_s"), "number"),
            ]
        ),
        "figures": figures,
        "tables": {
            "features": table(
                "Every feature and what it tells by itself", columns, by_strength, sortable=True,
                note="AUC 0.5 tells nothing, 0 and 1 tell all. Best F1 is that of one cut on "
                "this feature alone, over the sampled pixels. Press a heading to sort.",
            ),
            "left_out": table(
                "Features left out",
                [("name", "feature", "text"), ("reason", "reason", "text")], left_out,
            ),
        },
        "sections": [
            section("overview", "At a glance", "", "facts"),
            section("telling", "Alone", "", "telling", "features"),
            section("together", "Together", "", "correlation"),
            *([section("left-out", "Left out", "", "left_out")] if left_out else []),
        ],
    }  # fmt: skip
