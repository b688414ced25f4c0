"""A stack on a split: masks as handed in, and the threshold of each scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import MAIN_SCORES, facts, score_row, table


def tables(source: RunSource, split: str) -> dict[str, Any]:
    """Table of the masks as handed in, against the threshold alone; and of thresholds by scene."""
    scores = source.summary(f"predict/{split}/scores")
    result = source.summary(f"predict/{split}/result")
    out: dict[str, Any] = {}
    row, masks = headline.ledger_row(scores, "stack"), scores.get("masks") or {}
    over = masks.get("over_threshold") or {}
    if row and over.get("value"):
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
