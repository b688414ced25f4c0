"""Figures of the data: folds on the ground, sizes of landslides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figures.base import FOLD_COLOURS, Plot, axis, one

ROLES = ("holdout", "guard", "degenerate")
"""Roles of tiles that fit nothing, in the order of their codes on the fold map."""


def foldmap(d: Mapping[str, Any]) -> Plot:
    """Draw the tiles of a scene where they lie, coloured by fold or role."""
    k = d["n_folds"]
    colours = [f"@fold{i % FOLD_COLOURS}" for i in range(k)] + [f"@{r}" for r in ROLES]
    names = [f"fold {i}" for i in range(k)] + list(ROLES)
    rows, cols = len(d["code"]), len(d["code"][0])
    # One flat step of the scale for every code: a category has no shades.
    scale = [[(i + e) / len(colours), c] for i, c in enumerate(colours) for e in (0, 1)]
    z = [[None if v < 0 else v for v in row] for row in d["code"]]
    hover = [
        [f"tile {p}: {names[v]}" if v >= 0 else "" for v, p in zip(code, patch, strict=True)]
        for code, patch in zip(d["code"], d["patch"], strict=True)
    ]
    data = [
        {
            "type": "heatmap", "z": z, "text": hover, "x0": d["first_col"], "y0": d["first_row"],
            "dx": 1, "dy": 1, "zmin": -0.5, "zmax": len(colours) - 0.5,
            "colorscale": scale, "showscale": False, "xgap": 1, "ygap": 1, "hoverongaps": False,
            "hovertemplate": "%{text}<br>row %{y}, column %{x}<extra></extra>",
        }
    ]  # fmt: skip
    cell = max(8, min(34, 620 // max(rows, 1)))
    step = max(1, round(cols / 8))
    made = one(
        data,
        axis("column (tiles of 1.28 km)", showgrid=False, constrain="domain", dtick=step,
        zeroline=False),
        axis("row (tiles of 1.28 km)", showgrid=False, autorange="reversed", scaleanchor="x",
              constrain="domain", dtick=max(1, round(rows / 8)), zeroline=False),
        80 + cell * rows,
        meta={"aspect": rows / cols, "beside": 80, "below": 70},
    )  # fmt: skip
    seen = sorted({v for row in d["code"] for v in row if v >= 0})
    legend = [{"label": names[v], "colour": colours[v][1:]} for v in seen]
    return {**made, "legend": legend, "wide": cols > 24}


def sizes(splits: Sequence[Mapping[str, Any]]) -> Plot:
    """Count landslides by size, one bar a split."""
    data = []
    for i, s in enumerate(splits):
        edges = s["edges"]
        labels = [f"{a:,}" if b - a == 1 else f"{a:,}–{b - 1:,}" for a, b in pairwise(edges)]
        data.append(
            {
                "type": "bar", "name": s["split"], "x": labels, "y": s["counts"],
                "marker": {"color": f"@fold{i}"}, "hovertemplate": "%{x} px: %{y:,}",
            }
        )  # fmt: skip
    return one(
        data, axis("area of the landslide (pixels)", type="category"), axis("landslides"), 340,
        showlegend=len(splits) > 1, barmode="group",
    )  # fmt: skip


def ranges(bands: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw medians and middle halves of each band, one small plot a band."""
    plots = []
    colour = {"split": "@fold0", "scene": "@fold2", "holdout": "@fold1"}
    symbol = {"split": "circle", "scene": "diamond", "holdout": "square"}
    kinds = list(dict.fromkeys(r["kind"] for b in bands for r in b["rows"]))
    for b in bands:
        rows = list(reversed(b["rows"]))
        names = [r["name"] for r in rows]
        data = [
            {
                "type": "scatter", "mode": "markers", "name": kind,
                "x": [r["p50"] for r in rows if r["kind"] == kind],
                "y": [i for i, r in enumerate(rows) if r["kind"] == kind],
                "customdata": [
                    [r["name"], r["p25"], r["p75"]] for r in rows if r["kind"] == kind
                ],
                "marker": {"color": colour[kind], "symbol": symbol[kind], "size": 9},
                "error_x": {
                    "type": "data", "symmetric": False, "width": 0, "thickness": 3,
                    "color": colour[kind],
                    "array": [r["p75"] - r["p50"] for r in rows if r["kind"] == kind],
                    "arrayminus": [r["p50"] - r["p25"] for r in rows if r["kind"] == kind],
                },
                "hovertemplate": "%{customdata[0]}: median %{x:.4g}, half of the pixels in "
                "%{customdata[1]:.4g} … %{customdata[2]:.4g}<extra></extra>",
            }
            for kind in kinds
        ]  # fmt: skip
        made = one(
            data, axis(f"{b['band']} ({_unit(b['unit'])})", nticks=5),
            axis("", tickvals=list(range(len(names))), ticktext=names, zeroline=False,
                 range=[-0.6, len(names) - 0.4]),
            84 + 22 * len(rows), margin={"l": 60, "r": 10, "t": 6, "b": 44},
        )["plots"][0]  # fmt: skip
        made["label"] = b["band"]
        plots.append(made)
    told = {"split": "split", "scene": "scene of training", "holdout": "holdout"}
    legend = [{"label": told[k], "colour": colour[k][1:]} for k in kinds]
    return {"plots": plots, "wide": True, "legend": legend}


def shift(d: Mapping[str, Any]) -> Plot:
    """Draw standardised shifts as a map of groups by bands, with its numbers."""
    values = [v for row in d["value"] for v in row if v is not None]
    most = max([1.0, *(min(abs(v), 3.0) for v in values)])
    text = [[_short(v) for v in row] for row in d["value"]]
    data = [
        {
            "type": "heatmap", "x": d["bands"], "y": d["rows"], "z": d["value"], "text": text,
            "texttemplate": "%{text}", "zmin": -most, "zmax": most, "xgap": 2, "ygap": 2,
            "colorscale": [[0, "@low"], [0.5, "@paper"], [1, "@high"]],
            "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": "IQR"}},
            "customdata": [[v] * len(d["bands"]) for v in d["versus"]],
            "hovertemplate": "%{y} against %{customdata}, %{x}: %{z:+.2f} interquartile ranges"
            "<extra></extra>",
        }
    ]  # fmt: skip
    made = one(
        data, axis("band", showgrid=False, type="category"),
        axis("", showgrid=False, autorange="reversed", type="category"),
        100 + 34 * len(d["rows"]),
    )  # fmt: skip
    return {**made, "wide": True}


def _short(value: float | None) -> str:
    """One digit and a sign, for a cell."""
    if value is None:
        return ""
    return "0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "\u2212")


def _unit(unit: str) -> str:
    """Name of a unit for an axis."""
    return "relative level" if unit == "relative" else unit
