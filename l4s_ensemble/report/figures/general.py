"""Plotly figures of seven general kinds, each a function from one panel of plain data.

Colours are names of the theme, such as ``pixel`` or ``fold0``: the page's script replaces
``@pixel`` by the theme's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Plot = dict[str, Any]
Panel = Mapping[str, Any]

DASH = {"pixel": "dash", "unet": "dot", "mean": "dashdot", "stack": "solid"}
"""Lines differ by dash as well as by colour."""

FOLD_COLOURS = 8
"""Number of fold colours in the theme; further folds repeat them."""

SYMBOLS = (
    "circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "star", "x", "hexagon",
    "bowtie",
)  # fmt: skip
"""Marks that tell groups apart without colour, in the order of the groups."""


def alone(made: Plot, **more: Any) -> Plot:
    """A figure of one plot."""
    return {"plots": [made], **more}


def beside(make: Callable[[Panel], Plot], panels: Sequence[Panel], *, few: bool = False) -> Plot:
    """A figure of plots side by side, whose series share one legend."""
    plots = [make({"height": 300, "small": True, **panel}) for panel in panels]
    legend = {
        s["name"]: s["colour"] for p in panels for s in p["series"] if isinstance(s["colour"], str)
    }
    shown = [{"label": name, "colour": colour} for name, colour in legend.items() if name]
    return {"plots": plots, "wide": True, "few": few, "legend": shown}


def _axis(text: str, **more: Any) -> dict[str, Any]:
    """Make an axis with a title that names its unit."""
    kept = {k: v for k, v in more.items() if v is not None}
    return {
        "title": {"text": text, "standoff": 10}, "gridcolor": "@grid", "zerolinecolor": "@grid",
        "linecolor": "@axis", "automargin": True, **kept,
    }  # fmt: skip


def _plot(
    panel: Panel, data: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], **more: Any
) -> Plot:
    small = bool(panel.get("small"))
    names = sum(bool(t.get("name")) and t.get("showlegend", True) for t in data)
    margin = {"l": 52, "r": 8, "t": 8, "b": 46} if small else {"l": 56, "r": 16, "t": 12, "b": 48}
    layout = {
        "xaxis": x, "yaxis": y, "height": panel.get("height", 380), "margin": margin,
        "hovermode": "closest", "showlegend": names > 1 and not small,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, **more,
    }  # fmt: skip
    return {"label": panel.get("label", ""), "data": data, "layout": layout}


def lines(panel: Panel) -> Plot:
    """Draw values over numbers or categories: lines, bars, or filled areas.

    Parameters
    ----------
    panel : mapping
        ``x`` (numbers or words), ``axes`` (titles of both), ``series``: each ``name, colour, y``
        and optionally ``as`` (line, bar, area), ``dash``, ``x``, ``low`` and ``high`` (ends of an
        interval), ``told`` (words for each value). Optionally ``range`` and ``x_range``, ``log``
        (of x), ``percent`` (of y), ``at`` (an upright line), ``band`` (two ends),
        ``ticks`` (words of x) and ``bars`` (group, overlay).
    """
    data = [_series(s, panel) for s in panel["series"]]
    shapes = []
    if panel.get("band"):
        low, high = panel["band"]
        shapes.append({**_upright(low, high), "fillcolor": "@band", "line": {"width": 0}})
    if panel.get("at") is not None:
        line = {"color": "@ink", "width": 1.5, "dash": "dash"}
        shapes.append({**_upright(panel["at"], panel["at"]), "line": line})
    words = any(isinstance(v, str) for v in panel["x"])
    x, y = panel["axes"]
    kind = "category" if words else "log" if panel.get("log") else None
    ticks = {"tickvals": panel["x"], "ticktext": panel["ticks"]} if panel.get("ticks") else {}
    return _plot(
        panel, data, _axis(x, type=kind, range=panel.get("x_range"), **ticks),
        _axis(y, range=panel.get("range"), rangemode=None if panel.get("range") else "tozero",
              tickformat=".0%" if panel.get("percent") else None),
        shapes=shapes, barmode=panel.get("bars", "group"), bargap=0.2,
    )  # fmt: skip


def _series(s: Mapping[str, Any], panel: Panel) -> dict[str, Any]:
    colour, form = f"@{s['colour']}", ".1%" if panel.get("percent") else ".3g"
    told = "<br>%{customdata}" if s.get("told") else ""
    made: dict[str, Any] = {
        "name": s["name"], "x": list(s.get("x", panel["x"])), "y": list(s["y"]),
        "hovertemplate": f"%{{x}}: {s['name']} %{{y:{form}}}{told}<extra></extra>",
    }  # fmt: skip
    if told:
        made["customdata"] = list(s["told"])
    if s.get("low"):
        made["error_y"] = _arms(s["y"], s["low"], s["high"], colour)
    how = s.get("as", "line")
    if how == "bar":
        opacity = 0.6 if panel.get("bars") == "overlay" else 0.9
        return {**made, "type": "bar", "marker": {"color": colour, "opacity": opacity}}
    made |= {"type": "scatter", "mode": "lines" if len(made["x"]) > 40 else "lines+markers"}
    made["line"] = {"color": colour, "width": 2, "dash": s.get("dash", "solid")}
    if how == "area":
        made |= {"mode": "lines", "fill": "tozeroy", "fillcolor": f"{colour}-soft"}
    return made


def rows(panel: Panel) -> Plot:
    """Draw one value a row as a bar or a dot, with its interval where it has one.

    Parameters
    ----------
    panel : mapping
        ``names`` (from above), ``axis``, ``series``: each ``name, values, colour`` (one or one a
        row) and optionally ``low`` and ``high``, ``told``. Optionally
        ``dots``, ``stacked``, ``percent``, ``against`` (an upright line), ``range``.
    """
    names = list(reversed(panel["names"]))
    data = []
    for s in reversed(panel["series"]) if not panel.get("stacked") else panel["series"]:
        back = {k: list(reversed(s[k])) for k in ("values", "low", "high", "told")
                if s.get(k)}  # fmt: skip
        colours = s["colour"]
        colour = f"@{colours}" if isinstance(colours, str) else [f"@{c}" for c in reversed(colours)]
        form = ".1%" if panel.get("percent") else ".3g"
        made: dict[str, Any] = {
            "x": back["values"], "y": names, "name": s.get("name", ""),
            "customdata": back.get("told", [""] * len(names)),
            "hovertemplate": f"%{{y}}: %{{x:{form}}}<br>%{{customdata}}<extra>{s.get('name', '')}"
            "</extra>",
        }  # fmt: skip
        if "low" in back:
            made["error_x"] = _arms(back["values"], back["low"], back["high"], "@ink")
        if panel.get("dots"):
            marker = {"size": 10, "color": colour,
                      "line": {"color": "@paper", "width": 1}}  # fmt: skip
            made |= {"type": "scatter", "mode": "markers", "marker": marker}
        else:
            made |= {"type": "bar", "orientation": "h", "marker": {"color": colour}}
        data.append(made)
    held = panel.get("against")
    shapes = [] if held is None else [
        {**_upright(held, held), "line": {"color": "@axis", "width": 1.5}}
    ]  # fmt: skip
    each = 22 + 14 * (len(data) - 1) * (not panel.get("stacked")) + 10 * bool(panel.get("dots"))
    return _plot(
        {**panel, "height": 100 + each * len(names)}, data,
        _axis(panel["axis"], range=panel.get("range"), zeroline=True, zerolinecolor="@axis",
              tickformat=".0%" if panel.get("percent") else None),
        _axis("", ticks="", type="category", dtick=1), shapes=shapes, bargap=0.28,
        barmode="stack" if panel.get("stacked") else "group",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                "traceorder": "normal" if panel.get("stacked") else "reversed"},
    )  # fmt: skip


def precision_recall(panel: Panel) -> Plot:
    """Draw precision-recall curves over lines of equal F1, each with the point in use.

    Parameters
    ----------
    panel : mapping
        ``curves``: each ``name, colour, recall, precision, threshold, average_precision`` and
        ``at`` (``recall, precision, threshold, f1``), see `curves.precision_recall`.
    """
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
    for m in panel["curves"]:
        colour, at = f"@{m['colour']}", m["at"]
        data.append(
            {
                "type": "scatter", "mode": "lines", "x": m["recall"], "y": m["precision"],
                "name": f"{m['name']} (AP {m['average_precision']:.3f})",
                "customdata": m["threshold"],
                "line": {"color": colour, "width": 2, "dash": DASH.get(m["colour"], "solid")},
                "hovertemplate": "recall %{x:.3f}<br>precision %{y:.3f}<br>threshold "
                "%{customdata:.3f}",
            }
        )  # fmt: skip
        data.append(
            {
                "type": "scatter", "mode": "markers", "showlegend": False, "name": m["name"],
                "x": [at["recall"]], "y": [at["precision"]],
                "marker": {"size": 11, "color": colour, "line": {"color": "@paper", "width": 2}},
                "hovertemplate": f"in use: threshold {at['threshold']:.3f}<br>F1 {at['f1']:.3f}"
                "<br>recall %{x:.3f}<br>precision %{y:.3f}",
            }
        )  # fmt: skip
    return _plot(
        {"height": 430, **panel}, data, _axis("recall", range=[0, 1.01]),
        _axis("precision", range=[0, 1.02]), annotations=notes,
        margin={"l": 56, "r": 50, "t": 12, "b": 48},
    )  # fmt: skip


def reliability(panel: Panel) -> Plot:
    """Draw observed over predicted probability; larger points stand for more pixels.

    Parameters
    ----------
    panel : mapping
        ``series``: each ``name, colour, predicted, observed, pixels`` and optionally ``dash``.
    """
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
            "showlegend": False, "line": {"color": "@axis", "width": 1},
        }
    ]  # fmt: skip
    for s in panel["series"]:
        kept = [
            (p, o, n)
            for p, o, n in zip(s["predicted"], s["observed"], s["pixels"], strict=True)
            if p is not None and o is not None
        ]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": s["name"],
                "x": [k[0] for k in kept], "y": [k[1] for k in kept],
                "customdata": [k[2] for k in kept],
                "marker": {
                    "size": [4 + 2 * max(0, len(str(n)) - 1) for _, _, n in kept],
                    "color": f"@{s['colour']}", "line": {"color": "@paper", "width": 1},
                },
                "line": {
                    "color": f"@{s['colour']}", "width": 1.5,
                    "dash": s.get("dash", DASH.get(s["colour"], "solid")),
                },
                "hovertemplate": "predicted %{x:.3f}<br>observed %{y:.3f}<br>%{customdata:,} px",
            }
        )  # fmt: skip
    return _plot(
        {"height": 400, **panel}, data,
        _axis("mean predicted probability", range=[-0.02, 1.02]),
        _axis("observed share of landslide", range=[-0.02, 1.02]),
    )  # fmt: skip


def heatmap(panel: Panel) -> Plot:
    """Draw a table of numbers as colours.

    Parameters
    ----------
    panel : mapping
        ``z`` (rows from above), ``scale`` (colours from low to high) and ``ends`` (two values of
        z), ``told`` (words of each cell), ``text`` (written into the cells), ``bar`` (title of the
        colour bar) and ``names`` (words of the columns and rows).
    """
    colours, n_rows = panel["scale"], len(panel["z"])
    across, down = panel["names"]
    trace: dict[str, Any] = {
        "type": "heatmap", "z": panel["z"], "zmin": panel["ends"][0], "zmax": panel["ends"][1],
        "colorscale": [[i / (len(colours) - 1), f"@{c}"] for i, c in enumerate(colours)],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.6,
                     "title": {"text": panel["bar"]}},
        "hoverongaps": False, "customdata": panel["told"],
        "hovertemplate": "%{customdata}<extra></extra>", "text": panel["text"],
        "texttemplate": "%{text}", "textfont": {"color": "@ink"}, "xgap": 1, "ygap": 1,
        "x": list(range(len(across))), "y": list(range(n_rows)),
    }  # fmt: skip
    named = {"tickfont": {"size": 11}, "ticks": "", "showgrid": False, "zeroline": False}
    x = _axis("", tickvals=trace["x"], ticktext=across, **named)
    y = _axis("", tickvals=trace["y"], ticktext=down, autorange="reversed", **named)
    return _plot({"height": max(210, 100 + 34 * n_rows), **panel}, [trace], x, y)


def scatter(panel: Panel) -> Plot:
    """Draw points, each of a group, some with their name beside them.

    Parameters
    ----------
    panel : mapping
        ``axes``, ``groups``: each ``name, colour, x, y, told`` and optionally ``named`` (words
        written beside some points, empty for the others). Optionally ``ranges`` (of both axes),
        ``log`` (of x), ``lines`` (pairs of ends, each ``((x, y), (x, y))``).
    """
    xs = [x for g in panel["groups"] for x in g["x"]]

    def inward(x: float) -> str:
        """The side of a mark on which its name has room."""
        return "middle left" if x > (min(xs) + max(xs)) / 2 else "middle right"

    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": [a[0], b[0]], "y": [a[1], b[1]],
            "hoverinfo": "skip", "showlegend": False,
            "line": {"color": "@axis", "dash": "dash", "width": 1},
        }
        for a, b in panel.get("lines", [])
    ]  # fmt: skip
    for g, symbol in zip(panel["groups"], SYMBOLS * len(panel["groups"]), strict=False):
        named = g.get("named")
        data.append(
            {
                "type": "scatter", "mode": "markers+text" if named else "markers",
                "name": g["name"], "x": g["x"], "y": g["y"], "customdata": g["told"],
                "text": named or [], "textposition": [inward(x) for x in g["x"]],
                "textfont": {"size": 11, "color": "@ink"},
                "marker": {"color": f"@{g['colour']}", "symbol": symbol, "size": 8, "opacity": 0.75,
                           "line": {"width": 0.5, "color": "@card"}},
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )  # fmt: skip
    x_range, y_range = panel.get("ranges", (None, None))
    x, y = panel["axes"]
    return _plot(
        panel, data, _axis(x, range=x_range, type="log" if panel.get("log") else None),
        _axis(y, range=y_range),
    )  # fmt: skip


def swarm(panel: Panel) -> Plot:
    """Draw what single pixels' features add, one row a feature, coloured by its value.

    Parameters
    ----------
    panel : mapping
        ``axis``, ``rows``: each ``name, contribution, value, rank`` (0 to 1).
    """
    data = []
    shown = list(reversed(panel["rows"]))
    for i, r in enumerate(shown):
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": r["name"], "showlegend": False,
                "x": r["contribution"], "y": [round(i + v, 3) for v in _fan(r["contribution"])],
                "customdata": r["value"],
                "marker": {
                    "size": 4, "color": r["rank"], "cmin": 0, "cmax": 1, "opacity": 0.75,
                    "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
                },
                "hovertemplate": f"{r['name']} = %{{customdata:.3g}}<br>adds %{{x:.3f}}"
                "<extra></extra>",
            }
        )  # fmt: skip
    names = [r["name"] for r in shown]
    return _plot(
        {**panel, "height": 110 + 36 * len(names)}, data,
        _axis(panel["axis"], zeroline=True, zerolinecolor="@axis"),
        _axis("", tickvals=list(range(len(names))), ticktext=names,
              range=[-0.7, len(names) - 0.3]),
    )  # fmt: skip


def _fan(values: Sequence[float], bins: int = 70, most: float = 0.38) -> list[float]:
    """Vertical places of the dots of one row: crowded values fan out."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    seats: dict[int, int] = {}
    seat = []
    for v in values:
        b = int((v - low) / width)
        seats[b] = seats.get(b, 0) + 1
        seat.append(seats[b])
    step = min(0.05, 2 * most / max(seats.values()))
    return [(k // 2) * step * (1 if k % 2 else -1) for k in seat]


def middles(edges: Sequence[float]) -> list[float]:
    """Middles of bins, for a histogram drawn by `lines`."""
    return [round((a + b) / 2, 6) for a, b in pairwise(edges)]


def _arms(
    values: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour: str
) -> dict[str, Any]:
    """Arms of intervals; none where an end is not known."""

    def arm(a: float | None, b: float | None) -> float:
        return 0.0 if a is None or b is None else round(max(0.0, b - a), 6)

    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1.4, "width": 4,
        "array": [arm(v, h) for v, h in zip(values, high, strict=True)],
        "arrayminus": [arm(lo, v) for v, lo in zip(values, low, strict=True)],
    }  # fmt: skip


def _upright(low: float, high: float) -> dict[str, Any]:
    """A line or a band over the whole height."""
    return {
        "type": "line" if low == high else "rect", "xref": "x", "yref": "paper", "x0": low,
        "x1": high, "y0": 0, "y1": 1, "layer": "below",
    }  # fmt: skip
