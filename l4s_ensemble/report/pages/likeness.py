"""How like the training tiles those of a split are: what the run's scores say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

_SHOWN = ("pixel", "unet", "stack")


def told(source: RunSource, split: str) -> Mapping[str, Any]:
    """What the run knows of a split's likeness; empty where it knows nothing."""
    summary = source.summary(f"predict/{split}/likeness")
    return summary if summary.get("known") else {}


def sentence(summary: Mapping[str, Any]) -> str:
    """Say how many tiles are unlike all of training, and by what."""
    if not summary:
        return ""
    if not summary["unlike"]:
        return "Every tile is like some that the run's scores were measured on."
    moved = ", ".join(f"{d['what']} {words.signed(d['by'])}" for d in summary["differs"][:3])
    return (
        f"{words.count(summary['unlike'])} of {words.plural(summary['patches'], 'tile')} are "
        f"unlike all of training, most by {moved} standard deviations: no score of this run was "
        "measured on such ground."
    )


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of the tiles' distances, beside those of training."""
    if not summary:
        return {}
    return {
        "likeness": figure(
            "likeness",
            "How unlike the training tiles these are",
            "Distance of what a tile's bands look like to the nearest training tiles; 1 is the "
            "median of a training tile that its fold holds out. Right of the dashed line no score "
            "was measured on anything alike.",
            {key: summary[key] for key in ("edges", "here", "held_out", "limit")},
        )
    }


def tables(summary: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Table of F1 on tiles like those of training and on the others, where masks exist."""
    rows = scores.get("likeness") or []
    if not summary or len(rows) < 2:
        return {}
    return {
        "likenesses": table(
            "Scores of tiles like those of training, and of the others",
            [("which", "tiles", "text"), ("tiles", "number", "count"),
             *((f"{m}{part}", f"{headline.MODEL_NAMES[m]}{head}", kind) for m in _SHOWN
               for part, head, kind in (("", ", F1", "score"), ("_span", ", interval", "interval")))
             ],
            [
                {
                    "which": "like training" if r["like"] else "unlike", "tiles": r["tiles"],
                    **{m: r[m]["value"] for m in _SHOWN},
                    **{f"{m}_span": None if r[m]["low"] is None else [r[m]["low"], r[m]["high"]]
                       for m in _SHOWN},
                }
                for r in rows
            ],
        )
    }  # fmt: skip
