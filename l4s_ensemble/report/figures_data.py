"""Figures of the data: folds on the ground, sizes of landslides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from l4s_ensemble.report.figure_base import FOLD_COLOURS, Plot, axis, one

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
        axis("row", showgrid=False, autorange="reversed", scaleanchor="x", constrain="domain",
              dtick=max(1, round(rows / 8)), zeroline=False),
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
