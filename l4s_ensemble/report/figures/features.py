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


def correlation(d: Mapping[str, Any]) -> Plot:
    """Draw a square heat map of rank correlations, families framed, groups on the diagonal."""
    n = len(d["names"])
    at = list(range(n))
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap", "x": at, "y": at, "z": d["value"], "zmin": -1, "zmax": 1,
            "colorscale": [[0, "@low"], [0.5, "@paper"], [1, "@high"]],
            "colorbar": {"thickness": 10, "len": 0.5, "title": {"text": "ρ"}, "outlinewidth": 0},
            "customdata": [d["names"]] * n, "text": [[name] * n for name in d["names"]],
            "hovertemplate": "%{customdata}<br>%{text}<br>ρ = %{z:.2f}<extra></extra>",
        }
    ]  # fmt: skip
    cell = max(4.0, min(12.0, 620 / max(n, 1)))
    for g, symbol in zip(d.get("groups", []), _symbols(), strict=False):
        own = [i for i, name in enumerate(d["group"]) if name == g["name"]]
        data.append(
            {
                "type": "scatter", "mode": "markers", "x": own, "y": own, "name": g["name"],
                "marker": {"color": f"@{g['colour']}", "symbol": symbol, "size": cell,
                           "line": {"width": 1, "color": "@card"}},
                "hoverinfo": "skip",
            }
        )  # fmt: skip
    shapes, start = [], 0.0
    for size in d.get("families", []):
        ends = (start - 0.5, start + size - 0.5)
        if size > 1:
            shapes.append(
                {
                    "type": "rect",
                    "x0": ends[0],
                    "x1": ends[1],
                    "y0": ends[0],
                    "y1": ends[1],
                    "line": {"color": "@ink", "width": 1.5},
                }
            )
        start += size
    font = {"size": max(7, min(11, 760 // max(n, 1)))}
    tick = {
        "tickfont": font, "ticks": "", "tickvals": at, "ticktext": d["names"], "showgrid": False,
        "zeroline": False,
    }  # fmt: skip
    made = one(
        data,
        axis("", tickangle=-90, constrain="domain", range=[-0.5, n - 0.5], **tick),
        axis("", range=[n - 0.5, -0.5], scaleanchor="x", constrain="domain", **tick),
        min(1080, 300 + 12 * n),
        meta={"aspect": 1, "beside": 210, "below": 130, "labels_from": 40 + 6 * n},
        shapes=shapes,
    )
    return {**made, "wide": True, "legend": _group_legend(d.get("groups", []), set(d["group"]))}


def elsewhere(d: Mapping[str, Any]) -> Plot:
    """Draw each feature's score over all tiles against that in places left out."""
    is_auc = d["what"] == "auc"
    low = 0.5 if is_auc else 0.0
    most = 1.0
    if not is_auc:
        most = min(1.0, 0.05 + max((r["x"] for r in d["rows"]), default=0.9))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": [low, most], "y": [low, most],
            "hoverinfo": "skip", "line": {"color": "@axis", "dash": "dash", "width": 1},
        }
    ]  # fmt: skip
    if is_auc:
        data.append({**data[0], "y": [0.5, 0.5], "line": {"color": "@axis", "width": 1}})
    for g, symbol in zip(d["groups"], _symbols(), strict=False):
        own = [r for r in d["rows"] if r["group"] == g["name"]]
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": g["name"],
                "x": [r["x"] for r in own], "y": [r["y"] for r in own],
                "text": [f"{r['name']} ({r['holds']})" for r in own],
                "customdata": [f", worst in {r['where']}" if is_auc else "" for r in own],
                "marker": {"color": f"@{g['colour']}", "symbol": symbol, "size": 9,
                           "opacity": 0.85, "line": {"width": 0.5, "color": "@card"}},
                "hovertemplate": "%{text}<br>%{x:.3f} over all, %{y:.3f} elsewhere%{customdata}"
                f"<extra>{g['name']}</extra>",
            }
        )  # fmt: skip
    for r in d["rows"]:
        if r.get("named"):
            left = r["x"] > (low + most) / 2
            data.append(
                {
                    "type": "scatter", "mode": "text", "x": [r["x"]], "y": [r["y"]],
                    "text": [f"{r['name']}\u2002" if left else f"\u2002{r['name']}"],
                    "textposition": "middle left" if left else "middle right",
                    "textfont": {"size": 11, "color": "@ink"}, "hoverinfo": "skip",
                }
            )  # fmt: skip
    ys = [r["y"] for r in d["rows"]]
    floor = min([low, *ys]) - 0.03
    name = ("AUC over all fitting tiles", f"AUC in the worst {d['kind']}") if is_auc else (
        "best F1 over all fitting tiles", f"F1, cut by the other {d['kind']}s")  # fmt: skip
    made = one(
        data, axis(name[0], range=[low - 0.02, most]), axis(name[1], range=[floor, most]), 440
    )
    used = {r["group"] for r in d["rows"]}
    return {**made, "legend": _group_legend(d["groups"], used)}


def feature_shift(d: Mapping[str, Any]) -> Plot:
    """Draw the stability index of features by place and split, with its numbers."""
    text = [["" if v is None else f"{v:.2f}" for v in row] for row in d["psi"]]
    hover = [
        [
            "" if v is None else f"{name}, {column} against {versus}<br>index {v:.2f}"
            f"<br>median {_sign(step)} interquartile ranges, at {_plain(p50)}"
            for v, step, p50, column, versus in zip(
                row, steps, medians, d["columns"], d["versus"], strict=True
            )
        ]
        for name, row, steps, medians in zip(
            d["names"], d["psi"], d["shift"], d["p50"], strict=True
        )
    ]  # fmt: skip
    data = [
        {
            "type": "heatmap", "x": d["columns"], "y": d["names"], "z": d["shift"], "text": text,
            "texttemplate": "%{text}", "zmin": -4, "zmax": 4, "xgap": 2, "ygap": 2,
            "colorscale": [[0, "@low"], [0.5, "@paper"], [1, "@high"]], "customdata": hover,
            "textfont": {"color": "@ink"},
            "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.6,
                         "title": {"text": "IQR"}},
            "hovertemplate": "%{customdata}<extra></extra>",
        }
    ]  # fmt: skip
    made = one(
        data,
        axis("", showgrid=False, type="category", side="top", ticks=""),
        axis("", showgrid=False, autorange="reversed", type="category", ticks="", dtick=1),
        90 + 22 * len(d["names"]),
    )
    return {**made, "wide": True}


def slopes(d: Mapping[str, Any]) -> Plot:
    """Draw two slopes against each other: shares of a column, median and middle half."""
    edges = d["edges"]
    middle = [(a + b) / 2 for a, b in pairwise(edges)]
    line = {"type": "scatter", "mode": "lines", "x": d["middle"], "hoverinfo": "skip"}
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap", "x": middle, "y": middle,
            "z": [[v if v else None for v in row] for row in d["share"]], "zmin": 0, "zmax": 0.3,
            "colorscale": [[0, "@paper"], [1, "@low"]], "hoverongaps": False,
            "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.6, "tickformat": ".0%",
                         "title": {"text": "of column"}},
            "hovertemplate": "given %{x}°, recomputed %{y}°: %{z:.1%} of the column"
            "<extra></extra>",
        },
        {"type": "scatter", "mode": "lines", "x": [0, edges[-1]], "y": [0, edges[-1]],
         "hoverinfo": "skip", "line": {"color": "@axis", "dash": "dash", "width": 1.5}},
        {**line, "y": d["p25"], "line": {"color": "@high", "width": 1}},
        {**line, "y": d["p75"], "line": {"color": "@high", "width": 1}, "fill": "tonexty",
         "fillcolor": "@slide-soft"},
        {**line, "y": d["p50"], "hoverinfo": "all", "line": {"color": "@high", "width": 3},
         "hovertemplate": "given %{x}°: median %{y:.1f}°<extra></extra>"},
    ]  # fmt: skip
    most = min(edges[-1], 6 + max([10.0, *d["middle"], *d["p75"]]))
    made = one(
        data, axis("slope of the files (degrees)", range=[0, most], constrain="domain"),
        axis("slope from elevation (degrees)", range=[0, most], scaleanchor="x",
             constrain="domain"),
        560, meta={"aspect": 1, "beside": 130, "below": 70},
    )  # fmt: skip
    legend = [{"label": "median and middle half", "colour": "high"},
              {"label": "pixels", "colour": "low"}]  # fmt: skip
    return {**made, "legend": legend, "wide": True}


def ablation(protocols: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw what each group adds, one small plot a protocol."""
    plots = []
    ends = [
        v for p in protocols for r in p["rows"]
        for v in (r["gain"], r["gain_low"], r["gain_high"]) if v is not None
    ]  # fmt: skip
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = 0.08 * (high - low or 0.1)
    for p in protocols:
        names = list(dict.fromkeys(r["group"] for r in p["rows"]))[::-1]
        data: list[dict[str, Any]] = []
        for direction, symbol, offset in (("out", "circle", 0.14), ("in", "circle-open", -0.14)):
            own = [r for r in p["rows"] if r["direction"] == direction]
            data.append(
                {
                    "type": "scatter", "mode": "markers", "x": [r["gain"] for r in own],
                    "y": [names.index(r["group"]) + offset for r in own],
                    "text": [r["group"] for r in own],
                    "marker": {"color": "@pixel", "symbol": symbol, "size": 9},
                    "error_x": {
                        "type": "data", "symmetric": False, "color": "@pixel", "thickness": 1.5,
                        "width": 3,
                        "array": [_reach(r["gain_high"], r["gain"]) for r in own],
                        "arrayminus": [_reach(r["gain"], r["gain_low"]) for r in own],
                    },
                    "hovertemplate": "%{text}: %{x:+.3f}<extra>" + direction + "</extra>",
                }
            )  # fmt: skip
        made = one(
            data,
            axis("F1 added", zeroline=True, zerolinecolor="@axis", zerolinewidth=2,
                 range=[low - room, high + room]),
            axis("", tickvals=list(range(len(names))), ticktext=names, zeroline=False,
                 range=[-0.6, len(names) - 0.4]),
            100 + 30 * len(names), margin={"l": 70, "r": 10, "t": 8, "b": 46},
        )["plots"][0]  # fmt: skip
        made["label"] = p["label"]
        plots.append(made)
    return {"plots": plots, "wide": True}


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else high - low


def _sign(value: float | None) -> str:
    return "?" if value is None else f"{value:+.2f}"


def _plain(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _symbols() -> tuple[str, ...]:
    """Marks that tell groups apart without colour, in the order of the groups."""
    return (
        "circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "star", "x",
        "hexagon", "bowtie",
    )  # fmt: skip


def _group_legend(groups: Sequence[Mapping[str, Any]], used: set[str]) -> list[dict[str, str]]:
    return [{"label": g["name"], "colour": g["colour"]} for g in groups if g["name"] in used]
