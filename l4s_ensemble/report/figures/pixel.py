"""Figures of the pixel classifier: importance, dependence, corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figures import scores as figures_scores
from l4s_ensemble.report.figures.base import SMALL_MARGIN, Plot, axis, one

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


def correction(d: Mapping[str, Any]) -> Plot:
    """Draw by how much corrections would move a probability."""
    said = d["probability"]
    data: list[dict[str, Any]] = []
    for (colour, dash, _), (name, moved) in zip(_CORRECTIONS[1:], d["moved"].items(), strict=False):
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": said, "y": moved,
                "line": {"color": colour, "width": 2, "dash": dash},
                "hovertemplate": "%{y:+.3f}",
            }
        )  # fmt: skip
    most = max([0.1, *(abs(v) for m in d["moved"].values() for v in m)])
    return one(
        data, axis("probability as scored", range=[0, 1]),
        axis("moved by", range=[-1.1 * most, 1.1 * most], zeroline=True, zerolinecolor="@axis"),
        430, showlegend=True, hovermode="x unified",
    )  # fmt: skip


def importance(d: Mapping[str, Any]) -> Plot:
    """Draw gain and permutation loss of the same rows beside each other."""
    rows = list(reversed(d["rows"]))
    names = [r["name"] for r in rows]
    colour = [f"@{d['colours'].get(r['group'], 'mean')}" for r in rows]
    told = [r["group"] if r.get("features") is None else f"{r['features']} features" for r in rows]
    labels = axis("", ticks="", type="category", dtick=1)
    height = 84 + 26 * len(rows)
    left = one(
        [
            {
                "type": "bar", "orientation": "h", "x": [r["gain"] for r in rows], "y": names,
                "marker": {"color": colour}, "customdata": told,
                "hovertemplate": "%{y}: %{x:.1%} of the gain<extra>%{customdata}</extra>",
            }
        ],
        axis("share of gain", rangemode="tozero", tickformat=".0%"), labels, height, bargap=0.3,
        margin=SMALL_MARGIN,
    )["plots"][0]  # fmt: skip
    right = one(
        [
            {
                "type": "bar", "orientation": "h", "x": [r["f1_loss"] for r in rows], "y": names,
                "marker": {"color": colour},
                "customdata": [
                    [t, _number(r["average_precision_loss"], "+.3f")]
                    for t, r in zip(told, rows, strict=True)
                ],
                "error_x": {"type": "data", "array": [r["f1_loss_sd"] or 0.0 for r in rows],
                            "color": "@ink", "thickness": 1.2, "width": 3},
                "hovertemplate": "%{y}: F1 falls by %{x:.3f}, average precision by "
                "%{customdata[1]}<extra>%{customdata[0]}</extra>",
            }
        ],
        axis("F1 lost when permuted", zeroline=True, zerolinecolor="@axis"), labels, height,
        bargap=0.3, margin=SMALL_MARGIN,
    )["plots"][0]  # fmt: skip
    left["label"], right["label"] = "what the trees used", "what the score would lose"
    own = {r["group"] for r in rows}
    legend = [{"label": g, "colour": c} for g, c in d["colours"].items() if g in own]
    plots = [left, right] if any(r["gain"] is not None for r in rows) else [right]
    return {"plots": plots, "wide": True, "legend": legend}


def dependence(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw both curves of each feature on one scale, and where its pixels are."""
    ends = [v for r in rows for k in ("ale_low", "ale_high", "pd") for v in _inside(r, k)]
    low, high = min(ends, default=-1.0), max(ends, default=1.0)
    room = 0.06 * (high - low or 1.0)
    plots = []
    for r in rows:
        line = {"type": "scatter", "mode": "lines", "x": r["grid"]}
        hover = f"{r['name']} = %{{x:.3g}}<br>"
        data: list[dict[str, Any]] = [
            {**line, "y": r["ale_low"], "line": {"width": 0}, "hoverinfo": "skip"},
            {**line, "y": r["ale_high"], "line": {"width": 0}, "hoverinfo": "skip",
             "fill": "tonexty", "fillcolor": "@other-soft"},
            {**line, "y": r["pd"], "line": {"color": "@ink", "width": 1.5, "dash": "dash"},
             "hovertemplate": hover + "partial dependence %{y:+.2f}<extra></extra>"},
            {**line, "y": r["ale"], "line": {"color": "@pixel", "width": 2.5},
             "hovertemplate": hover + "local effect %{y:+.2f}<extra></extra>"},
        ]  # fmt: skip
        middle = [(a + b) / 2 for a, b in pairwise(r["grid"])]
        width = [b - a for a, b in pairwise(r["grid"])]
        for key, colour in (("other", "@other"), ("landslide", "@slide")):
            data.append(
                {
                    "type": "bar", "x": middle, "y": r[key], "width": width, "yaxis": "y2",
                    "opacity": 0.55, "marker": {"color": colour, "line": {"width": 0}},
                    "customdata": r["share"][key],
                    "hovertemplate": f"{key}: %{{customdata:.1%}} of its pixels<extra></extra>",
                }
            )  # fmt: skip
        title = r["name"] + (f" ({r['unit']})" if r["unit"] else "")
        made = one(
            data, axis(title, range=r["range"], zeroline=False, anchor="y2"),
            axis("log-odds", range=[low - room, high + room], domain=[0.3, 1], zeroline=True,
                 zerolinecolor="@axis"),
            270, margin=SMALL_MARGIN, barmode="overlay",
            yaxis2=axis("", domain=[0, 0.24], showticklabels=False, showgrid=False, ticks="",
                        range=[0, 1.05]),
        )["plots"][0]  # fmt: skip
        made["label"] = r["name"]
        plots.append(made)
    legend = [
        {"label": "accumulated local effect", "colour": "pixel"},
        {"label": "partial dependence (dashed)", "colour": "ink"},
        {"label": "landslide pixels", "colour": "slide"},
        {"label": "other pixels", "colour": "other"},
    ]
    return {"plots": plots, "wide": True, "legend": legend}


def _inside(row: Mapping[str, Any], key: str) -> list[float]:
    """Values of a curve on the part of the axis that is drawn."""
    low, high = row["range"]
    return [v for x, v in zip(row["grid"], row[key], strict=True) if low <= x <= high] or row[key]


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
