"""The features page: what they are, what they tell here and elsewhere, what is wrong with them."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.features import ablation as features_ablation
from l4s_ensemble.report.pages.features import alerts as features_alerts
from l4s_ensemble.report.pages.features import alike as features_alike
from l4s_ensemble.report.pages.features import shift as features_shift
from l4s_ensemble.report.pages.features import slope as features_slope
from l4s_ensemble.report.pages.features import tell as features_tell
from l4s_ensemble.report.pieces import Page, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts, table

_ALONE = (
    "Each feature by itself. A model combines them, so a weak one may still help; but one that "
    "turns round elsewhere will mislead."
)


def features(source: RunSource) -> Page:
    """Make the features page; parts that a run does not know are left out."""
    summary = source.summary("features")
    sample = features_alike.sample(source)
    corr = features_alike.correlation(source)
    figures = features_tell.figures(
        source, sample.values if sample else None, sample.truth if sample else None, corr
    )
    tables: dict[str, Any] = {"features": features_tell.feature_table(source)}
    alike, families = features_alike.parts(source)
    figures |= alike | features_shift.figures(source) | features_slope.figures(source)
    ablation_text, ablation_figures, ablation_tables = features_ablation.parts(source)
    figures |= ablation_figures
    tables |= families | ablation_tables
    alerts = features_alerts.alerts_table(source)
    if alerts is not None:
        tables["alerts"] = alerts
    left_out = summary.get("left_out", [])
    if left_out:
        tables["left_out"] = table(
            "Features left out",
            [("name", "feature", "text"), ("reason", "reason", "text")], left_out, sortable=True,
        )  # fmt: skip
    return {
        "lead": _lead(source),
        "facts": _facts(source),
        "figures": figures,
        "tables": tables,
        "sections": [
            section("overview", "At a glance", "", "facts"),
            section("alerts", "Alerts", "" if alerts else _no_alerts(source), "alerts"),
            section("alone", "Alone, here and elsewhere", _ALONE, "carries", "cuts", "features",
                    "telling"),
            section("contact", "One tile, as the features see it", "", "contact"),
            section("shifts", "Shift between places and splits", "", "feature_shift"),
            section("together", "Together", "", "correlation", "families"),
            section("slope", "Slope, twice", "", "slopes"),
            section("ablation", "What each group is worth", ablation_text, "ablation",
                    "ablation_rows"),
            section("left-out", "Left out", "", "left_out"),
        ],
    }  # fmt: skip


def _lead(source: RunSource) -> str:
    rows, groups = features_tell.rows(source), features_tell.groups(source)
    lead = f"{words.plural(len(rows), 'feature')} of each pixel in "
    lead += words.plural(len(groups), "group")
    best = rows[0] if rows else None
    if best is None or best["auc_seen"] is None:
        return lead + "."
    lead += f"; {best['name']} tells most by itself, AUC {words.score(best['auc_seen'])}"
    kind = features_tell.kind_of_place(source)
    if kind is None or best["auc_unseen"] is None:
        return lead + "."
    lead += f", {words.score(best['auc_unseen'])} in the {kind} where it is worst"
    if best["holds"] == "order only":
        lead += (
            f"; but one cut on it falls from F1 {words.score(best['best_f1'])} to "
            f"{words.score(best['f1_unseen'])} in a {kind} that did not choose the cut"
        )
    return lead + "."


def _facts(source: RunSource) -> list[dict[str, Any]]:
    summary = source.summary("features")
    drawn, places = summary.get("sample", {}), summary.get("places") or {}
    known = [p["name"] for p in places.get("rows", [])]
    return facts(
        [("features", len(summary.get("features", [])), "count")]
        + [(f"of them {g['name']}", g["count"], "count") for g in features_tell.groups(source)]
        + [
            ("left out", len(summary.get("left_out", [])), "count"),
            ("pixels sampled", drawn.get("pixels"), "count"),
            ("landslide pixels sampled", drawn.get("positives"), "count"),
            ("places compared", ", ".join(known) if len(known) > 1 else None, "text"),
            ("widest support (px)", summary.get("support_px"), "count"),
            ("tiles per second", summary.get("patches_per_s"), "number"),
        ]
    )


def _no_alerts(source: RunSource) -> str:
    """Nothing to warn of; nothing at all where there is no sample to look at."""
    if features_alike.sample(source) is None:
        return ""
    return "None: every feature is finite, varies, repeats no other and keeps its values."
