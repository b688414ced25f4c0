"""Who is right where something is at stake, in all and by size of the landslide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.failures import area
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.table import table

_COLUMNS = (
    ("only_unet", "only the U-Net is right", "share"),
    ("only_pixel", "only the pixel classifier", "share"),
    ("both_right", "both", "share"), ("both_wrong", "neither", "share"),
)  # fmt: skip


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of who is right; none where it was not counted."""
    if not summary.get("agreement"):
        return {}
    return {
        "agreement": figure(
            "agreement",
            "Who is right where something is at stake",
            "Pixels that are landslide, or that either model predicts so. The stack can win only "
            "where one of the two is right.",
            summary["agreement"],
        )
    }


def tables(summary: Mapping[str, Any], pixel_m: float) -> dict[str, Any]:
    """Table by size of the reference landslide."""
    rows = summary.get("agreement_by_size") or []
    if not rows:
        return {}
    shown = []
    for row in rows:
        pixels = sum(row[key] for key, _, _ in _COLUMNS)
        shown.append(
            {
                "size": area(row["low_px"], row["high_px"], pixel_m),
                "slides": row["slides"], "pixels": pixels,
                **{key: row[key] / pixels if pixels else None for key, _, _ in _COLUMNS},
            }
        )  # fmt: skip
    return {
        "agreement_size": table(
            "Who finds the pixels of landslides of a size",
            [("size", "size (hectares)", "text"), ("slides", "landslides", "count"),
             ("pixels", "pixels", "count"), *_COLUMNS],
            shown,
            note="Of the pixels of reference landslides. Out of fold, each model at its own "
            "threshold.",
        )
    }  # fmt: skip


def sentence(summary: Mapping[str, Any]) -> str:
    """Say what each model alone finds."""
    rows = summary.get("agreement_by_size") or []
    pixels = sum(row[key] for row in rows for key, _, _ in _COLUMNS)
    if not pixels:
        return ""
    alone = {key: sum(row[key] for row in rows) / pixels for key in ("only_unet", "only_pixel")}
    return (
        f"Of the pixels of landslides the U-Net alone finds {words.share(alone['only_unet'])}, "
        f"the pixel classifier alone {words.share(alone['only_pixel'])}."
    )
