"""Figures of the pixel classifier: its threshold, and corrections of its probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report.figures import scores as figures_scores
from l4s_ensemble.report.figures.base import Plot, axis, one

_CORRECTIONS = (("@pixel", "solid", "circle"), ("@stack", "dash", "square"),
                ("@unet", "dot", "diamond"))  # fmt: skip


def threshold_half(d: Mapping[str, Any]) -> Plot:
    """Draw scores over the threshold, with the plateau and half of the best F1."""
    made = figures_scores.threshold(d)
    plot, half = made["plots"][0], d["half"]
    at = d.get("f1_at_half")
    if at is None:
        at = min(zip(d["threshold"], d["f1"], strict=True), key=lambda p: abs(p[0] - half))[1]
    plot["data"].append(
        {
            "type": "scatter", "mode": "markers", "name": "half the best F1", "x": [half],
            "y": [at],
            "marker": {"symbol": "diamond", "size": 12, "color": "@ink",
                       "line": {"color": "@paper", "width": 2}},
            "hovertemplate": f"half the best F1: {half:.3f}<br>F1 there %{{y:.3f}}<extra></extra>",
        }
    )  # fmt: skip
    return made


def corrections(models: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw observed over predicted probability, before and after corrections."""
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
            "showlegend": False, "line": {"color": "@axis", "width": 1},
        }
    ]  # fmt: skip
    for i, m in enumerate(models):
        colour, dash, symbol = _CORRECTIONS[i % len(_CORRECTIONS)]
        kept = [
            (p, o, n)
            for p, o, n in zip(m["predicted"], m["observed"], m["pixels"], strict=True)
            if p is not None and o is not None
        ]
        size = [3 + 1.6 * max(0, len(str(n)) - 1) for _, _, n in kept]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": m["name"],
                "x": [k[0] for k in kept], "y": [k[1] for k in kept],
                "customdata": [k[2] for k in kept],
                "marker": {"size": size, "color": colour, "symbol": symbol,
                           "line": {"color": "@paper", "width": 1}},
                "line": {"color": colour, "width": 1.8, "dash": dash},
                "hovertemplate": "said %{x:.3f}<br>is %{y:.3f}<br>%{customdata:,} pixels",
            }
        )  # fmt: skip
    return one(
        data, axis("mean predicted probability", range=[-0.02, 1.02]),
        axis("observed share of landslide", range=[-0.02, 1.02]), 430, showlegend=True,
    )  # fmt: skip
