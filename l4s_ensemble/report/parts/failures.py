"""Where a model fails: by terrain, brightness, distance to the boundary of a landslide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l4s_ensemble.metrics.summary import FailureRow, Failures, FailuresBy
from l4s_ensemble.report import words
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts.scores import series

_SHORT = {
    "slope_deg": ("by slope", "slope of the pixel (degrees)"),
    "dem_m": ("by elevation", "elevation of the pixel (m)"),
    "brightness": ("by brightness", "brightness (unit of the bands)"),
    "tile_brightness": ("by brightness of the tile", "median brightness (unit of the bands)"),
    "tile_edge_px": ("by distance to the edge of the tile", "distance to the edge (pixels)"),
}


def figures(found: Failures) -> dict[str, Any]:
    """Figures of the failures of a base model."""
    return {
        "failures": figure(
            "lines",
            "Where it fails: on what ground",
            "Scores of the pixels of each kind, at the threshold in use; bars are the kind's "
            "share of all landslide pixels. A line that falls over a tall bar costs most.",
            [_kind(b) for b in found.by],
            few=True,
        ),
        "boundary": figure(
            "lines",
            "F1 by distance to the boundary of a landslide",
            "Scores of all pixels so far from the boundary of a reference landslide, inside it "
            "or outside. Low near the boundary and high farther in: places are found, and "
            "outlines are rough. The last point has all false alarms far away.",
            _by_distance(found.boundary),
        ),
    }


def _kind(by: FailuresBy) -> dict[str, Any]:
    title, axis = _SHORT.get(by.key, (f"by {by.title}", f"{by.title} ({by.unit})"))
    rows = by.rows
    real = max(1, sum(r.landslide for r in rows))
    share = {
        "name": "share of landslide pixels",
        "colour": "landslide-soft",
        "as": "bar",
        "y": words.sigfig([r.landslide / real for r in rows]),
        "hover": [f"{r.landslide:,} of {r.pixels:,} pixels are landslide" for r in rows],
    }
    scores = {k: words.sigfig([getattr(r, k) for r in rows]) for k in ("f1", "precision", "recall")}
    whole = by.key == "tile_edge_px"
    return {
        "label": title,
        "axes": (axis, "score, share"),
        "range": [0, 1.02],
        "x": [between(r.low, r.high, whole=whole) for r in rows],
        "series": [share, *series(scores)],
    }


def _by_distance(rows: Sequence[FailureRow]) -> dict[str, Any]:
    there = [r for r in rows if r.tp + r.fp + r.fn]
    scores = {
        "f1": [r.f1 for r in there],
        "precision": [_part(r.tp, r.tp + r.fp) for r in there],
        "recall": [_part(r.tp, r.tp + r.fn) for r in there],
    }
    return {
        "x": [up_to(r.low or 0.0, r.high) for r in there],
        "axes": ("distance to the boundary, on either side (pixels)", "score"),
        "range": [0, 1.02],
        "series": series(words.sigfig(scores)),
    }


def _part(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def between(low: float | None, high: float | None, *, whole: bool = False) -> str:
    """Bounds of a bin that holds its lower end; whole numbers are named by their last."""
    if low is None and high is None:
        return "all"
    if low is None:
        return f"< {words.number(high)}"
    if high is None:
        return f"≥ {words.number(low)}"
    if whole:
        return words.number(low) if high - low <= 1 else f"{low:.0f}–{high - 1:.0f}"
    to = "–" if low >= 0 else " to "
    return f"{words.number(low)}{to}{words.number(high)}"


def up_to(low: float, high: float | None) -> str:
    """Bounds of a bin that holds its upper end."""
    if high is None:
        return f"> {low:.0f}"
    return f"≤ {high:.0f}" if low == 0 else f"{low:.0f}–{high:.0f}"
