"""Figures of features: what they tell, what they weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figure_base import FOLD_COLOURS, Plot, axis, one


def bars(d: Mapping[str, Any]) -> Plot:
    """Draw named values as bars, coloured by group or by sign."""
    rows = list(reversed(d["rows"]))
    groups = list(dict.fromkeys(r["group"] for r in d["rows"] if r.get("group")))
    colour = {g: f"@fold{i % FOLD_COLOURS}" for i, g in enumerate(groups)}
    signed = [("@pixel" if r["value"] >= 0 else "@unet") for r in rows]
    data = [
        {
            "type": "bar", "orientation": "h", "x": [r["value"] for r in rows],
            "y": [r["name"] for r in rows],
            "marker": {"color": [colour[r["group"]] for r in rows] if groups else signed},
            "customdata": [r.get("group", "") for r in rows],
            "hovertemplate": "%{y}: %{x:.3g}<extra>%{customdata}</extra>",
        }
    ]  # fmt: skip
    made = one(
        data,
        axis(d["axis"]),
        axis("", ticks=""),
        90 + 21 * len(rows),
        bargap=0.25,
    )
    return {**made, "legend": [{"label": g, "colour": c[1:]} for g, c in colour.items()]}


def beeswarm(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw what single pixels' features add to the log-odds."""
    data = []
    for i, r in enumerate(reversed(rows)):
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": r["name"], "x": r["contribution"],
                "y": [round(i + v, 3) for v in _spread(r["contribution"])],
                "customdata": r["value"],
                "marker": {
                    "size": 4, "color": r["rank"], "cmin": 0, "cmax": 1, "opacity": 0.75,
                    "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
                },
                "hovertemplate": f"{r['name']} = %{{customdata:.3g}}<br>adds %{{x:.3f}} to the "
                f"logit<extra></extra>",
            }
        )  # fmt: skip
    names = [r["name"] for r in reversed(rows)]
    made = one(
        data, axis("contribution to the log-odds of landslide", zeroline=True,
        zerolinecolor="@axis"),
        axis("", tickvals=list(range(len(names))), ticktext=names,
              range=[-0.7, len(names) - 0.3]), 110 + 36 * len(rows),
    )  # fmt: skip
    legend = [
        {"label": "low value", "colour": "low"},
        {"label": "middle", "colour": "middle"},
        {"label": "high value", "colour": "high"},
    ]
    return {**made, "legend": legend, "wide": True}


def _spread(values: Sequence[float], bins: int = 70, most: float = 0.38) -> list[float]:
    """Vertical places of the dots of one row: crowded values fan out, like bees."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    seats: dict[int, int] = {}
    seat = []
    for v in values:
        b = int((v - low) / width)
        seats[b] = seats.get(b, 0) + 1
        seat.append((b, seats[b]))
    crowd = max(seats.values())
    step = min(0.05, 2 * most / max(crowd, 1))
    return [(k // 2) * step * (1 if k % 2 else -1) for _, k in seat]


def classes(features: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw small histograms by class, one a feature."""
    plots = []
    for f in features:
        edges = f["edges"]
        middle = [round((a + b) / 2, 6) for a, b in pairwise(edges)]
        data = [
            {
                "type": "scatter", "mode": "lines", "name": label, "x": middle, "y": f[key],
                "line": {"color": colour, "width": 1.5, "shape": "hvh"},
                "fill": "tozeroy", "fillcolor": f"{colour}-soft",
                "hovertemplate": "%{x:.3g}: %{y:.3f}",
            }
            for key, label, colour in (("other", "other", "@other"), ("landslide", "landslide",
            "@slide"))
        ]  # fmt: skip
        unit = f" ({f['unit']})" if f.get("unit") and f["unit"] not in {"1", "none"} else ""
        made = one(
            data, axis(f"{f['name']}{unit}"), axis("share of class", rangemode="tozero"), 230,
            margin={"l": 52, "r": 8, "t": 8, "b": 44},
        )["plots"][0]  # fmt: skip
        auc = f.get("auc")
        made["label"] = f["name"] + (f", AUC {auc:.3f}" if auc is not None else "")
        plots.append(made)
    legend = [
        {"label": "landslide", "colour": "slide"},
        {"label": "other pixels", "colour": "other"},
    ]
    return {"plots": plots, "wide": True, "legend": legend}


def correlation(d: Mapping[str, Any]) -> Plot:
    """Draw a square heat map of rank correlations."""
    n = len(d["names"])
    data = [
        {
            "type": "heatmap", "x": d["names"], "y": d["names"], "z": d["value"], "zmin": -1,
            "zmax": 1,
            "colorscale": [[0, "@low"], [0.5, "@paper"], [1, "@high"]],
            "colorbar": {"thickness": 10, "len": 0.5, "title": {"text": "ρ"}, "outlinewidth": 0},
            "hovertemplate": "%{x}<br>%{y}<br>ρ = %{z:.2f}<extra></extra>",
        }
    ]  # fmt: skip
    size = max(6, min(11, 760 // max(n, 1)))
    tick = {"tickfont": {"size": size}, "ticks": "", "dtick": 1}
    made = one(
        data,
        axis("", tickangle=-90, constrain="domain", **tick),
        axis("", autorange="reversed", scaleanchor="x", constrain="domain", **tick),
        min(1080, 300 + 12 * n),
        meta={"aspect": 1, "beside": 210, "below": 130, "labels_from": 40 + 6 * n},
    )
    return {**made, "wide": True}
