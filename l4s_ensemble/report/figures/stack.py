"""Figures of the stack: gains with intervals, landslides by size, uncertainty, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report.figures.base import DASH, SMALL_MARGIN, Plot, axis, marked, one


def intervals(d: Mapping[str, Any]) -> Plot:
    """Draw values with their intervals, one a row, over a line that they are held against."""
    rows = list(reversed(d["rows"]))
    data = [
        {
            "type": "scatter", "mode": "markers", "x": [r["value"] for r in rows],
            "y": [r["name"] for r in rows],
            "marker": {
                "size": 10, "color": [f"@{r['colour']}" for r in rows],
                "symbol": ["diamond" if r.get("marked") else "circle" for r in rows],
                "line": {"color": "@paper", "width": 1},
            },
            "error_x": {
                "type": "data", "symmetric": False, "color": "@ink", "thickness": 1.4, "width": 4,
                "array": [_arm(r["value"], r["high"]) for r in rows],
                "arrayminus": [_arm(r["low"], r["value"]) for r in rows],
            },
            "customdata": [_between(r["low"], r["high"]) for r in rows],
            "hovertemplate": "%{y}: %{x:.4f}<br>interval %{customdata}<extra></extra>",
        }
    ]  # fmt: skip
    held = d.get("against")
    lines = [] if held is None else [_upright(held)]
    return one(
        data, axis(d["axis"]), axis("", ticks="", type="category", dtick=1),
        100 + 34 * len(rows), shapes=lines,
    )  # fmt: skip


def slides_by_size(panels: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw the share of slides by size, one line a model."""
    plots = []
    for panel in panels:
        data = []
        for m in panel["models"]:
            line = marked(
                panel["bin"], m["share"], f"@{m['model']}", DASH[m["model"]],
                f"{m['name']} %{{y:.1%}}<br>%{{customdata}}<extra>%{{x}} ha</extra>",
            )  # fmt: skip
            data.append({**line, "customdata": m["told"], "name": m["name"]})
        made = one(
            data, axis(panel["axis"], type="category"),
            axis(panel["share"], range=[0, 1.03], tickformat=".0%"), 320, margin=SMALL_MARGIN,
        )["plots"][0]  # fmt: skip
        made["label"] = panel["label"]
        plots.append(made)
    legend = [{"label": m["name"], "colour": m["model"]} for m in panels[0]["models"]]
    return {"plots": plots, "wide": True, "legend": legend}


def risk(d: Mapping[str, Any]) -> Plot:
    """Draw F1 and the errors seen where a person looks at the least sure pixels."""
    lines = (
        ("f1_helped", "F1 of all, if the person is right", "@stack", "solid"),
        ("f1_rest", "F1 of what is left to the model", "@unet", "dot"),
        ("errors_seen", "share of all errors that the person sees", "@pixel", "dash"),
    )
    data = [
        {**marked(d["share"], d[key], colour, dash, "%{y:.3f}<extra>%{x} looked at</extra>"),
         "name": name}
        for key, name, colour, dash in lines
    ]  # fmt: skip
    return one(
        data, axis("share of all pixels that a person looks at, the least sure", type="category"),
        axis("F1, share", range=[0, 1.03]), 380, showlegend=True,
    )  # fmt: skip


def seen_unseen(models: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw reliability out-of-fold and on a split, one panel a model."""
    plots = []
    for m in models:
        data: list[dict[str, Any]] = [
            {
                "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
                "line": {"color": "@axis", "width": 1},
            }
        ]  # fmt: skip
        for where, colour, dash in (("training", "@other", "dot"), ("split", "@stack", "solid")):
            kept = [
                (p, o, n)
                for p, o, n in zip(*(m[where][k] for k in ("predicted", "observed", "pixels")),
                                   strict=True)
                if p is not None and o is not None
            ]  # fmt: skip
            line = marked(
                [k[0] for k in kept], [k[1] for k in kept], colour, dash,
                "said %{x:.3f}<br>is %{y:.3f}<br>%{customdata:,} pixels<extra></extra>",
            )  # fmt: skip
            data.append({**line, "customdata": [k[2] for k in kept]})
        made = one(
            data, axis("mean predicted probability", range=[-0.02, 1.02]),
            axis("observed share of landslide", range=[-0.02, 1.02]), 320, margin=SMALL_MARGIN,
        )["plots"][0]  # fmt: skip
        made["label"] = m["name"]
        plots.append(made)
    return {"plots": plots, "wide": True, "legend": [
        {"label": "here", "colour": "stack"},
        {"label": "out-of-fold on training tiles (dotted)", "colour": "other"},
    ]}  # fmt: skip


def _arm(low: float | None, high: float | None) -> float:
    """Length of an arm of an interval; none where it is not known."""
    return 0.0 if low is None or high is None else round(max(0.0, high - low), 6)


def _between(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _upright(x: float) -> dict[str, Any]:
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
        "line": {"color": "@axis", "width": 1.5},
    }  # fmt: skip
