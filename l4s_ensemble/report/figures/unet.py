"""Figures of the U-Net: progress, logits, occlusion, how far it looks, what only it finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figures.base import FOLD_COLOURS, SMALL_MARGIN, Plot, axis, one

_DASHES = ("solid", "dash", "dot", "dashdot")

_PANELS = (
    ("loss", "loss", "loss of the training tiles"),
    ("inner_f1", "F1 of the inner block", "F1"),
    ("lr", "learning rate", "learning rate"),
    ("seconds", "time", "seconds per epoch"),
    ("patches_per_s", "speed", "patches per second"),
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
    """Draw what F1 loses without each group, both ways, with intervals."""
    rows = list(reversed(d["rows"]))
    names = [r["name"] for r in rows]
    data = []
    for way, label, colour in (
        ("swap", "swapped with another tile's", "@other"), ("mean", "hidden by its mean", "@unet"),
    ):  # fmt: skip
        told = [r[way] for r in rows]
        known = [t["low"] is not None and t["high"] is not None for t in told]
        data.append(
            {
                "type": "bar", "orientation": "h", "name": label, "y": names,
                "x": [t["loss"] for t in told], "marker": {"color": colour},
                "customdata": [
                    [r["channels"], f"{t['low']:+.3f} to {t['high']:+.3f}" if k else "unknown"]
                    for r, t, k in zip(rows, told, known, strict=True)
                ],
                "error_x": {
                    "type": "data", "symmetric": False, "color": "@ink", "thickness": 1.2,
                    "width": 3,
                    "array": [t["high"] - t["loss"] if k else 0.0
                              for t, k in zip(told, known, strict=True)],
                    "arrayminus": [t["loss"] - t["low"] if k else 0.0
                                   for t, k in zip(told, known, strict=True)],
                },
                "hovertemplate": f"%{{y}} {label}: F1 falls by %{{x:.3f}}<br>interval "
                "%{customdata[1]}<extra>%{customdata[0]}</extra>",
            }
        )  # fmt: skip
    return one(
        data, axis("F1 lost", zeroline=True, zerolinecolor="@axis"),
        axis("", ticks="", type="category", dtick=1), max(380, 110 + 44 * len(rows)), bargap=0.28,
        showlegend=True,
        # Bars stand from below; the legend names them as they are seen.
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                "traceorder": "reversed"},
    )  # fmt: skip


def field(d: Mapping[str, Any]) -> Plot:
    """Draw the share of the gradient's energy within a radius, as far as it grows."""
    end = next((r for r, s in zip(d["radius_px"], d["share"], strict=True) if s >= 0.995), 0)
    end = max(10, end, *(m[0] for m in d["marks"]))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": d["radius_px"], "y": d["share"],
            "line": {"color": "@unet", "width": 2.5},
            "hovertemplate": "%{y:.1%} within %{x} px<extra></extra>",
        },
        {
            "type": "scatter", "mode": "markers+text", "x": [m[0] for m in d["marks"]],
            "y": [m[1] for m in d["marks"]],
            "text": [f" {m[0]:.1f} px" for m in d["marks"]], "textposition": "middle right",
            "textfont": {"color": "@ink"},
            "marker": {"size": 10, "color": "@unet", "line": {"color": "@paper", "width": 2}},
            "hovertemplate": "%{y:.0%} within %{x:.1f} px<extra></extra>",
        },
    ]  # fmt: skip
    return one(
        data, axis("radius around the pixel (px)", range=[0, 1.25 * end]),
        axis("share of the squared gradient", range=[0, 1.04], tickformat=".0%"), 380,
    )  # fmt: skip


def only_one(d: Mapping[str, Any]) -> Plot:
    """Draw the landslide pixels that only one model finds."""
    plots = []
    for key, label, x_title in (
        ("size", "by size of the landslide", "size of the landslide (hectares)"),
        ("inside", "by distance to the rim, inside", "distance to the rim (px)"),
    ):
        rows = d[key]
        data = [
            {
                "type": "bar",
                "name": name,
                "x": rows["bin"],
                "y": rows[model],
                "customdata": rows["pixels"],
                "marker": {"color": colour},
                "hovertemplate": f"%{{x}}: {name} %{{y:.1%}}<br>of %{{customdata:,}} pixels"
                "<extra></extra>",
            }
            for model, name, colour in (
                ("only_unet", "only the U-Net", "@unet"),
                ("only_pixel", "only the pixel classifier", "@pixel"),
            )
        ]
        made = one(
            data, axis(x_title, type="category"),
            axis("share of landslide pixels", rangemode="tozero", tickformat=".0%"), 300,
            margin=SMALL_MARGIN, barmode="group", bargap=0.25,
        )["plots"][0]  # fmt: skip
        made["label"] = label
        plots.append(made)
    return {"plots": plots, "wide": True, "legend": [
        {"label": "only the U-Net finds", "colour": "unet"},
        {"label": "only the pixel classifier finds", "colour": "pixel"},
    ]}  # fmt: skip
