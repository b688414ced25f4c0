"""The run's models beside simple rules on the same tiles, in one figure."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.predict.summary import ScoresSummary
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.headline import Score
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts.scores import intervals
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.stack.summary import StackSummary

Row = dict[str, Any]


def rows(source: RunSource, score: Score) -> list[Row]:
    """Baselines and models where a score was measured: ``name, value, low, high, colour, how``."""
    if score.kind == "out-of-fold":
        stack = source.get(StackSummary)
        listed = stack.baselines if stack else []
        models = [headline.out_of_fold(source, m) for m in headline.MODEL_NAMES]
    else:
        listed = source.need(ScoresSummary, score.split).baselines
        models = [headline.on_split(source, score.split, m) for m in headline.MODEL_NAMES]
    found = [_row(b.name, b.f1, b.f1_low, b.f1_high, b.rule) for b in listed]
    for one in headline.known(models):
        r = one.row
        how = f"threshold {words.score(r.threshold)}"
        found.append({**_row(one.name, r.f1, r.f1_low, r.f1_high, how), "colour": one.model})
    return found


def best_rule(found: list[Row]) -> Row | None:
    """The best of the rules; None without any."""
    return max((r for r in found if r["colour"] == "other"), key=lambda r: r["value"], default=None)


def drawn(source: RunSource, score: Score) -> dict[str, Any]:
    """Figure of all of them on one axis."""
    found = rows(source, score)
    few = "" if score.row.f1_low is not None else f" {words.no_interval(score.row.blocks)}."
    read = (
        f"F1 of the landslide class {score.where()}. The rules were chosen on training tiles, too; "
        "lines are 95\u202f% intervals over blocks of neighbouring tiles."
    )
    panel = intervals("F1 of the landslide class", found, range=[0, 1])
    panel["series"][0]["hover"] = [r["how"] for r in found]
    title = "The models beside simple rules, on the same tiles"
    return figure("rows", title, read + few.replace(" no", " No", 1), panel)


def _row(name: str, value: float, low: float | None, high: float | None, how: str) -> Row:
    return {"name": name, "value": value, "low": low, "high": high, "colour": "other", "how": how}
