"""Which tiles of a split lie outside the area of applicability of the run's scores."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.predict.summary import Applicability, ScoresSummary
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.table import table

_SHOWN = ("pixel", "unet", "stack")


def sentence(found: Applicability | None) -> str:
    """Say how many tiles lie outside the area of applicability, and by what."""
    if found is None:
        return ""
    if not found.outside:
        return "Every tile is inside the area of applicability of the run's scores."
    moved = ", ".join(f"{d.what} {words.signed(d.by)}" for d in found.differs[:3])
    return (
        f"{words.count(found.outside)} of {words.plural(found.patches, 'tile')} are outside the "
        f"area of applicability, most by {moved} standard deviations: no score of this run was "
        "measured on such ground."
    )


def figures(found: Applicability | None) -> dict[str, Any]:
    """Figure of the tiles' dissimilarity index, beside that of training."""
    if found is None:
        return {}
    half = (found.edges[1] - found.edges[0]) / 2
    panel = {
        "x": [round(e + half, 4) for e in found.edges],
        "percent": True,
        "at": found.limit,
        "bars": "overlay",
        "height": 300,
        "axes": (
            "dissimilarity index (1: median of a held-out training tile)",
            "share of the tiles",
        ),
        "series": [
            {
                "name": "training tiles, held out",
                "colour": "other",
                "as": "bar",
                "y": found.held_out,
            },
            {"name": "here", "colour": "stack", "as": "bar", "y": found.here},
        ],
    }
    read = (
        "Distance of what a tile's bands look like to the nearest training tiles. Right of the "
        "dashed line a tile is outside the area of applicability."
    )
    title = "How dissimilar these tiles are to training"
    return {"applicability": figure("lines", title, read, panel)}


def tables(scores: ScoresSummary | None) -> dict[str, Any]:
    """Table of F1 inside the area of applicability and outside, where masks exist."""
    if scores is None or len(scores.applicability) < 2:
        return {}
    columns = [("which", "tiles", "text"), ("tiles", "number", "count")]
    columns += [(m, f"{MODEL_NAMES[m]}, F1", "score") for m in _SHOWN]
    rows = [
        {
            "which": "inside" if r.like else "outside",
            "tiles": r.tiles,
            **{m: getattr(r, m).value for m in _SHOWN},
        }
        for r in scores.applicability
    ]
    title = "Scores inside the area of applicability, and outside"
    return {"inside_and_outside": table(title, columns, rows)}
