"""Figures of two runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report.figures.base import Plot, axis, one

_LEAST = 10.0
"""Differences below it are drawn to scale, larger ones in steps of ten (pixels)."""

_NONE = 0.6
"""Where a tile without a wrong pixel stands on an axis in steps of ten."""

_GROUPS = (
    ("fewer in B", "@stack", "circle", 1), ("more in B", "@unet", "diamond", -1),
    ("as many", "@mean", "square", 0),
)  # fmt: skip


def errors(d: Mapping[str, Any]) -> Plot:
    """Draw how many fewer pixels are wrong in B over those that are wrong in A."""
    better = [x - y for x, y in zip(d["errors_a"], d["errors_b"], strict=True)]
    data: list[dict[str, Any]] = []
    for name, colour, symbol, sign in _GROUPS:
        at = [i for i, v in enumerate(better) if (v > 0) - (v < 0) == sign]
        if not at:
            continue
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": f"{name} ({len(at):,})",
                "x": [max(d["errors_a"][i], _NONE) for i in at],
                "y": [round(math.asinh(better[i] / _LEAST), 4) for i in at],
                "customdata": [
                    [d["patch"][i], d["errors_a"][i], d["errors_b"][i], d["real"][i]] for i in at
                ],
                "marker": {
                    "color": colour, "symbol": symbol, "opacity": 0.6,
                    "size": [round(4 + 10 * min(1.0, (d["real"][i] / 4000) ** 0.5), 1) for i in at],
                    "line": {"color": "@paper", "width": 0.6},
                },
                "hovertemplate": "tile %{customdata[0]}<br>%{customdata[1]:,} wrong pixels in A"
                "<br>%{customdata[2]:,} in B<br>%{customdata[3]:,} landslide pixels<extra></extra>",
            }
        )  # fmt: skip
    most = max([1, *d["errors_a"]])
    ticks = [_NONE, *(10**k for k in range(6) if 10**k <= most)]
    steps = [10**k for k in range(1, 6) if 10**k <= max(_LEAST, *map(abs, better))]
    values = [*(-s for s in reversed(steps)), 0, *steps]
    return one(
        data,
        axis(
            "wrong pixels of the tile in A", type="log", tickvals=ticks,
            range=[math.log10(_NONE * 0.8), math.log10(most * 1.4)],
            ticktext=["0", *(f"{t:,}" for t in ticks[1:])],
        ),
        axis(
            "fewer wrong pixels in B", tickvals=[math.asinh(v / _LEAST) for v in values],
            ticktext=[f"{v:+,}".replace("-", "\u2212") if v else "0" for v in values],
            zerolinecolor="@axis",
        ),
        430, showlegend=True,
    )  # fmt: skip


def where(d: Mapping[str, Any]) -> Plot:
    """Draw tiles in their places, coloured by which run has fewer wrong pixels."""
    rows, cols = len(d["better"]), len(d["better"][0])
    text = [
        [f"tile {p}: {v:+,} pixels" if v is not None else "" for v, p in zip(b, i, strict=True)]
        for b, i in zip(d["better"], d["patch"], strict=True)
    ]
    data = [
        {
            "type": "heatmap", "z": d["better"], "text": text, "x0": d["first_col"],
            "y0": d["first_row"], "dx": 1, "dy": 1, "zmin": -d["top"], "zmax": d["top"],
            "colorscale": [[0, "@unet"], [0.5, "@shade"], [1, "@stack"]], "showscale": False,
            "xgap": 1, "ygap": 1, "hoverongaps": False,
            "hovertemplate": "%{text} fewer wrong in B<br>row %{y}, column %{x}<extra></extra>",
        }
    ]  # fmt: skip
    cell = max(8, min(34, 620 // max(rows, 1)))
    legend = [
        {"label": f"at least {d['top']:,.0f} pixels fewer wrong in B", "colour": "stack"},
        {"label": "as many", "colour": "shade"},
        {"label": f"at least {d['top']:,.0f} more", "colour": "unet"},
    ]
    return {
        **one(
            data,
            axis("column of tiles", showgrid=False, constrain="domain", zeroline=False,
                 dtick=max(1, round(cols / 4))),
            axis("row", showgrid=False, autorange="reversed", scaleanchor="x",
                 constrain="domain", zeroline=False, dtick=max(1, round(rows / 8))),
            80 + cell * rows, meta={"aspect": rows / cols, "beside": 80, "below": 70},
        ),
        "wide": cols > 24,
        "legend": legend,
    }  # fmt: skip
