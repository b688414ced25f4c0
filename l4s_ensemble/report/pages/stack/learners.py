"""Which meta-learners were tried, and which was chosen and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

NAMES = {"plain": "plain mean", "weighted": "weighted mean"}


def figures(source: RunSource) -> dict[str, Any]:
    """Figure of the learners that were tried."""
    summary = source.summary("stack")
    out: dict[str, Any] = {}
    tried = summary.get("learners") or []
    if tried:
        out["learners"] = figure(
            "intervals",
            "Meta-learners that were tried, beside the bases",
            "F1 of each on tiles that it was not fitted on, at its own best threshold, with a "
            "95 % interval over blocks of tiles. The diamond is the one in use. Intervals of "
            "single learners are wide because places differ; the table holds paired differences.",
            {
                "axis": "F1, out-of-fold",
                "rows": [
                    {
                        "name": _name(r), **words.sigfig({"value": r["f1"], "low": r["low"],
                        "high": r["high"]}),
                        "marked": bool(r["chosen"]),
                        "colour": r["name"] if is_base(r) else "stack",
                    }
                    for r in tried
                ],
            },
        )  # fmt: skip
    return out


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


def is_base(row: Mapping[str, Any]) -> bool:
    """Whether a row stands there to compare with."""
    return row["name"] in ("pixel", "unet")


def _name(row: Mapping[str, Any]) -> str:
    alone = f"{headline.MODEL_NAMES.get(row['name'])} alone"
    return alone if is_base(row) else name_of(row["name"])
