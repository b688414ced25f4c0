"""A stack on a split: masks as handed in, and each model's probabilities, seen and unseen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import MAIN_SCORES, facts, score_row, table

_SHOWN = ("pixel", "unet", "stack")


def figures(source: RunSource, split: str) -> dict[str, Any]:
    """Figure of reliability out-of-fold and here; none where either is not known."""
    here = source.summary(f"predict/{split}/scores").get("reliability_of") or {}
    models = [
        {
            "name": headline.MODEL_NAMES[m],
            "training": words.sigfig(dict(source.summary(m)["reliability"])),
            "split": words.sigfig(dict(here[m])),
        }
        for m in _SHOWN
        if here.get(m) and source.summary(m).get("reliability")
    ]
    if not models:
        return {}
    return {
        "seen_unseen": figure(
            "seen_unseen",
            "Whether probabilities hold here as they did out-of-fold",
            "Dotted: on training tiles, each scored by models that did not see it. Solid: here. On "
            "the diagonal a probability keeps its word; where the solid line leaves the dotted "
            "one, this place is unlike the training.",
            models,
        )
    }


def tables(source: RunSource, split: str) -> dict[str, Any]:
    """Table of the masks as handed in, against the threshold alone; and of thresholds by scene."""
    scores = source.summary(f"predict/{split}/scores")
    result = source.summary(f"predict/{split}/result")
    out: dict[str, Any] = {}
    row, masks = headline.ledger_row(scores, "stack"), scores.get("masks")
    if row and masks:
        over = masks.get("over_threshold") or {}
        columns = [c for c in MAIN_SCORES if c[0] not in {"threshold", "tiles"}]
        out["masks"] = table(
            "The masks as they are handed in, against the threshold alone",
            [("name", "masks", "text"), *columns, ("found", "landslides found", "count"),
             ("false", "false landslides", "count"), ("gain", "gain in F1", "gain"),
             ("span", "its 95 % interval", "text")],
            [
                {**score_row(row), **_called(None), "name": "threshold alone"},
                {**score_row(masks), **_called(masks.get("objects")), "name": "as handed in",
                 "gain": over.get("value"), "span": _span(over)},
            ],
            note="As handed in: after the threshold has followed each scene and small landslides "
            "were removed, where the stack's decision does either.",
        )  # fmt: skip
    moved = result.get("thresholds") or []
    if any(t.get("followed") for t in moved):
        out["thresholds"] = table(
            "The threshold of each scene",
            [("scene", "scene", "text"), ("threshold", "threshold", "score"),
             ("carried", "carried over", "score"),
             ("prior_here", "landslides, as estimated", "share"),
             ("kept_because", "not moved because", "text")],
            [{**(t.get("followed") or {}), **{k: t[k] for k in ("scene", "threshold")}}
             for t in moved],
            note="Estimated from the scores of the scene alone, without its masks.",
        )  # fmt: skip
    return out


def more_facts(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a newer result tells of how the masks were made."""
    return facts(
        [
            ("fold models averaged", result.get("fold_models"), "count"),
            ("follows the scene", None if "follow" not in result else bool(result["follow"]),
             "text"),
            ("smallest landslide kept (pixels)", result.get("smallest_px"), "count"),
        ]
    )  # fmt: skip


def _called(objects: Mapping[str, Any] | None) -> dict[str, Any]:
    told = objects or {}
    return {"found": told.get("found"), "false": told.get("false")}


def _span(told: Mapping[str, Any]) -> str | None:
    low, high = told.get("low"), told.get("high")
    if low is None or high is None:
        return None
    return f"{words.gain(low)} to {words.gain(high)}"
