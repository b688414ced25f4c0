"""The threshold as a decision: the counts behind it, which the page's script moves through.

The script sums the same counts in the same order as `metrics.histogram.ScoreHistogram` does, so
that a number on the page is the number of the run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.parts.scores import pooled
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

STEPS = 20
"""Rows of the table of thresholds, beside those of the threshold in use and of the best one."""

SAME = 0.0005
"""A loss of F1 below it is written as none."""

SENTENCES = {
    "at": "At {threshold} the {model} predicts {predicted} as landslide. Of 100 predicted pixels "
    "{precision} are landslide, and of 100 landslide pixels {recall} are found.",
    "nothing": "At {threshold} the {model} predicts no landslide.",
    "as_here": "The best threshold here is {best} (F1 {f1_best}).",
    "lost": "The threshold in use, {in_use}, has F1 {f1_in_use} and loses {lost}.",
    "as_good": "The threshold in use, {in_use}, is as good.",
    "plateau": "Any threshold from {low} to {high} stays within 0.01 of the best F1.",
}
"""Sentences with places for numbers; the page's script fills in the same ones."""

_THRESHOLDS: tuple[Column, ...] = (
    ("threshold", "score"), ("f1", "F1", "score"), ("precision", "score"), ("recall", "score"),
    ("iou", "IoU", "score"), ("predicted", "predicted (km²)", "number"),
    ("found", "of it landslide (km²)", "number"), ("false", "of it false (km²)", "number"),
    ("missed", "missed (km²)", "number"), ("mark", "note", "text"),
)  # fmt: skip
_AREAS: tuple[Column, ...] = (
    ("threshold", "score"), ("predicted", "predicted (km²)", "number"),
    ("share", "share of all pixels", "share"), ("mark", "note", "text"),
)  # fmt: skip


def of_stage(source: RunSource, stage: str, split: str) -> dict[str, Any] | None:
    """Make the block of a stage's models; None where it was not scored, see `predicted_table`.

    Parameters
    ----------
    stage : str
        ``stack`` or ``predict/<split>/scores``.
    split : str
        Whose tiles were scored.
    """
    summary = source.summary(stage)
    if not summary:
        return None
    note = "Moving the slider changes what this page shows, and no mask."
    if stage == "stack":
        note = f"Counted out-of-fold on the training tiles. {note}"
    else:
        note = (
            f"Counted with the masks of {split}, at the threshold alone. {note} The threshold in "
            "use was chosen on other tiles; one chosen here, with these masks, would be no fair "
            "score."
        )
    histograms = pooled(source, stage)
    in_use = {str(r["model"]): float(r["threshold"]) for r in summary["comparison"]}
    in_use["stack"] = float(summary["threshold"])
    area = source.pixel_m(split) ** 2 / 1e6  # km²
    whole = ScoreHistogram.from_dict(dict(histograms["stack"]))
    return {
        "kind": "decide",
        "assets": ["decision.css", "words.js", "decision.js"],
        "title": "What a threshold costs",
        "read": "Move the slider. The higher the threshold, the fewer false "
        "alarms and the more landslides are missed. The dashed line is the threshold in use, the "
        "diamond the best F1, the shade all that is within 0.01 of it.",
        "note": note,
        "bins": whole.bins,
        "pixel_km2": area,
        "chosen": "stack",
        "same": SAME,
        "sentences": SENTENCES,
        "models": [
            {"model": m, "name": name, "threshold": in_use[m], **histograms[m]}
            for m, name in MODEL_NAMES.items()
            if m in histograms
        ],
        "sentence": sentence(whole, in_use["stack"], area),
        "table": thresholds_table(whole, in_use["stack"], area),
    }


def sentence(histogram: ScoreHistogram, threshold: float, area: float) -> str:
    """Say a threshold of the stack in plain words, with what the best one would give.

    Parameters
    ----------
    area : float
        Of one pixel, km².
    """
    k = _bin(histogram.bins, threshold)
    curve, best = histogram.curve(), histogram.best()
    predicted = int(histogram.positive[k:].sum() + histogram.negative[k:].sum())
    f1 = float(curve["f1"][k])
    numbers = {
        "threshold": k / histogram.bins, "best": best.value, "f1_best": best.f1,
        "in_use": threshold, "f1_in_use": f1, "lost": best.f1 - f1, "low": best.plateau_low,
        "high": best.plateau_high,
    }  # fmt: skip
    values = {key: words.score(value) for key, value in numbers.items()} | {
        "model": MODEL_NAMES["stack"],
        "predicted": f"{words.number(predicted * area)}\u202fkm²",
        "precision": _of_100(curve["precision"][k]),
        "recall": _of_100(curve["recall"][k]),
    }
    first = "at" if predicted else "nothing"
    third = "as_good" if best.f1 - f1 < SAME else "lost"
    return " ".join(SENTENCES[key].format(**values) for key in (first, "as_here", third, "plateau"))


def thresholds_table(histogram: ScoreHistogram, threshold: float, area: float) -> dict[str, Any]:
    """Table of thresholds, for readers and printers without a script."""
    best = round(histogram.best().value * histogram.bins)
    used = _bin(histogram.bins, threshold)
    curve = histogram.curve()
    rows = []
    for k in sorted({*_steps(histogram.bins), best, used}):
        tp, fp = int(histogram.positive[k:].sum()), int(histogram.negative[k:].sum())
        missed = int(histogram.positive[:k].sum())
        sizes = {"predicted": tp + fp, "found": tp, "false": fp, "missed": missed}
        marks = [word for word, at in (("in use", used), ("best F1 here", best)) if at == k]
        rows.append(
            {
                "threshold": k / histogram.bins,
                "mark": ", ".join(marks) or None,
                **{name: float(values[k]) for name, values in curve.items()},
                **{name: n * area for name, n in sizes.items()},
            }
        )
    note = "A pixel is predicted landslide where its probability is at least the threshold."
    return table("The stack at other thresholds", _THRESHOLDS, rows, note=note)


def predicted_table(source: RunSource, split: str) -> dict[str, Any]:
    """What can be said of a threshold without masks: how much is predicted at others."""
    result = source.summary(f"predict/{split}/result")
    counts = result["histogram"]
    area, used = source.pixel_m(split) ** 2 / 1e6, _bin(len(counts), result["threshold"])
    rows = []
    for k in sorted({*_steps(len(counts)), used}):
        above, mark = sum(counts[k:]), "in use" if k == used else None
        row = {"threshold": k / len(counts), "predicted": above * area, "mark": mark}
        rows.append({**row, "share": above / sum(counts)})
    note = f"There are no masks of {split}: nobody can say here how much of it is right."
    return table("The predicted area at other thresholds", _AREAS, rows, note=note)


def _steps(bins: int) -> range:
    return range(0, bins, max(1, bins // STEPS))


def _bin(bins: int, threshold: float) -> int:
    return min(round(threshold * bins), bins - 1)


def _of_100(share: float | np.floating[Any]) -> str:
    n = 100 * float(share)
    if 0 < n < 1:
        return "fewer than 1"
    if 99 < n < 100:
        return "more than 99"
    return str(math.floor(n + 0.5))
