"""The threshold as a decision: the counts behind it, which the page's script moves through.

The script reckons with the same counts in the same order as `metrics.histogram.ScoreHistogram`
does, so that a number on the page is the number of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES, ledger_row
from l4s_ensemble.report.pieces import ledger_histograms
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

STEPS = 20
"""Rows of the table of thresholds, beside those of the threshold in use and of the best one."""

SAME = 0.0005
"""A loss of F1 below it is written as none."""

TOLD = {
    "at": "At {threshold} the {model} calls {called} landslide. Of 100 called pixels {precision} "
    "are landslide, and of 100 landslide pixels {recall} are found.",
    "nothing": "At {threshold} the {model} calls nothing landslide.",
    "as_here": "The best threshold here is {best} (F1 {f1_best}).",
    "lost": "The threshold in use, {in_use}, has F1 {f1_in_use} and loses {lost}.",
    "as_good": "The threshold in use, {in_use}, is as good.",
    "plateau": "Any threshold from {low} to {high} stays within 0.01 of the best F1.",
}
"""Sentences with places for numbers; the page's script fills in the same ones."""

_MOVES = "Moving the slider changes what this page shows, and no mask."


def of_fit(source: RunSource) -> dict[str, Any] | None:
    """The stack and its parts, out-of-fold; None where no counts are kept."""
    summary = source.summary("stack")
    if not summary.get("histogram"):
        return None
    return _scored(
        source, "train", summary, ledger_histograms(source, "stack", summary),
        f"Counted out-of-fold on the training tiles. {_MOVES}",
    )  # fmt: skip


def of_prediction(source: RunSource, split: str) -> dict[str, Any] | None:
    """Every model on a scored split; None without masks, see `called_table`."""
    stage = f"predict/{split}/scores"
    scores = source.summary(stage)
    if not scores.get("histogram"):
        return None
    note = (
        f"Counted with the masks of {split}. {_MOVES} The threshold in use was chosen on other "
        "tiles; one chosen here, with these masks, would be no fair score."
    )
    return _scored(
        source, split, scores, ledger_histograms(source, stage, scores),
        f"{note} {_handed_in(scores)}".rstrip(),
    )  # fmt: skip


def _scored(
    source: RunSource,
    split: str,
    summary: Mapping[str, Any],
    histograms: Mapping[str, Mapping[str, Any]],
    note: str,
) -> dict[str, Any]:
    in_use = {str(r["model"]): float(r["threshold"]) for r in summary["ledger"]}
    in_use["stack"] = float(summary["threshold"])
    models = [
        {
            "model": m, "name": MODEL_NAMES[m], "threshold": in_use[m],
            "positive": [int(n) for n in histograms[m]["positive"]],
            "negative": [int(n) for n in histograms[m]["negative"]],
        }
        for m in MODEL_NAMES
        if m in histograms and m in in_use
    ]  # fmt: skip
    area = pixel_km2(source, split)
    whole = ScoreHistogram.from_dict(dict(histograms["stack"]))
    return {
        "title": "What a threshold costs",
        "read": "Move the slider. The higher the threshold, the fewer false "
        "alarms and the more landslides are missed. The dashed line is the threshold in use, the "
        "diamond the best F1, the shade all that is within 0.01 of it.",
        "note": note,
        "bins": whole.bins,
        "pixel_km2": area,
        "chosen": "stack",
        "same": SAME,
        "told": TOLD,
        "models": models,
        "sentence": sentence(whole, in_use["stack"], area),
        "table": thresholds_table(whole, in_use["stack"], area),
    }


def sentence(
    histogram: ScoreHistogram, threshold: float, area: float | None, model: str = "stack"
) -> str:
    """Say a threshold in plain words, with what the best one would give.

    Parameters
    ----------
    area : float or None
        Of one pixel, km²; without it pixels are counted.
    """
    k = _bin(histogram.bins, threshold)
    curve = histogram.curve()
    best = histogram.best()
    called = int(histogram.positive[k:].sum() + histogram.negative[k:].sum())
    at = {"threshold": words.score(k / histogram.bins), "model": MODEL_NAMES[model]}
    first = TOLD["nothing"].format(**at)
    if called:
        first = TOLD["at"].format(
            **at, called=_area(called, area),
            precision=_of_100(curve["precision"][k]), recall=_of_100(curve["recall"][k]),
        )  # fmt: skip
    f1 = float(curve["f1"][k])
    lost = best.f1 - f1
    second = TOLD["as_here"].format(best=words.score(best.value), f1_best=words.score(best.f1))
    third = TOLD["as_good" if lost < SAME else "lost"].format(
        in_use=words.score(threshold), f1_in_use=words.score(f1), lost=words.score(lost)
    )
    fourth = TOLD["plateau"].format(
        low=words.score(best.plateau_low), high=words.score(best.plateau_high)
    )
    return f"{first} {second} {third} {fourth}"


def thresholds_table(
    histogram: ScoreHistogram, threshold: float, area: float | None
) -> dict[str, Any]:
    """Table of thresholds, for readers and printers without a script."""
    best = round(histogram.best().value * histogram.bins)
    used = _bin(histogram.bins, threshold)
    curve, of_pixel = histogram.curve(), 1 if area is None else area
    rows = []
    for k in sorted({*range(0, histogram.bins, max(1, histogram.bins // STEPS)), best, used}):
        tp, fp = int(histogram.positive[k:].sum()), int(histogram.negative[k:].sum())
        sizes = {
            "called": tp + fp, "found": tp, "false": fp,
            "missed": int(histogram.positive[:k].sum()),
        }  # fmt: skip
        marks = [word for word, at in (("in use", used), ("best F1 here", best)) if at == k]
        rows.append(
            {
                "threshold": k / histogram.bins, "mark": ", ".join(marks) or None,
                **{name: float(values[k]) for name, values in curve.items()},
                **{name: n * of_pixel for name, n in sizes.items()},
            }
        )  # fmt: skip
    unit, kind = ("pixels", "count") if area is None else ("km²", "number")
    return table(
        "The stack at other thresholds",
        [("threshold", "threshold", "score"), ("f1", "F1", "score"),
         ("precision", "precision", "score"), ("recall", "recall", "score"),
         ("iou", "IoU", "score"), ("called", f"called ({unit})", kind),
         ("found", f"of it landslide ({unit})", kind),
         ("false", f"of it false ({unit})", kind), ("missed", f"missed ({unit})", kind),
         ("mark", "note", "text")],
        rows,
        note="A pixel is called landslide where its probability is at least the threshold.",
    )  # fmt: skip


def pixel_km2(source: RunSource, split: str) -> float | None:
    """Area of one pixel of a split's tiles in km², None where their store is not there."""
    if source.data_stage(split) not in source:
        return None
    from l4s_ensemble.data.store import sensor_of

    return float(sensor_of(source.store(split)).pixel_m) ** 2 / 1e6


def called_table(source: RunSource, split: str) -> dict[str, Any] | None:
    """What can be said of a threshold without masks: how much is predicted at others."""
    result = source.summary(f"predict/{split}/result")
    counts = [int(n) for n in result.get("histogram") or []]
    if not counts:
        return None
    area, used = pixel_km2(source, split), _bin(len(counts), float(result["threshold"]))
    rows = []
    for k in sorted({*range(0, len(counts), max(1, len(counts) // STEPS)), used}):
        called = sum(counts[k:])
        rows.append(
            {
                "threshold": k / len(counts), "called": called if area is None else called * area,
                "share": called / sum(counts), "mark": "in use" if k == used else None,
            }
        )  # fmt: skip
    unit, kind = ("pixels", "count") if area is None else ("km²", "number")
    return table(
        "The predicted area at other thresholds",
        [("threshold", "threshold", "score"), ("called", f"predicted ({unit})", kind),
         ("share", "share of all pixels", "share"), ("mark", "note", "text")],
        rows,
        note=f"There are no masks of {split}: nobody can say here how much of it is right.",
    )  # fmt: skip


def _handed_in(scores: Mapping[str, Any]) -> str:
    """Say where the masks are other than the threshold alone would make them."""
    over = (scores.get("masks") or {}).get("over_threshold")
    row = ledger_row(scores, "stack")
    if not over or not row or not over.get("value"):
        return ""
    moved = f"moves F1 by {words.gain(over['value'])}"
    return (
        "The masks as handed in were changed after the threshold, which "
        f"{'hardly moves F1' if abs(over['value']) < SAME else moved}; here it stands alone."
    )


def _bin(bins: int, threshold: float) -> int:
    return min(round(threshold * bins), bins - 1)


def _area(pixels: int, area: float | None) -> str:
    if area is None:
        return f"{words.count(pixels)} pixels"
    return f"{words.number(pixels * area)}\u202fkm²"


def _of_100(share: float | np.floating[Any]) -> str:
    n = 100 * float(share)
    if 0 < n < 1:
        return "fewer than 1"
    if 99 < n < 100:
        return "more than 99"
    return str(math.floor(n + 0.5))
