"""Which meta-learners were tried, and which was chosen and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

NAMES = {"plain": "plain mean", "weighted": "weighted mean"}


def tables(source: RunSource) -> dict[str, Any]:
    """Table of the learners that were tried."""
    tried = source.summary("stack").get("learners") or []
    if not tried:
        return {}
    return {
        "tried": table(
            "Which meta-learner, and why",
            [("name", "model", "text"), ("chosen", "chosen", "text"), ("f1", "F1", "score"),
             ("behind", "best of them minus this", "gain"), ("interval", "95 % interval", "text"),
             ("calibration_error", "calibration error", "number"),
             ("why", "why", "text")],
            [_row(r) for r in tried],
            note="Every learner is fitted on all folds but one and scored on that one. The "
            "simplest that is not shown to be worse than the best is taken; a gain below 0.002 "
            "does not count, nor one below 0.01 without an interval. The best of them is the best "
            "meta-learner: below zero, a base alone beats it.",
        )
    }  # fmt: skip


def name_of(kind: Any) -> str:
    """A learner's kind in words."""
    return NAMES.get(str(kind), str(kind))


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    behind = row.get("behind") or {}
    low, high = behind.get("low"), behind.get("high")
    known = low is not None and high is not None and low != high
    return {
        **row,
        "name": _name(row),
        "behind": behind.get("value"),
        "interval": f"{words.gain(low)} to {words.gain(high)}" if known else None,
        "chosen": "chosen" if row["chosen"] else None,
        "why": words.text(row.get("why")),
    }


def _name(row: Mapping[str, Any]) -> str:
    if row["name"] in ("pixel", "unet"):
        return f"{headline.MODEL_NAMES[row['name']]} alone"
    return name_of(row["name"])
