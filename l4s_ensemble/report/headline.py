"""The sentence every page begins with: F1, interval, precision, recall, threshold, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import ladder, words
from l4s_ensemble.report.source import RunSource

MODEL_NAMES = {
    "pixel": "pixel classifier",
    "unet": "U-Net",
    "mean": "mean of both",
    "stack": "stack",
}
"""Models of the ledger, as they are called on a page."""

_ORDER = ("test", "valid")
"""Splits whose score is told first: nothing was chosen on them, and others published theirs."""


def out_of_fold(source: RunSource, model: str) -> dict[str, Any] | None:
    """Headline of a fitted model on the training tiles, or None if it has no scores."""
    summary = source.summary(model)
    row = ledger_row(summary, "stack") if model == "stack" else summary.get("oof")
    if not row:
        return None
    return _headline(source, model, "train", "out-of-fold", row)


def on_split(source: RunSource, split: str, model: str = "stack") -> dict[str, Any] | None:
    """Headline of a model on a predicted split, or None if the split was not scored."""
    row = ledger_row(source.summary(f"predict/{split}/scores"), model)
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
    for split in scored:
        found = on_split(source, split)
        if found is not None:
            return found
    for model in ("stack", "unet", "pixel"):
        found = out_of_fold(source, model)
        if found is not None:
            return found
    return None


def all_of_run(source: RunSource) -> list[dict[str, Any]]:
    """Every score of the run: each model out-of-fold, each model on each scored split."""
    rows = [on_split(source, s, m) for s in source.predicted for m in MODEL_NAMES]
    if "stack" in source:
        rows += [
            _headline(source, row["model"], "train", "out-of-fold", row)
            for row in source.summary("stack")["ledger"]
        ]
    else:
        rows += [out_of_fold(source, m) for m in ("pixel", "unet")]
    return [r for r in rows if r is not None]


def ledger_row(summary: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """Find the ledger's row of a model."""
    for row in summary.get("ledger", []):
        if row["model"] == model:
            found: Mapping[str, Any] = row
            return found
    return None


def name_of(row: Mapping[str, Any]) -> str:
    """How a row is called; one that used a split's images is another row than one that did not."""
    model = str(row["model"])
    part = model.removeprefix("stack without ")
    name = MODEL_NAMES.get(model, model)
    if part != model:
        name = f"stack without the {MODEL_NAMES.get(part, part)}"
    split = row.get("adapted_to")
    return f"{name}, adapted to {split}" if split else name


def _headline(
    source: RunSource, model: str, split: str, kind: str, row: Mapping[str, Any]
) -> dict[str, Any]:
    data = source.summary(source.data_stage(split))
    adapted_to = row.get("adapted_to")
    if model == "unet" and kind == "out-of-fold":
        adapted_to = source.summary("unet").get("adapted_to")
    block_kind = source.summary(f"predict/{split}/scores").get("block_kind", "spatial")
    told = {
        "row": model,
        "model": name_of({"model": model, "adapted_to": adapted_to}),
        "adapted_to": adapted_to,
        "split": split,
        "kind": kind,
        "f1": row["f1"],
        "f1_low": row.get("f1_low"),
        "f1_high": row.get("f1_high"),
        "precision": row["precision"],
        "recall": row["recall"],
        "iou": row.get("iou"),
        "threshold": row["threshold"],
        "tiles": row["tiles"],
        "blocks": row.get("blocks"),
        "block_kind": block_kind,
        "threshold_chosen_here": bool(row.get("threshold_chosen_here", kind == "out-of-fold")),
        "average_precision": row.get("average_precision"),
        "calibration_error": row.get("calibration_error"),
        "not_comparable": ladder.why_not_comparable(
            split, kind, data, source.summary("scenes").get("grid")
        ),
    }
    return {**told, "measured_on": _measured_on(told), "sentence": sentence(told)}


def sentence(h: Mapping[str, Any]) -> str:
    """Say a headline in one sentence."""
    interval = ""
    if h["f1_low"] is not None and h["f1_high"] is not None:
        interval = (
            f" (95\u202f% interval {words.score(h['f1_low'])} to {words.score(h['f1_high'])})"
        )
    elif h.get("blocks") is not None:
        interval = f" ({words.no_interval(h['blocks'])})"
    return (
        f"The {h['model']} reaches F1 {words.score(h['f1'])}{interval}, "
        f"precision {words.score(h['precision'])}, recall {words.score(h['recall'])} "
        f"at threshold {words.score(h['threshold'])}, measured {_measured_on(h)}."
    )


def _seen(h: Mapping[str, Any]) -> str:
    if h.get("adapted_to") == h["split"]:
        return "whose images, and no mask, the U-Net was adapted to"
    return "which no fit has seen"


def _measured_on(h: Mapping[str, Any]) -> str:
    tiles = words.plural(int(h["tiles"]), "tile")
    if h["kind"] == "out-of-fold":
        place = f"out-of-fold on {tiles} of training"
    elif h["kind"] == "fitted":
        place = f"on {tiles} of training that the models were fitted on"
    elif h["kind"] == "holdout":
        place = f"on {tiles} of the {h['split']}, {_seen(h)}"
    else:
        place = f"on {tiles} of {h['split']}, {_seen(h)}"
    if h["threshold_chosen_here"]:
        return f"{place}; the threshold was chosen on these same scores"
    return f"{place}; the threshold was chosen out-of-fold on training tiles"
