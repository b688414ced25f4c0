"""Which tiles of a split lie outside the area of applicability of the run's scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

_SHOWN = ("pixel", "unet", "stack")


def known(source: RunSource, split: str) -> Mapping[str, Any]:
    """What the run knows of a split's applicability; empty where it knows nothing."""
    return source.summary(f"predict/{split}/result").get("applicability") or {}


def sentence(summary: Mapping[str, Any]) -> str:
    """Say how many tiles lie outside the area of applicability, and by what."""
    if not summary:
        return ""
    if not summary["outside"]:
        return "Every tile is inside the area of applicability of the run's scores."
    moved = ", ".join(f"{d['what']} {words.signed(d['by'])}" for d in summary["differs"][:3])
    return (
        f"{words.count(summary['outside'])} of {words.plural(summary['patches'], 'tile')} are "
        f"outside the area of applicability, most by {moved} standard deviations: no score of "
        "this run was measured on such ground."
    )


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of the tiles' dissimilarity index, beside that of training."""
    if not summary:
        return {}
    edges = summary["edges"]
    half = (edges[1] - edges[0]) / 2
    panel = {
        "x": [round(e + half, 4) for e in edges], "percent": True, "at": summary["limit"],
        "bars": "overlay", "height": 340,
        "axes": ("dissimilarity index (1: median of a held-out training tile)",
                 "share of the tiles"),
        "series": [
            {"name": "training tiles, held out", "colour": "other", "as": "bar",
             "y": summary["held_out"]},
            {"name": "here", "colour": "stack", "as": "bar", "y": summary["here"]},
        ],
    }  # fmt: skip
    read = (
        "Distance of what a tile's bands look like to the nearest training tiles; 1 is the median "
        "of a training tile that its fold holds out. Right of the dashed line a tile is outside "
        "the area of applicability: no score was measured on anything like it."
    )
    return {
        "applicability": figure("lines", "How dissimilar these tiles are to training", read, panel)
    }


def tables(summary: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Table of F1 inside the area of applicability and outside, where masks exist."""
    rows = scores.get("applicability") or []
    if not summary or len(rows) < 2:
        return {}
    models = [
        column
        for m in _SHOWN
        for column in (
            (m, f"{MODEL_NAMES[m]}, F1", "score"),
            (f"{m}_span", f"{MODEL_NAMES[m]}, interval", "interval"),
        )
    ]
    shown = []
    for r in rows:
        spans = {m: [r[m]["low"], r[m]["high"]] for m in _SHOWN}
        shown.append(
            {
                "which": "inside" if r["like"] else "outside",
                "tiles": r["tiles"],
                **{m: r[m]["value"] for m in _SHOWN},
                **{f"{m}_span": None if None in ends else ends for m, ends in spans.items()},
            }
        )
    title = "Scores inside the area of applicability, and outside"
    columns = [("which", "tiles", "text"), ("tiles", "number", "count"), *models]
    return {"inside_and_outside": table(title, columns, shown)}
