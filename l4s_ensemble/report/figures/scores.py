"""Figures of scores: curves, thresholds, reliability, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from l4s_ensemble.report.figures.base import DASH, FOLD_COLOURS, Plot, axis, one


def pr(models: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw precision-recall curves over lines of equal F1."""
    data: list[dict[str, Any]] = []
    notes = []
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = [f1 / (2 - f1) + (1 - f1 / (2 - f1)) * k / 40 for k in range(41)]
        data.append(
            {
                "type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False,
                "x": [round(r, 4) for r in recall],
                "y": [round(min(1.0, f1 * r / (2 * r - f1)), 4) for r in recall],
                "line": {"color": "@axis", "width": 1, "dash": "dot"},
            }
        )  # fmt: skip
        notes.append(
            {
                "x": 1.01, "y": f1 / (2 - f1), "text": f"F1 {f1}", "showarrow": False,
                "xanchor": "left", "yanchor": "middle", "font": {"size": 10, "color": "@muted"},
            }
        )  # fmt: skip
    for m in models:
        colour = f"@{m['model']}"
        name = f"{m['name']} (AP {m['average_precision']:.3f})"
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": m["recall"],
                "y": m["precision"],
                "customdata": m["threshold"], "line": {"color": colour, "width": 2,
                "dash": DASH[m["model"]]},
                "hovertemplate": "recall %{x:.3f}<br>precision %{y:.3f}<br>threshold "
                "%{customdata:.3f}",
            }
        )  # fmt: skip
        at = m["at"]
        data.append(
            {
                "type": "scatter", "mode": "markers", "showlegend": False, "name": m["name"],
                "x": [at["recall"]], "y": [at["precision"]],
                "marker": {"size": 11, "color": colour, "line": {"color": "@paper", "width": 2}},
                "hovertemplate": f"in use: threshold {at['threshold']:.3f}<br>F1 {at['f1']:.3f}"
                "<br>recall %{x:.3f}<br>precision %{y:.3f}",
            }
        )  # fmt: skip
    return one(
        data, axis("recall", range=[0, 1.01]), axis("precision", range=[0, 1.02]), 430,
        showlegend=len(models) > 1, annotations=notes,
        margin={"l": 56, "r": 50, "t": 12, "b": 48},
    )  # fmt: skip


def threshold(d: Mapping[str, Any]) -> Plot:
    """Draw scores over the threshold, with the plateau."""
    lines = (("f1", "F1", "@stack", 3, "solid"), ("precision", "precision", "@pixel", 1.5, "dash"),
             ("recall", "recall", "@unet", 1.5, "dot"))  # fmt: skip
    data = [
        {
            "type": "scatter", "mode": "lines", "name": label, "x": d["threshold"], "y": d[key],
            "line": {"color": colour, "width": width, "dash": dash},
            "hovertemplate": "%{y:.3f}",
        }
        for key, label, colour, width, dash in lines
    ]  # fmt: skip
    low, high = d["plateau"]
    shapes = [
        {
            "type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
            "fillcolor": "@band", "line": {"width": 0}, "layer": "below",
        },
        {
            "type": "line", "xref": "x", "yref": "paper", "x0": d["chosen"], "x1": d["chosen"],
            "y0": 0, "y1": 1, "line": {"color": "@ink", "width": 1.5, "dash": "dash"},
        },
    ]  # fmt: skip
    return one(
        data, axis("probability threshold", range=[0, 1]), axis("score", range=[0, 1.02]), 430,
        shapes=shapes, showlegend=True, hovermode="x unified",
    )  # fmt: skip


def reliability(models: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw observed over predicted probability."""
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
            "showlegend": False, "line": {"color": "@axis", "width": 1},
        }
    ]  # fmt: skip
    for m in models:
        kept = [
            (p, o, n)
            for p, o, n in zip(m["predicted"], m["observed"], m["pixels"], strict=True)
            if p is not None and o is not None
        ]
        size = [4 + 2.2 * max(0, len(str(n)) - 1) for _, _, n in kept]
        colour = f"@{m['model']}"
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": m["name"],
                "x": [k[0] for k in kept], "y": [k[1] for k in kept],
                "customdata": [k[2] for k in kept],
                "marker": {"size": size, "color": colour, "line": {"color": "@paper", "width": 1}},
                "line": {"color": colour, "width": 1.5, "dash": DASH[m["model"]]},
                "hovertemplate": "said %{x:.3f}<br>is %{y:.3f}<br>%{customdata:,} pixels",
            }
        )  # fmt: skip
    return one(
        data, axis("mean predicted probability", range=[-0.02, 1.02]),
        axis("observed share of landslide", range=[-0.02, 1.02]), 400, showlegend=len(models) > 1,
    )  # fmt: skip


def folds_series(y_title: str, key: str) -> Callable[[Any], Plot]:
    """Make a function that draws a quantity by epoch, one line a fold."""

    def make(series: Sequence[Mapping[str, Any]]) -> Plot:
        data = [
            {
                "type": "scatter", "mode": "lines+markers", "name": s["name"], "x": s["epoch"],
                "y": s[key],
                "line": {"color": f"@fold{i % FOLD_COLOURS}", "width": 2}, "marker": {"size": 5},
                "hovertemplate": "%{y:.4g}",
            }
            for i, s in enumerate(series)
        ]  # fmt: skip
        return one(
            data, axis("epoch"), axis(y_title, rangemode="tozero"), 340, showlegend=True,
            hovermode="x unified",
        )  # fmt: skip

    return make


def agreement(d: Mapping[str, Any]) -> Plot:
    """Draw who is right as one bar of four parts."""
    rows = (
        ("both_right", "both right", "@good"), ("only_pixel", "only the pixel classifier",
        "@pixel"),
        ("only_unet", "only the U-Net", "@unet"), ("both_wrong", "both wrong", "@bad"),
    )  # fmt: skip
    total = max(1, sum(int(d.get(k, 0)) for k, _, _ in rows))
    data = [
        {
            "type": "bar", "orientation": "h", "x": [round(d.get(k, 0) / total, 4)], "y": [""],
            "name": label,
            "marker": {"color": colour, "line": {"color": "@paper", "width": 1}},
            "text": [f"{100 * d.get(k, 0) / total:.0f} %"], "textposition": "inside",
            "insidetextanchor": "middle",
            "hovertemplate": f"{label}: {int(d.get(k, 0)):,} pixels<extra></extra>",
        }
        for k, label, colour in rows
    ]  # fmt: skip
    made = one(
        data, axis("share of these pixels", range=[0, 1], tickformat=".0%"), axis(""),
        170, barmode="stack",
    )  # fmt: skip
    return {**made, "legend": [{"label": label, "colour": c[1:]} for _, label, c in rows]}


def by_size(d: Mapping[str, Any]) -> Plot:
    """Draw F1 of tiles over their landslide pixels."""
    data = [
        {
            "type": "scatter", "mode": "markers", "x": d["pixels"], "y": d["f1"],
            "customdata": d["patch"],
            "marker": {"size": 7, "color": "@stack", "opacity": 0.65},
            "hovertemplate": "tile %{customdata}<br>%{x:,} landslide pixels<br>F1 "
            "%{y:.3f}<extra></extra>",
        }
    ]  # fmt: skip
    return one(
        data, axis("landslide pixels in the tile", type="log"), axis("F1 of the tile", range=[-0.03,
        1.03]), 380
    )  # fmt: skip


def likeness(d: Mapping[str, Any]) -> Plot:
    """Draw how far tiles are from the training tiles, here and where folds hold them out."""
    edges = d["edges"]
    width = edges[1] - edges[0]
    middle = [e + width / 2 for e in edges]
    data = [
        {
            "type": "bar", "name": name, "x": middle, "y": d[key], "width": width,
            "marker": {"color": colour, "opacity": opacity}, "customdata": [
                f"{e:.2f} to {e + width:.2f}" if i < len(edges) - 1 else f"{e:.2f} and more"
                for i, e in enumerate(edges)
            ],
            "hovertemplate": "%{customdata}: %{y:.1%} of the tiles<extra>" + name + "</extra>",
        }
        for key, name, colour, opacity in (
            ("held_out", "training tiles, held out", "@other", 0.55),
            ("here", "here", "@stack", 0.6),
        )
    ]  # fmt: skip
    limit = {
        "type": "line", "x0": d["limit"], "x1": d["limit"], "y0": 0, "y1": 1, "yref": "paper",
        "line": {"color": "@axis", "width": 1.5, "dash": "dash"},
    }  # fmt: skip
    return one(
        data, axis("distance to the training tiles (1: median of a held-out one)"),
        axis("share of the tiles", tickformat=".0%"), 340, barmode="overlay", showlegend=True,
        shapes=[limit],
    )  # fmt: skip
