"""The sentence every page begins with: F1, interval, precision, recall, threshold, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.published import why_not_comparable
from l4s_ensemble.report import words
from l4s_ensemble.report.source import RunSource

MODEL_NAMES = {
    "pixel": "pixel classifier",
    "unet": "U-Net",
    "mean": "mean of both",
    "stack": "stack",
}
"""Models of a comparison, as they are named on a page."""

_SCORES = (
    "f1", "f1_low", "f1_high", "precision", "recall", "iou", "threshold", "threshold_chosen_here",
    "tiles", "blocks", "average_precision", "calibration_error",
)  # fmt: skip

_ORDER = ("test", "valid")
"""Splits whose score comes first: nothing was chosen on them, and others published theirs."""


def out_of_fold(source: RunSource, model: str) -> dict[str, Any] | None:
    """Headline of a fitted model on the training tiles, or None if it has no scores."""
    summary = source.summary(model)
    row = comparison_row(summary, "stack") if model == "stack" else summary.get("oof")
    if not row:
        return None
    return _headline(source, model, "train", "out-of-fold", row)


def on_split(source: RunSource, split: str, model: str = "stack") -> dict[str, Any] | None:
    """Headline of a model on a predicted split, or None if the split was not scored."""
    row = comparison_row(source.summary(f"predict/{split}/scores"), model)
    if row is None:
        return None
    return _headline(source, model, split, kind_of(source, split), row)


def kind_of(source: RunSource, split: str) -> str:
    """``holdout``, ``fitted`` (the training tiles themselves) or ``split``."""
    if source.data_stage(split) != "data/train":
        return "split"
    return "holdout" if split == "holdout" else "fitted"


def of_run(source: RunSource) -> dict[str, Any] | None:
    """Headline of a whole run: official splits first, then the holdout, then out-of-fold."""
    scored = sorted(
        (s for s in source.predicted if kind_of(source, s) != "fitted"),
        key=lambda s: _ORDER.index(s) if s in _ORDER else len(_ORDER),
    )
    heads = [on_split(source, split) for split in scored]
    heads += [out_of_fold(source, model) for model in ("stack", "unet", "pixel")]
    return next((head for head in heads if head is not None), None)


def all_of_run(source: RunSource) -> list[dict[str, Any]]:
    """Every score of the run: each model out-of-fold, each model on each scored split."""
    rows = [on_split(source, s, m) for s in source.predicted for m in MODEL_NAMES]
    if "stack" in source:
        rows += [
            _headline(source, row["model"], "train", "out-of-fold", row)
            for row in source.summary("stack")["comparison"]
        ]
    else:
        rows += [out_of_fold(source, m) for m in ("pixel", "unet")]
    return [r for r in rows if r is not None]


def comparison_row(summary: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """Row of a model in the comparison that a summary holds; None where it has none."""
    return next((row for row in summary.get("comparison", []) if row["model"] == model), None)


def name_of(row: Mapping[str, Any]) -> str:
    """Name of a row; one that used a split's images is another than one that did not."""
    name, split = MODEL_NAMES[row["model"]], row.get("adapted_to")
    return f"{name}, adapted to {split}" if split else name


def _headline(
    source: RunSource, model: str, split: str, kind: str, row: Mapping[str, Any]
) -> dict[str, Any]:
    data = source.summary(source.data_stage(split))
    adapted_to = row.get("adapted_to")
    if model == "unet" and kind == "out-of-fold":
        adapted_to = source.summary("unet").get("adapted_to")
    found = {
        "row": model,
        "model": name_of({"model": model, "adapted_to": adapted_to}),
        "adapted_to": adapted_to,
        "split": split,
        "kind": kind,
        **{key: row[key] for key in _SCORES},
        "block_kind": source.summary(f"predict/{split}/scores").get("block_kind", "spatial"),
        "not_comparable": why_not_comparable(
            split, kind, data, source.summary("scenes").get("grid")
        ),
    }
    return {**found, "sentence": sentence(found)}


def sentence(h: Mapping[str, Any]) -> str:
    """Say a headline in one sentence."""
    interval = ""
    if h["f1_low"] is not None and h["f1_high"] is not None:
        ends = f"{words.score(h['f1_low'])} to {words.score(h['f1_high'])}"
        interval = f" (95\u202f% interval {ends})"
    else:
        interval = f" ({words.no_interval(h['blocks'])})"
    return (
        f"The {h['model']} reaches F1 {words.score(h['f1'])}{interval}, "
        f"precision {words.score(h['precision'])}, recall {words.score(h['recall'])} "
        f"at threshold {words.score(h['threshold'])}, measured {_measured_on(h)}."
    )


def _measured_on(h: Mapping[str, Any]) -> str:
    tiles = words.plural(int(h["tiles"]), "tile")
    seen = "which no fit has seen"
    if h["adapted_to"] == h["split"]:
        seen = "whose images, and no mask, the U-Net was adapted to"
    place = {
        "out-of-fold": f"out-of-fold on {tiles} of training",
        "fitted": f"on {tiles} of training that the models were fitted on",
        "holdout": f"on {tiles} of the {h['split']}, {seen}",
        "split": f"on {tiles} of {h['split']}, {seen}",
    }[h["kind"]]
    if h["threshold_chosen_here"]:
        return f"{place}; the threshold was chosen on these same scores"
    return f"{place}; the threshold was chosen out-of-fold on training tiles"
