"""The stack's page: what it adds, how it was chosen and decides, and why that may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pages import decision as threshold_decision
from l4s_ensemble.report.pages.stack import decision as stack_decision
from l4s_ensemble.report.pages.stack import disagreement as stack_disagreement
from l4s_ensemble.report.pages.stack import distance as stack_distance
from l4s_ensemble.report.pages.stack import leaks as stack_leaks
from l4s_ensemble.report.pages.stack import learners as stack_learners
from l4s_ensemble.report.pages.stack import ledger as stack_ledger
from l4s_ensemble.report.pages.stack import uncertainty as stack_uncertainty
from l4s_ensemble.report.pages.unet import beside as unet_beside
from l4s_ensemble.report.pieces import Page, gain_sentence, ledger_histograms, scored, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts

_LEARNERS = {
    "mean": "A weighted mean",
    "logistic": "A logistic meta-learner",
    "trees": "A meta-learner of boosted trees",
    "convolution": "A small convolutional network",
}

_PARTS = (
    ("learners", "Which meta-learners were tried"), ("marginal", "What each part adds"),
    ("decision", "How the decision was made"), ("leaks", "The leak check"),
    ("distance", "F1 against distance"), ("uncertainty", "Whether it knows where it is wrong"),
    ("agreement_where", "Where the two models disagree"),
)  # fmt: skip
"""Keys of the summary that a run of an older version lacks, and what is then not shown."""

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
    for part in (stack_learners, stack_decision, stack_disagreement):
        figures |= part.figures(source)
    tables = stack_ledger.tables(source, "stack", _WHERE)
    for part in (stack_learners, stack_decision, stack_disagreement):
        tables |= part.tables(source)
    for shared in (stack_distance, stack_uncertainty):
        figures |= shared.figures(summary)
        tables |= shared.tables(summary)
    tables |= stack_leaks.tables(summary)
    return {
        "lead": f"{_LEARNERS[summary.get('learner', 'logistic')]} joins both models by "
        f"{words.plural(len(summary['inputs']), 'input')} made of their log-odds; it was fitted "
        f"on the other folds for each tile it scores here. "
        f"{gain_sentence(summary.get('gain'))}",
        "facts": _facts(summary),
        "figures": figures,
        "tables": tables,
        "missing": _missing(source),
        "decide": threshold_decision.of_fit(source),
        "sections": [
            section("ledger", "The ledger", "", "ledger", "adds", "pr", "reliability"),
            section("threshold", "The threshold as a decision", "", "decide"),
            section("slides", "Whole landslides", "", "whole", "slides_by_size", "whole_size"),
            section("joined", "How they are joined", "", "facts", "tried", "learners",
                    "coefficients"),
            section("decision", "From probability to mask", stack_decision.sentence(source),
                    "prevalence", "calibration", "prevalences", "calibrations", "follow",
                    "follow_places", "postprocess"),
            section("agreement", "Where the two models disagree", unet_beside.sentence(source),
                    "agreement", "beside", "only_where", "beside_size", "beside_rim",
                    "disagreed"),
            section("doubt", "Whether it knows where it is wrong",
                    stack_uncertainty.sentence(summary), "risk", "doubt", "looked"),
            section("leaks", "Whether anything leaked",
                    " ".join(filter(None, (stack_leaks.sentence(summary),
                                           stack_distance.sentence(summary)))),
                    "distance", "distances", "leaks"),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }  # fmt: skip


def _facts(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    decision = summary.get("decision") or {}
    follow = decision.get("follow") or {}
    kept = (decision.get("postprocess") or {}).get("kept")
    told = (summary.get("uncertainty") or {}).get("measure")
    name = summary.get("learner")
    return facts(
        [
            ("meta-learner", None if name is None else stack_learners.name_of(name), "text"),
            ("inputs", len(summary["inputs"]), "count"),
            ("parameters", summary.get("parameters"), "count"),
            ("pixels fitted on", summary.get("rows"), "count"),
            ("time to fit it", summary.get("seconds"), "seconds"),
            ("intercept", summary.get("intercept"), "number"),
            ("temperature", summary.get("temperature"), "number"),
            ("threshold", summary["threshold"], "score"),
            ("plateau from", summary["plateau"][0], "score"),
            ("plateau to", summary["plateau"][1], "score"),
            ("follows the scene", bool(follow.get("chosen")) if follow else None, "text"),
            ("post-processing", None if kept is None
             else ", ".join(stack_decision.step_words(s) for s in kept) or "none", "text"),
            ("uncertainty", None if told is None else stack_uncertainty.name_of(told), "text"),
        ]
    )  # fmt: skip


def _missing(source: RunSource) -> list[dict[str, str]]:
    """What an older run does not know, and the command that tells."""
    summary = source.summary("stack")
    lacking = [title for key, title in _PARTS if key not in summary]
    if not lacking:
        return []
    return [{"stage": "; ".join(lacking), "command": f"l4s-ensemble fit stack --run {source.run}"}]
