"""The threshold as a decision: the counts behind it, which the page's script moves through.

The script reckons with the same counts in the same order as `metrics.histogram.ScoreHistogram` and
`stack.decision.prevalence` do, so that a number on the page is the number of the run.
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
from l4s_ensemble.stack.decision import prevalence

STEPS = 20
"""Rows of the table of thresholds, beside those of the threshold in use and of the best one."""

FACTORS = (0.25, 4.0)
"""How much rarer or commoner landslides may be made."""

SAME = 0.0005
"""A loss of F1 below it is written as none."""

TOLD = {
    "at": "At {threshold} the {model} calls {called} landslide. Of 100 called pixels {precision} "
    "are landslide, and of 100 landslide pixels {recall} are found.",
    "nothing": "At {threshold} the {model} calls nothing landslide.",
    "as_here": "The best threshold here is {best} (F1 {f1_best}).",
    "suppose": "Suppose that landslides are {factor} times as common ({share} of the pixels).",
    "elsewhere": "The best threshold is then {best} (F1 {f1_best}).",
    "lost": "The threshold in use, {in_use}, has F1 {f1_in_use} and loses {lost}.",
    "as_good": "The threshold in use, {in_use}, is as good.",
    "plateau": "Any threshold from {low} to {high} stays within 0.01 of the best F1.",
    "area": "At {threshold} the {model} calls {called} landslide, {share} of all.",
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
    """Every model on a scored split; without masks the called area alone, where it was counted."""
    stage = f"predict/{split}/scores"
    scores = source.summary(stage)
    if scores.get("histogram"):
        note = (
            f"Counted with the masks of {split}. {_MOVES} The threshold in use was chosen on other "
            "tiles; one chosen here, with these masks, would be no fair score."
        )
        return _scored(
            source, split, scores, ledger_histograms(source, stage, scores),
            f"{note} {_handed_in(scores)}".rstrip(),
        )  # fmt: skip
    result = source.summary(f"predict/{split}/result")
    if not result.get("histogram"):
        return None
    return _called_only(source, split, result)


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
    row = ledger_row(summary, "stack") or {}
    return {
        "title": "What a threshold costs",
        "read": "Move the slider. The higher the threshold, the fewer false "
        "alarms and the more landslides are missed. The dashed line is the threshold in use, the "
        "diamond the best F1, the shade all that is within 0.01 of it.",
        "note": note,
        "bins": whole.bins,
        "pixel_km2": area,
        "tiles": row.get("tiles"),
        "factors": list(FACTORS),
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


def at_threshold(histogram: ScoreHistogram, k: int, factor: float = 1.0) -> dict[str, float]:
    """Scores and counts where bin `k` is the first that is called, as the page shows them.

    Parameters
    ----------
    factor : float
        How many times as common landslides are; the counts are those of an area as large, with
        so many more landslide pixels and fewer others.

    Returns
    -------
    dict
        ``precision, recall, f1, iou, tp, fp, fn``.
    """
    positive, negative = float(histogram.positive.sum()), float(histogram.negative.sum())
    now = positive / (positive + negative) if positive + negative else 0.0
    weight, less = 1.0, 1.0
    if factor != 1 and 0 < factor * now < 1:
        weight = prevalence.weight_of(now, factor * now)
        less = (negative + (1 - factor) * positive) / negative
    tp, fp = float(histogram.positive[k:].sum()), float(histogram.negative[k:].sum())
    called, below = weight * tp + fp, weight * positive + fp
    return {
        "precision": weight * tp / called if called else 1.0,
        "recall": tp / positive if positive else 0.0,
        "f1": float(prevalence.f1_curve(histogram, weight)[k]),
        "iou": weight * tp / below if below else 0.0,
        "tp": factor * tp,
        "fp": less * fp,
        "fn": factor * (positive - tp),
    }


def thresholds_table(
    histogram: ScoreHistogram, threshold: float, area: float | None
) -> dict[str, Any]:
    """Table of thresholds, for readers and printers without a script."""
    best = round(histogram.best().value * histogram.bins)
    used = _bin(histogram.bins, threshold)
    rows = []
    for k in sorted({*range(0, histogram.bins, max(1, histogram.bins // STEPS)), best, used}):
        found = at_threshold(histogram, k)
        sizes = {
            "called": found["tp"] + found["fp"], "found": found["tp"], "false": found["fp"],
            "missed": found["fn"],
        }  # fmt: skip
        marks = [word for word, at in (("in use", used), ("best F1 here", best)) if at == k]
        rows.append(
            {
                "threshold": k / histogram.bins, "mark": ", ".join(marks) or None, **found,
                **{n: v if area is None else v * area for n, v in sizes.items()},
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


def _called_only(source: RunSource, split: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What can be said without masks: how much is called."""
    counts = [int(n) for n in result["histogram"]]
    area, threshold = pixel_km2(source, split), float(result["threshold"])
    total = sum(counts)
    bins = len(counts)
    rows = []
    for k in sorted({*range(0, bins, max(1, bins // STEPS)), _bin(bins, threshold)}):
        called = sum(counts[k:])
        rows.append(
            {
                "threshold": k / bins, "called": called if area is None else called * area,
                "share": called / total if total else None,
                "mark": "in use" if k == _bin(bins, threshold) else None,
            }
        )  # fmt: skip
    at = sum(counts[_bin(bins, threshold) :])
    return {
        "title": "How much is called landslide",
        "read": "Drag the slider, or the plot itself. The steeper the line at the threshold in "
        "use (dashed), the more the called area depends on it. The area runs in steps of ten.",
        "note": f"There are no masks of {split}: nobody can say here how much of it is right. "
        f"{_MOVES}",
        "bins": bins,
        "pixel_km2": area,
        "tiles": result["patches"],
        "factors": None,
        "chosen": "stack",
        "same": SAME,
        "told": TOLD,
        "models": [
            {"model": "stack", "name": MODEL_NAMES["stack"], "threshold": threshold, "all": counts}
        ],
        "sentence": TOLD["area"].format(
            threshold=words.score(threshold), model=MODEL_NAMES["stack"], called=_area(at, area),
            share=words.share(at / total if total else 0.0),
        ),
        "table": table(
            "The called area at other thresholds",
            [("threshold", "threshold", "score"),
             ("called", f"called ({'pixels' if area is None else 'km²'})",
              "count" if area is None else "number"),
             ("share", "share of all pixels", "share"), ("mark", "note", "text")],
            rows,
        ),
    }  # fmt: skip


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
