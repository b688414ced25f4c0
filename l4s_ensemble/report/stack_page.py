"""The stack's page: what it adds to the models it joins."""

from __future__ import annotations

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import (
    Page,
    figure,
    gain_sentence,
    ledger_histograms,
    ledger_table,
    scored,
    section,
)
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts


def stack(source: RunSource) -> Page:
    """The stack's page: what it adds to the models it joins."""
    summary = source.summary("stack")
    row = headline.ledger_row(summary, "stack") or {}
    figures = scored(
        {**row, "plateau_low": summary["plateau"][0], "plateau_high": summary["plateau"][1]},
        ledger_histograms(source, "stack", summary), "stack",
        {r["model"]: r["threshold"] for r in summary["ledger"]},
    )  # fmt: skip
    ranked = sorted(summary["coefficients"], key=lambda c: -abs(c["value"]))
    figures["coefficients"] = figure(
        "bars",
        "What the stack listens to",
        "Each input is standardised, so lengths compare: to the right it speaks for landslide, "
        "to the left against. Inputs that go together share their weight between them.",
        {
            "axis": "coefficient of the standardised input",
            "rows": [{"name": c["name"], "value": words.sigfig(c["value"])} for c in ranked],
        },
    )
    if summary.get("agreement"):
        figures["agreement"] = figure(
            "agreement",
            "Who is right where something is at stake",
            "Pixels that are landslide, or that either model calls so. The stack can win only "
            "where one of the two is right.",
            summary["agreement"],
        )
    return {
        "lead": f"A logistic meta-learner joins both models by {len(summary['inputs'])} inputs "
        f"made of "
        f"their log-odds; it was fitted on the other folds for each tile it scores here. "
        f"{gain_sentence(summary.get('gain'))}",
        "facts": facts(
            [
                ("inputs", len(summary["inputs"]), "count"),
                ("pixels fitted on", summary.get("rows"), "count"),
                ("threshold", summary["threshold"], "score"),
                ("plateau from", summary["plateau"][0], "score"),
                ("plateau to", summary["plateau"][1], "score"),
                ("intercept", summary.get("intercept"), "number"),
            ]
        ),
        "figures": figures,
        "tables": {"ledger": ledger_table(summary["ledger"], "out-of-fold on training tiles")},
        "sections": [
            section("ledger", "The ledger", "", "ledger", "pr", "threshold", "reliability"),
            section("joined", "How they are joined", "", "coefficients", "agreement", "facts"),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }  # fmt: skip
