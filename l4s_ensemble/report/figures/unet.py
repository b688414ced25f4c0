"""Figures of the U-Net: progress, logits, occlusion, what only it finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figures.base import FOLD_COLOURS, SMALL_MARGIN, Plot, axis, one

_DASHES = ("solid", "dash", "dot", "dashdot")

_PANELS = (
    ("loss", "loss", "loss of the training tiles"),
    ("validation_loss", "validation loss", "loss of held-out tiles"),
    ("lr", "learning rate", "learning rate"),
    ("gradient_norm", "gradient", "norm before clipping"),
    ("seconds", "time", "seconds per epoch"),
)


def progress(series: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw each quantity over the epochs, one line a network."""
    folds = sorted({s["fold"] for s in series})
    plots = []
    for key, label, y_title in _PANELS:
        data = []
        member: dict[int, int] = {}
        for s in series:
            nth = member[s["fold"]] = member.get(s["fold"], -1) + 1
            if key not in s:
                continue
            data.append(
                {
                    "type": "scatter", "mode": "lines+markers", "name": s["name"],
                    "x": s["epoch"], "y": s[key], "marker": {"size": 4},
                    "line": {"color": f"@fold{folds.index(s['fold']) % FOLD_COLOURS}", "width": 2,
                             "dash": _DASHES[nth % len(_DASHES)]},
                    "hovertemplate": f"{s['name']}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
                }
            )  # fmt: skip
        if not data:
            continue
        made = one(
            data, axis("epoch"), axis(y_title, rangemode="tozero"), 270, margin=SMALL_MARGIN
        )["plots"][0]
        made["label"] = label
        plots.append(made)
    legend = [
        {"label": f"fold {k}", "colour": f"fold{i % FOLD_COLOURS}"} for i, k in enumerate(folds)
    ]
    # Three in a row, but four in one row.
    return {"plots": plots, "wide": True, "few": len(plots) != 4, "legend": legend}


def logits(d: Mapping[str, Any]) -> Plot:
    """Draw the share of each class's pixels by logit."""
    edges = d["edges"]
    middle = [(a + b) / 2 for a, b in pairwise(edges)]
    data = []
    for key, label, colour in (
        ("other", "all else", "@other"), ("landslide", "landslide", "@slide"),
    ):  # fmt: skip
        total = max(1, sum(d[key]))
        data.append(
            {
                "type": "bar", "name": label, "x": middle,
                "y": [round(n / total, 6) for n in d[key]], "customdata": d[key],
                "width": edges[1] - edges[0], "opacity": 0.6,
                "marker": {"color": colour, "line": {"width": 0}},
                "hovertemplate": f"{label}: %{{y:.2%}} at %{{x:+.2f}}<br>%{{customdata:,}} pixels"
                "<extra></extra>",
            }
        )  # fmt: skip
    there = [m for m, a, b in zip(middle, d["landslide"], d["other"], strict=True) if a + b]
    low, high = (min(there) - 0.5, max(there) + 0.5) if there else (edges[0], edges[-1])
    cut = min(max(d["threshold"], 1e-6), 1 - 1e-6)
    at = math.log(cut / (1 - cut))
    return one(
        data, axis("logit (log-odds of a landslide)", range=[low, high]),
        axis("share of the class's pixels", tickformat=".0%", rangemode="tozero"), 380,
        barmode="overlay", bargap=0, showlegend=True,
        shapes=[
            {
                "type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1,
                "line": {"color": "@ink", "width": 1.5, "dash": "dash"},
            }
        ],
    )  # fmt: skip


def occlusion(d: Mapping[str, Any]) -> Plot:
    """Draw what F1 loses without each group of bands, with intervals."""
    rows = list(reversed(d["rows"]))
    known = [r["low"] is not None and r["high"] is not None for r in rows]
    interval = [
        f"{r['low']:+.3f} to {r['high']:+.3f}" if k else "unknown"
        for r, k in zip(rows, known, strict=True)
    ]
    data = {
        "type": "bar", "orientation": "h", "y": [r["name"] for r in rows],
        "x": [r["loss"] for r in rows], "marker": {"color": "@unet"},
        "customdata": [[r["channels"], text] for r, text in zip(rows, interval, strict=True)],
        "error_x": {
            "type": "data", "symmetric": False, "color": "@ink", "thickness": 1.2, "width": 3,
            "array": [r["high"] - r["loss"] if k else 0.0
                      for r, k in zip(rows, known, strict=True)],
            "arrayminus": [r["loss"] - r["low"] if k else 0.0
                           for r, k in zip(rows, known, strict=True)],
        },
        "hovertemplate": "%{y} hidden: F1 falls by %{x:.3f}<br>interval "
        "%{customdata[1]}<extra>%{customdata[0]}</extra>",
    }  # fmt: skip
    return one(
        [data], axis("F1 lost", zeroline=True, zerolinecolor="@axis"),
        axis("", ticks="", type="category", dtick=1), max(300, 110 + 32 * len(rows)), bargap=0.28,
    )  # fmt: skip
