"""Figures and tables of a scored model, and what the stack gains in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.summary import Histogram
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.figures import precision_recall_curve
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table
from l4s_ensemble.stack.summary import ModelGain
from l4s_ensemble.unet.summary import UNetSummary

SCORES = (("f1", "F1", "stack", "solid"), ("precision", "precision", "pixel", "dash"),
          ("recall", "recall", "unet", "dot"))  # fmt: skip


def histogram(found: Histogram) -> ScoreHistogram:
    """Histogram of a summary."""
    return ScoreHistogram(np.array(found.positive), np.array(found.negative))


def series(
    values: Mapping[str, Any], keys: Sequence[tuple[str, str, str, str]] = SCORES
) -> list[dict[str, Any]]:
    """Lines of a figure: those of `keys` (key, name, colour, dash) that there are values of."""
    return [
        {"name": name, "y": values[key], "colour": colour, "dash": dash}
        for key, name, colour, dash in keys
        if key in values
    ]


def scored(
    histograms: Mapping[str, ScoreHistogram], thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Make the figures of precision, recall and reliability of models, by model."""
    look = {m: {"name": MODEL_NAMES[m], "colour": m} for m in histograms}
    curves = [
        {**look[m], **precision_recall_curve(h, thresholds[m])} for m, h in histograms.items()
    ]
    reliable = [
        {**look[m], **words.sigfig(h.reliability())} for m, h in histograms.items() if m != "mean"
    ]
    return {
        "pr": figure(
            "precision_recall",
            "Precision and recall at every threshold",
            "Each point of a line is one threshold; up and to the right is better. Dotted lines "
            "join points of equal F1, the marker is the threshold in use.",
            {"curves": curves},
        ),
        "reliability": figure(
            "reliability",
            "Whether probabilities are calibrated",
            "On the diagonal, 30\u202f% of the pixels with a probability of 30\u202f% are "
            "landslide. Below it probabilities are too high. Larger points stand for more pixels.",
            {"series": reliable},
        ),
    }


def intervals(axis: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Panel of dots with intervals; a row has ``name, value, low, high, colour``."""
    own = {
        "name": "",
        "values": words.sigfig([r["value"] for r in rows]),
        "hover": [""] * len(rows),
        **{k: words.sigfig([r[k] for r in rows]) for k in ("low", "high")},
        "colour": [r["colour"] for r in rows],
    }
    return {"names": [r["name"] for r in rows], "axis": axis, "series": [own], "dots": True, **more}


def where_it_was_scored(source: RunSource, model: str) -> dict[str, Any]:
    """Figure of a model's F1 everywhere: out of fold, by fold, on each predicted split."""
    summaries = {"pixel": source.get(PixelSummary), "unet": source.get(UNetSummary)}
    summary, rows = summaries.get(model), []
    for score in headline.everywhere(source, model):
        ends = {"low": score.row.f1_low, "high": score.row.f1_high}
        rows.append({"name": score.short(), "value": score.row.f1, "colour": model, **ends})
    rows[1:1] = [
        {"name": f"fold {f.fold}", "value": f.f1, "low": None, "high": None, "colour": "mean"}
        for f in (summary.folds if isinstance(summary, PixelSummary | UNetSummary) else ())
    ]
    pixel = source.get(PixelSummary)
    rule = pixel.rule.f1 if pixel else None
    if rule is not None:
        name = "NDVI and slope, out of fold"
        rows.append({"name": name, "value": rule, "low": None, "high": None, "colour": "other"})
    read = (
        "F1 of the landslide class on tiles that the model did not see. Folds are other parts of "
        "known scenes; a split may be a new place. Lines are 95\u202f% intervals over blocks of "
        "tiles; there is none where blocks are fewer than ten."
    )
    panel = intervals("F1 of the landslide class", rows, range=[0, 1])
    return figure("rows", f"Where the {MODEL_NAMES[model]} was scored", read, panel)


def gain_sentence(gain: ModelGain) -> str:
    """Say what the stack gains over the better of the two, or that no gain is shown."""
    said = f"Against the {MODEL_NAMES[gain.over]} alone F1 moves by {words.gain(gain.value)}"
    span = words.gain_interval(gain)
    if span is None:
        return f"{said}; {words.no_interval(gain.blocks)}."
    return f"{said} ({span}): {'a gain' if gain.shown else 'no gain shown'}."


_FOLD: tuple[Column, ...] = (
    ("fold", "count"), ("held_out_tiles", "tiles held out", "count"),
    ("buffer_tiles", "buffer tiles", "count"),
)  # fmt: skip


def fold_table(folds: Iterable[Mapping[str, Any]], *more: Column) -> dict[str, Any]:
    """Make the table of a model's folds."""
    return table(
        "Fold by fold",
        [*_FOLD, *more, ("f1", "F1", "score"), ("precision", "score"), ("recall", "score")],
        folds,
        note="Scores on the held-out tiles at the threshold of all folds together. Buffer tiles "
        "touch held-out tiles and train nothing.",
    )
