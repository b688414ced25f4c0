"""The threshold as a decision: what each costs, and which is best if a miss costs more."""

from __future__ import annotations

from typing import Any

import numpy as np

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.predict.summary import ResultSummary
from l4s_ensemble.report import words
from l4s_ensemble.report.figures import plain
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts.scores import series
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

RATIOS = (0.5, 1, 2, 5, 10, 20)
"""What a missed pixel costs, in false ones."""

STEPS = 20

_COSTS: tuple[Column, ...] = (
    ("name", "if a missed pixel costs as much as", "text"), ("threshold", "score"),
    ("precision", "score"), ("recall", "score"), ("f1", "F1", "score"),
    ("mapped", "mapped", "area"), ("false", "false alarms", "area"), ("missed", "missed", "area"),
)  # fmt: skip
_AREAS: tuple[Column, ...] = (
    ("threshold", "score"), ("mapped", "mapped", "area"), ("share", "share of all pixels", "share"),
    ("mark", "", "text"),
)  # fmt: skip


def curve(histogram: ScoreHistogram, threshold: float) -> dict[str, Any]:
    """Figure of the scores by threshold."""
    step, best = max(1, histogram.bins // 200), histogram.best()
    thin = {key: plain(values[::step]) for key, values in histogram.curve().items()}
    panel = {
        "x": thin["threshold"],
        "axes": ("probability threshold", "score"),
        "range": [0, 1.02],
        "x_range": [0, 1],
        "series": series(thin),
        "at": threshold,
        "height": 340,
        "band": [best.plateau_low, best.plateau_high],
    }
    read = (
        "A higher threshold has fewer false alarms (precision) and more misses (recall). The "
        "dashed line is the threshold in use; F1 is within 0.01 of its best over the shade."
    )
    return figure("lines", "What a threshold costs", read, panel)


def costs(histogram: ScoreHistogram, threshold: float, pixel_m: float) -> dict[str, Any]:
    """Table of the best thresholds where a missed pixel costs more or less than a false one."""
    marks = [("in use", _bin(histogram, threshold))]
    marks.append(("best F1 here", _bin(histogram, histogram.best().value)))
    for ratio in RATIOS:
        cost = histogram.negative[::-1].cumsum()[::-1] + ratio * _missed(histogram)
        many = "false pixel" if ratio == 1 else "false pixels"
        marks.append((f"{words.number(ratio)} {many}", int(np.argmin(cost))))
    curve, area, rows = histogram.curve(), pixel_m**2, []
    for name, k in marks:
        tp, fp = int(histogram.positive[k:].sum()), int(histogram.negative[k:].sum())
        pixels = {"mapped": tp + fp, "false": fp, "missed": int(_missed(histogram)[k])}
        scores = {key: float(values[k]) for key, values in curve.items()}
        rows.append({**scores, **{key: n * area for key, n in pixels.items()}, "name": name})
    note = (
        "Choose the row of what a miss costs you against a false alarm. The threshold is a setting "
        "of your map: no mask is changed here, and one that was chosen with a split's own masks "
        "has no fair score on it."
    )
    return table("Which threshold for which cost", _COSTS, rows, note=note)


def predicted(source: RunSource, result: ResultSummary) -> dict[str, Any]:
    """What can be said of a threshold without masks: how much is mapped at others."""
    counts, area = result.histogram, source.pixel_m(result.split) ** 2
    used, rows = round(result.threshold * len(counts)), []
    for k in sorted({*range(0, len(counts), max(1, len(counts) // STEPS)), used}):
        row = {"threshold": k / len(counts), "mapped": sum(counts[k:]) * area}
        mark = "in use" if k == used else None
        rows.append({**row, "share": sum(counts[k:]) / sum(counts), "mark": mark})
    note = "Without masks nobody can say how much of it is right."
    return table("The mapped area at other thresholds", _AREAS, rows, note=note)


def _missed(histogram: ScoreHistogram) -> Any:
    """Landslide pixels below each threshold."""
    return histogram.positive.sum() - histogram.positive[::-1].cumsum()[::-1]


def _bin(histogram: ScoreHistogram, threshold: float) -> int:
    return min(round(threshold * histogram.bins), histogram.bins - 1)
