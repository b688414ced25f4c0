"""Figures and tables of a scored model, and what the stack gains in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import curves, words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

Figures = dict[str, Any]

SCORES = (("f1", "F1", "stack", "solid"), ("precision", "precision", "pixel", "dash"),
          ("recall", "recall", "unet", "dot"))  # fmt: skip

READ_PR = (
    "Each point of a line is one threshold; up and to the right is better. Dotted lines join "
    "points of equal F1, the marker is the threshold in use."
)

READ_THRESHOLD = (
    "The higher F1 stays around the dashed line, the less the exact threshold matters. The "
    "shaded plateau is within 0.01 of the best F1."
)

READ_RELIABILITY = (
    "A point on the diagonal is calibrated: of the pixels with a probability of 30\u202f%, "
    "30\u202f% are landslide. Below it probabilities are too high. Larger points stand for more "
    "pixels."
)


def series(
    values: Mapping[str, Any], keys: Sequence[tuple[str, str, str, str]] = SCORES
) -> list[dict[str, Any]]:
    """Lines of a figure: those of `keys` (key, name, colour, dash) that there are values of."""
    return [
        {"name": name, "y": values[key], "colour": colour, "dash": dash}
        for key, name, colour, dash in keys
        if key in values
    ]


def scored(histograms: Mapping[str, Mapping[str, Any]], thresholds: Mapping[str, float]) -> Figures:
    """Make the figures of precision, recall and reliability of models.

    Parameters
    ----------
    histograms, thresholds : mapping
        By model; models in the order of the figures.
    """
    read = {m: ScoreHistogram.from_dict(dict(h)) for m, h in histograms.items()}
    look = {m: {"name": MODEL_NAMES[m], "colour": m} for m in read}
    drawn = [{**look[m], **curves.precision_recall(h, thresholds[m])} for m, h in read.items()]
    reliable = [
        {**look[m], **words.sigfig(h.reliability())} for m, h in read.items() if m != "mean"
    ]
    return {
        "pr": figure(
            "precision_recall", "Precision and recall at every threshold", READ_PR,
            {"curves": drawn},
        ),
        "reliability": figure(
            "reliability", "Whether probabilities are calibrated", READ_RELIABILITY,
            {"series": reliable},
        ),
    }  # fmt: skip


def of_model(summary: Mapping[str, Any], model: str) -> Figures:
    """Make those of a base model, and that of its scores by threshold."""
    row, histogram = summary["oof"], ScoreHistogram.from_dict(dict(summary["histogram"]))
    step = max(1, histogram.bins // 200)
    thin = {key: curves.plain(values[::step]) for key, values in histogram.curve().items()}
    panel = {
        "x": thin["threshold"], "axes": ("probability threshold", "score"), "range": [0, 1.02],
        "x_range": [0, 1], "series": series(thin), "at": row["threshold"], "height": 430,
        "band": [row["plateau_low"], row["plateau_high"]],
    }  # fmt: skip
    return {
        **scored({model: summary["histogram"]}, {model: row["threshold"]}),
        "threshold": figure("lines", "How much the threshold matters", READ_THRESHOLD, panel),
    }


def pooled(source: RunSource, stage: str) -> dict[str, Mapping[str, Any]]:
    """Pooled histograms of the models of a comparison."""
    models = [row["model"] for row in source.summary(stage)["comparison"]]
    return {m: source.tiles(stage, f"tiles_{m}.npz").pooled().as_dict() for m in models}


def gain_sentence(gain: Mapping[str, Any]) -> str:
    """Say what the stack gains over the better of the two, or that no gain is shown."""
    said = f"Against the {MODEL_NAMES[gain['over']]} alone F1 moves by {words.gain(gain['value'])}"
    span = words.gain_interval(gain)
    if span is None:
        return f"{said}; {words.no_interval(gain['blocks'])}."
    return f"{said} ({span}): {'a gain' if gain['low'] > 0 else 'no gain shown'}."


_FOLD = (
    ("fold", "count"), ("held_out_tiles", "tiles held out", "count"),
    ("buffer_tiles", "tiles in the buffer", "count"),
)  # fmt: skip


def fold_table(folds: Sequence[Mapping[str, Any]], *more: Column) -> dict[str, Any]:
    """Make the table of a model's folds."""
    return table(
        "Fold by fold",
        [*_FOLD, *more, ("f1", "F1", "score"), ("precision", "score"), ("recall", "score")],
        folds,
        note="Scores on the held-out tiles at the threshold of all folds together. Buffer tiles "
        "touch held-out tiles and train nothing.",
    )
