"""Which meta-learners were tried, which was chosen and why, and what it listens to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

NAMES = {
    "mean": "weighted mean",
    "logistic": "logistic regression",
    "trees": "boosted trees",
    "convolution": "small convolutional network",
}
_MOST = 24
"""Inputs that the figure shows."""

_SHARE = "Inputs that go together share their weight between them."
_LISTENS = {
    "importances": ("share of the gain", "Share of the gain of all splits of the trees."),
    "coefficients": (
        "weight of the standardised input",
        "Lengths compare: to the right it speaks for landslide, to the left against.",
    ),
    "weights": ("weight of the log-odds", "Each model's share in the mean of log-odds."),
}
_TERRAIN = ("slope", "relief")


def figures(source: RunSource) -> dict[str, Any]:
    """Figures of the learners that were tried, and of the inputs of the chosen one."""
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
    kind = next((k for k in _LISTENS if summary.get(k)), None)
    if kind:
        axis, read = _LISTENS[kind]
        rows = [
            {"name": r["name"], "group": _kind(r["name"]),
             "value": words.sigfig(r["share" if kind == "importances" else "value"])}
            for r in summary[kind]
        ]  # fmt: skip
        rows.sort(key=lambda r: -abs(r["value"]))
        more = f" The {_MOST} largest of {len(rows)}." if len(rows) > _MOST else ""
        out["coefficients"] = figure(
            "bars", "What the stack listens to", f"{read} {_SHARE}{more}",
            {
                "axis": axis, "rows": rows[:_MOST],
                "colours": {"pixel classifier": "pixel", "U-Net": "unet", "both": "stack",
                            "terrain": "mean"},
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
             ("seconds", "to fit", "seconds"), ("why", "why", "text")],
            [_row(r) for r in tried],
            note="Every learner is fitted on all folds but one and scored on that one. The "
            "simplest that is not shown to be worse than the best is taken; a gain below 0.002 "
            "does not count. The best of them is the best meta-learner: below zero, a base alone "
            "beats it.",
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


def _kind(name: str) -> str:
    """Which of the models an input comes from."""
    if name.startswith(_TERRAIN):
        return "terrain"
    if name.endswith("pixel"):
        return "pixel classifier"
    return "U-Net" if name.endswith("unet") else "both"
