"""What every plotly figure here has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Plot = dict[str, Any]

DASH = {"pixel": "dash", "unet": "dot", "mean": "dashdot", "stack": "solid"}
"""Lines differ by dash as well as by colour."""

FOLD_COLOURS = 8
"""Number of fold colours in the theme; further folds repeat them."""


SMALL_MARGIN = {"l": 52, "r": 8, "t": 8, "b": 46}
"""Of plots that stand side by side."""


def axis(text: str, **more: Any) -> dict[str, Any]:
    """Make an axis with a title that names its unit."""
    return {
        "title": {"text": text, "standoff": 10},
        "gridcolor": "@grid",
        "zerolinecolor": "@grid",
        "linecolor": "@axis",
        "automargin": True,
        **more,
    }


def one(
    data: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], height: int = 380, **more: Any
) -> Plot:
    """Make a figure of one plot."""
    layout = {
        "xaxis": x,
        "yaxis": y,
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "hovermode": "closest",
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        **more,
    }
    return {"plots": [{"label": "", "data": data, "layout": layout}]}


def marked(
    x: Sequence[Any], y: Sequence[Any], colour: str, dash: str, hover: str
) -> dict[str, Any]:
    """Make a line with a marker at every value."""
    return {
        "type": "scatter", "mode": "lines+markers", "x": list(x), "y": list(y),
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 7, "line": {"color": "@paper", "width": 1}},
        "hovertemplate": hover,
    }  # fmt: skip
