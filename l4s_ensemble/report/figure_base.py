"""What every plotly figure here has in common."""

from __future__ import annotations

from typing import Any

Plot = dict[str, Any]

DASH = {"pixel": "dash", "unet": "dot", "mean": "dashdot", "stack": "solid"}
"""Lines differ by dash as well as by colour."""

FOLD_COLOURS = 8
"""Number of fold colours in the theme; further folds repeat them."""


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
