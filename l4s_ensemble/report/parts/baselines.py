"""The run's models beside simple rules on the same tiles: one figure, one table."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.predict.summary import ScoresSummary
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.headline import Score
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts.scores import intervals
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

Row = dict[str, Any]


def rows(source: RunSource, score: Score) -> list[Row]:
    """Baselines and models where a score was measured: ``name, value, low, high, colour, how``."""
    found: list[Row] = []
    if score.kind == "out-of-fold":
        pixel = source.get(PixelSummary)
        if pixel and pixel.rule.f1 is not None:
            found.append(_row("NDVI and slope", pixel.rule.f1, None, None, "thresholds by fold"))
        models = [headline.out_of_fold(source, m) for m in headline.MODEL_NAMES]
    else:
        scores = source.need(ScoresSummary, score.split)
        found += [_row(b.name, b.f1, b.f1_low, b.f1_high, b.rule) for b in scores.baselines]
        models = [headline.on_split(source, score.split, m) for m in headline.MODEL_NAMES]
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


def listed(source: RunSource, score: Score) -> dict[str, Any]:
    """Table of the same."""
    shown = [
        {**r, "interval": None if r["low"] is None else [r["low"], r["high"]]}
        for r in rows(source, score)
    ]
    columns = [
        ("name", "", "text"),
        ("value", "F1", "score"),
        ("interval", "95 % interval", "interval"),
        ("how", "rule or threshold", "text"),
    ]
    return table("The same in numbers", columns, shown)


def _row(name: str, value: float, low: float | None, high: float | None, how: str) -> Row:
    return {"name": name, "value": value, "low": low, "high": high, "colour": "other", "how": how}
