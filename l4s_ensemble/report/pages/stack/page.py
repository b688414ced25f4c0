"""The stack's page: what it adds, how it was chosen and decides, and why that may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pages import decision as threshold_decision
from l4s_ensemble.report.pages.stack import agreement as stack_agreement
from l4s_ensemble.report.pages.stack import decision as stack_decision
from l4s_ensemble.report.pages.stack import learners as stack_learners
from l4s_ensemble.report.pages.stack import ledger as stack_ledger
from l4s_ensemble.report.pages.stack import uncertainty as stack_uncertainty
from l4s_ensemble.report.pieces import Page, gain_sentence, ledger_histograms, scored, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts

_WHERE = "out-of-fold on training tiles"


def stack(source: RunSource) -> Page:
    """Make the stack's page; parts that a run does not know are left out and named."""
    summary = source.summary("stack")
    row = headline.ledger_row(summary, "stack") or {}
    chosen = {r["model"]: r["threshold"] for r in summary["ledger"]}
    low, high = summary["plateau"]
    figures = scored(
        {**row, "threshold": summary["threshold"], "plateau_low": low, "plateau_high": high},
        ledger_histograms(source, "stack", summary), "stack",
        {**chosen, "stack": summary["threshold"]},
    )  # fmt: skip
    del figures["threshold"]  # the slider shows the same, and moves
    figures |= stack_ledger.figures(source, "stack")
    figures |= stack_decision.figures(source)
    for told in (stack_agreement, stack_uncertainty):
        figures |= told.figures(summary)
    tables = stack_ledger.tables(source, "stack", _WHERE)
    tables |= stack_learners.tables(source)
    tables |= stack_agreement.tables(summary, stack_ledger.width_m(source))
    return {
        "lead": f"The {stack_learners.name_of(summary.get('learner'))} of both models' log-odds; "
        f"each tile is scored here by a fit on the other folds. "
        f"{gain_sentence(summary.get('gain'))}",
        "facts": _facts(summary),
        "figures": figures,
        "tables": tables,
        "decide": threshold_decision.of_fit(source),
        "sections": [
            section("ledger", "Model comparison", stack_ledger.mean_sentence(summary),
                    "ledger", "adds", "pr", "reliability"),
            section("threshold", "The threshold as a decision", "", "decide"),
            section("slides", "Whole landslides", "", "whole", "slides_by_size", "whole_size"),
            section("joined", "How they are joined", "", "facts", "tried"),
            section("decision", "From probability to mask", stack_decision.sentence(source),
                    "calibration"),
            section("agreement", "Where the two models disagree",
                    stack_agreement.sentence(summary), "agreement", "agreement_size"),
            section("doubt", "Whether it knows where it is wrong",
                    stack_uncertainty.sentence(summary), "risk"),
            section("leaks", "Whether anything leaked", _leaks(summary)),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }  # fmt: skip


def _facts(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    weights = {w["name"]: w["value"] for w in summary.get("weights") or []}
    name = summary.get("learner")
    return facts(
        [
            ("meta-learner", None if name is None else stack_learners.name_of(name), "text"),
            ("weight of the pixel classifier", weights.get("logit_pixel"), "share"),
            ("temperature", summary.get("temperature"), "number"),
            ("intercept", summary.get("intercept"), "number"),
            ("pixels fitted on", summary.get("rows") or None, "count"),
            ("threshold", summary["threshold"], "score"),
            ("plateau from", summary["plateau"][0], "score"),
            ("plateau to", summary["plateau"][1], "score"),
        ]
    )


def _leaks(summary: Mapping[str, Any]) -> str:
    """Say how much was looked at before the fit and what held; a leak would have stopped it."""
    told = summary.get("leaks")
    if not told:
        return ""
    bad = "; ".join(dict.fromkeys(d["said"] for d in told["details"] if not d["passed"]))
    return (
        f"{told['passed']} of {words.plural(told['checked'], 'thing')} that were checked hold"
        + (f"; not so: {bad}." if bad else ".")
    )
