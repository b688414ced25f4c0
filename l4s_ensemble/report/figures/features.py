"""Figures of features: what they tell, what they weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figures.base import FOLD_COLOURS, Plot, axis, one


def bars(d: Mapping[str, Any]) -> Plot:
    """Draw named values as bars, coloured by group or by sign."""
    rows = list(reversed(d["rows"]))
    groups = list(dict.fromkeys(r["group"] for r in d["rows"] if r.get("group")))
    given = d.get("colours", {})
    colour = {g: f"@{given.get(g, f'fold{i % FOLD_COLOURS}')}" for i, g in enumerate(groups)}
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
        data, axis("added to the log-odds of landslide", zeroline=True,
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
        made["label"] = f["name"] + (f", AUC {auc:.2f}" if auc is not None else "")
        if f.get("auc_unseen") is not None:
            made["label"] += f" ({f['auc_unseen']:.2f})"
        plots.append(made)
    legend = [
        {"label": "landslide", "colour": "slide"},
        {"label": "other pixels", "colour": "other"},
    ]
    return {"plots": plots, "wide": True, "legend": legend}


def elsewhere(d: Mapping[str, Any]) -> Plot:
    """Draw each feature's AUC over all tiles against that in the place where it is worst."""
    ends: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": [0.5, 1], "hoverinfo": "skip"}
    data: list[dict[str, Any]] = [
        {**ends, "y": [0.5, 1], "line": {"color": "@axis", "dash": "dash", "width": 1}},
        {**ends, "y": [0.5, 0.5], "line": {"color": "@axis", "width": 1}},
    ]
    for g, symbol in zip(d["groups"], _SYMBOLS, strict=False):
        own = [r for r in d["rows"] if r["group"] == g["name"]]
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": g["name"],
                "x": [r["x"] for r in own], "y": [r["y"] for r in own],
                "text": [r["name"] for r in own], "customdata": [r["where"] for r in own],
                "marker": {"color": f"@{g['colour']}", "symbol": symbol, "size": 9,
                           "opacity": 0.85, "line": {"width": 0.5, "color": "@card"}},
                "hovertemplate": "%{text}<br>%{x:.3f} over all, %{y:.3f} in %{customdata}"
                f"<extra>{g['name']}</extra>",
            }
        )  # fmt: skip
    for r in d["rows"]:
        if r["named"]:
            left = r["x"] > 0.75
            data.append(
                {
                    "type": "scatter", "mode": "text", "x": [r["x"]], "y": [r["y"]],
                    "text": [f"{r['name']}\u2002" if left else f"\u2002{r['name']}"],
                    "textposition": "middle left" if left else "middle right",
                    "textfont": {"size": 11, "color": "@ink"}, "hoverinfo": "skip",
                }
            )  # fmt: skip
    floor = min([0.5, *(r["y"] for r in d["rows"])]) - 0.03
    made = one(
        data, axis("AUC over all fitting tiles", range=[0.48, 1]),
        axis(f"AUC in the worst {d['kind']}", range=[floor, 1]), 440,
    )  # fmt: skip
    used = {r["group"] for r in d["rows"]}
    legend = [{"label": g["name"], "colour": g["colour"]} for g in d["groups"] if g["name"] in used]
    return {**made, "legend": legend}


_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "star", "x")
"""Marks that separate groups without colour, in the order of the groups."""
