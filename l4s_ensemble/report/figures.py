"""Plotly figures of five kinds, each a function from one panel of plain data.

Colours are names of the theme, such as ``pixel`` or ``fold0``: the page's script replaces
``@pixel`` by the theme's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report.words import sigfig

Plot = dict[str, Any]
Panel = Mapping[str, Any]

DASH = {"pixel": "dash", "unet": "dot", "mean": "dashdot", "stack": "solid"}
"""Lines differ by dash as well as by colour."""

FOLD_COLOURS = 8
"""Number of fold colours in the theme; further folds repeat them."""

HOW = ("wide", "few", "legend")

PR_STEP = 1 / 160
"""Points of a precision-recall curve lie at least this far apart."""

SYMBOLS = (
    "circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "star", "x", "hexagon",
    "bowtie",
)  # fmt: skip
"""Marks that tell groups apart without colour, in the order of the groups."""


def plot(spec: Mapping[str, Any]) -> Plot:
    """Make the plotly dicts of a described figure (`l4s_ensemble.report.page.figure`).

    Returns
    -------
    dict
        ``plots`` (each with ``label``, ``data``, ``layout``; several stand side by side),
        ``legend`` (label and colour of what plotly's own legend does not say), ``wide`` and
        ``few`` (at most three side by side).
    """
    draw, data = KINDS[spec["kind"]], spec["data"]
    how = {"wide": False, "few": False, "legend": [], **{k: spec[k] for k in HOW if k in spec}}
    if isinstance(data, Mapping):
        return {**how, "plots": [draw(data)]}
    legend = {s["name"]: s["colour"] for p in data for s in p["series"]}  # shared by all
    how["legend"] = [{"label": name, "colour": colour} for name, colour in legend.items()]
    plots = [draw({"height": 300, "small": True, **panel}) for panel in data]
    return {**how, "wide": True, "plots": plots}


def _axis(text: str, **more: Any) -> dict[str, Any]:
    """Make an axis with a title that names its unit."""
    kept = {k: v for k, v in more.items() if v is not None}
    return {
        "title": {"text": text, "standoff": 10},
        "gridcolor": "@grid",
        "zerolinecolor": "@grid",
        "linecolor": "@axis",
        "automargin": True,
        **kept,
    }


def _plot(
    panel: Panel, data: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], **more: Any
) -> Plot:
    small = bool(panel.get("small"))
    names = sum(bool(t.get("name")) and t.get("showlegend", True) for t in data)
    margin = {"l": 52, "r": 8, "t": 8, "b": 46} if small else {"l": 56, "r": 16, "t": 12, "b": 48}
    layout = {
        "xaxis": x,
        "yaxis": y,
        "height": panel.get("height", 380),
        "margin": margin,
        "hovermode": "closest",
        "showlegend": names > 1 and not small,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
        },
        **more,
    }
    return {"label": panel.get("label", ""), "data": data, "layout": layout}


def _trace(
    mode: str, x: Sequence[Any], y: Sequence[Any], hover: str | None = None, **more: Any
) -> dict[str, Any]:
    """A trace of points; one that says nothing under the pointer is in no legend."""
    quiet = {"hoverinfo": "skip", "showlegend": False}
    shown = quiet if hover is None else {"hovertemplate": hover}
    return {"type": "scatter", "mode": mode, "x": x, "y": y, **shown, **more}


def lines(panel: Panel) -> Plot:
    """Draw values over numbers or categories: lines, bars, or filled areas.

    Parameters
    ----------
    panel : mapping
        ``x`` (numbers or words), ``axes`` (titles of both), ``series``: each ``name, colour, y``
        and optionally ``as`` (line, bar, area), ``dash``, ``x``, ``hover`` (words for each value).
        Optionally ``range`` and ``x_range``, ``percent`` (of y), ``at`` (an upright line),
        ``band`` (two ends), ``bars`` (group, overlay) and ``log`` (both axes).
    """
    data = [_series(s, panel) for s in panel["series"]]
    shapes = []
    if panel.get("band"):
        low, high = panel["band"]
        shapes.append({**_upright(low, high), "fillcolor": "@band", "line": {"width": 0}})
    if panel.get("at") is not None:
        line = {"color": "@ink", "width": 1.5, "dash": "dash"}
        shapes.append({**_upright(panel["at"], panel["at"]), "line": line})
    words, log = any(isinstance(v, str) for v in panel["x"]), panel.get("log")
    (x, y), ticks = panel["axes"], {"type": "log", "dtick": 1} if log else {}
    return _plot(
        panel,
        data,
        _axis(x, **{"type": "category" if words else None, "range": panel.get("x_range")} | ticks),
        _axis(
            y,
            **ticks,
            range=panel.get("range"),
            rangemode=None if panel.get("range") else "tozero",
            tickformat=".0%" if panel.get("percent") else None,
        ),
        shapes=shapes,
        barmode=panel.get("bars", "group"),
        bargap=0.2,
    )


def _series(s: Mapping[str, Any], panel: Panel) -> dict[str, Any]:
    colour, form = f"@{s['colour']}", ".1%" if panel.get("percent") else ".3g"
    hover = "<br>%{customdata}" if s.get("hover") else ""
    made: dict[str, Any] = {
        "name": s["name"],
        "x": list(s.get("x", panel["x"])),
        "y": list(s["y"]),
        "hovertemplate": f"%{{x}}: {s['name']} %{{y:{form}}}{hover}<extra></extra>",
    }
    if hover:
        made["customdata"] = list(s["hover"])
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
    """Draw values by row, as bars or dots, with their intervals where they have one.

    Parameters
    ----------
    panel : mapping
        ``names`` (from above), ``axis``, ``series``: each ``name, values, colour`` (one or one a
        row) and optionally ``low`` and ``high``, ``hover``. Several series are stacked. Optionally
        ``dots``, ``percent``, ``against`` (an upright line), ``range``.
    """
    names, dots = list(reversed(panel["names"])), bool(panel.get("dots"))
    form = ".1%" if panel.get("percent") else ".3g"
    data = []
    for s in panel["series"]:
        back = {k: list(reversed(v)) for k, v in s.items() if isinstance(v, list)}
        colour = [f"@{c}" for c in back["colour"]] if "colour" in back else f"@{s['colour']}"
        made: dict[str, Any] = {
            "x": back["values"],
            "y": names,
            "name": s["name"],
            "customdata": back.get("hover", [""] * len(names)),
            "hovertemplate": f"%{{y}}: %{{x:{form}}}<br>%{{customdata}}<extra>{s['name']}</extra>",
        }
        if "low" in back:
            made["error_x"] = _arms(back["values"], back["low"], back["high"])
        if dots:
            marker = {"size": 10, "color": colour, "line": {"color": "@paper", "width": 1}}
            data.append({**made, "type": "scatter", "mode": "markers", "marker": marker})
        else:
            data.append({**made, "type": "bar", "orientation": "h", "marker": {"color": colour}})
    at = panel.get("against")
    line = {"line": {"color": "@axis", "width": 1.5}}
    return _plot(
        {**panel, "height": 100 + (32 if dots else 22) * len(names)},
        data,
        _axis(
            panel["axis"],
            nticks=6,
            tickangle=0,
            range=panel.get("range"),
            zeroline=True,
            zerolinecolor="@axis",
            tickformat=".0%" if panel.get("percent") else None,
        ),
        _axis("", ticks="", type="category", dtick=1),
        bargap=0.28,
        barmode="stack",
        shapes=[] if at is None else [{**_upright(at, at), **line}],
    )


def precision_recall(panel: Panel) -> Plot:
    """Draw precision-recall curves over lines of equal F1, each with the point in use.

    Parameters
    ----------
    panel : mapping
        ``curves``: each ``name, colour, recall, precision, threshold, average_precision`` and
        ``at`` (``recall, precision, threshold, f1``), see `precision_recall_curve`.
    """
    data: list[dict[str, Any]] = []
    notes = []
    at_end = {"showarrow": False, "xanchor": "left", "font": {"size": 10, "color": "@muted"}}
    for f1 in (0.2, 0.4, 0.6, 0.8):
        least = f1 / (2 - f1)
        recall = [least + (1 - least) * k / 40 for k in range(41)]
        precision = [round(min(1.0, f1 * r / (2 * r - f1)), 4) for r in recall]
        line = {"color": "@axis", "width": 1, "dash": "dot"}
        data.append(_trace("lines", [round(r, 4) for r in recall], precision, line=line))
        notes.append({"x": 1.01, "y": least, "text": f"F1 {f1}", "yanchor": "middle", **at_end})
    place = "recall %{x:.3f}<br>precision %{y:.3f}"
    for m in panel["curves"]:
        colour, at = f"@{m['colour']}", m["at"]
        line = {"color": colour, "width": 2, "dash": DASH[m["colour"]]}
        mark = {"size": 11, "color": colour, "line": {"color": "@paper", "width": 2}}
        name = f"{m['name']} (AP {m['average_precision']:.3f})"
        hover = f"{place}<br>threshold %{{customdata:.3f}}"
        used = f"in use: threshold {at['threshold']:.3f}<br>F1 {at['f1']:.3f}<br>{place}"
        data += [
            _trace(
                "lines",
                m["recall"],
                m["precision"],
                hover,
                name=name,
                customdata=m["threshold"],
                line=line,
            ),
            _trace(
                "markers",
                [at["recall"]],
                [at["precision"]],
                used,
                name=m["name"],
                marker=mark,
                showlegend=False,
            ),
        ]
    x, y = _axis("recall", range=[0, 1.01]), _axis("precision", range=[0, 1.02])
    margin = {"l": 56, "r": 50, "t": 12, "b": 48}
    return _plot({"height": 430, **panel}, data, x, y, annotations=notes, margin=margin)


def reliability(panel: Panel) -> Plot:
    """Draw observed over predicted probability; larger points stand for more pixels.

    Parameters
    ----------
    panel : mapping
        ``series``: each ``name, colour, predicted, observed, pixels`` and optionally ``dash``.
    """
    data = [_trace("lines", [0, 1], [0, 1], line={"color": "@axis", "width": 1})]
    hover = "predicted %{x:.3f}<br>observed %{y:.3f}<br>%{customdata:,} px"
    for s in panel["series"]:
        points = zip(s["predicted"], s["observed"], s["pixels"], strict=True)
        kept = [p for p in points if p[0] is not None and p[1] is not None]
        x, y, pixels = ([p[n] for p in kept] for n in range(3))
        colour, dash = f"@{s['colour']}", s.get("dash") or DASH[s["colour"]]
        size = [4 + 2 * max(0, len(str(n)) - 1) for n in pixels]
        mark = {"size": size, "color": colour, "line": {"color": "@paper", "width": 1}}
        line = {"color": colour, "width": 1.5, "dash": dash}
        more = {"name": s["name"], "customdata": pixels, "marker": mark, "line": line}
        data.append(_trace("lines+markers", x, y, hover, **more))
    x_axis, y_axis = (
        _axis(title, range=[-0.02, 1.02])
        for title in ("mean predicted probability", "observed share of landslide")
    )
    return _plot({"height": 400, **panel}, data, x_axis, y_axis)


def scatter(panel: Panel) -> Plot:
    """Draw points, each of a group, some with their name beside them.

    Parameters
    ----------
    panel : mapping
        ``axes``, ``groups``: each ``name, colour, x, y, hover`` and optionally ``named`` (words
        written beside some points, empty for the others). Optionally ``ranges`` (of both axes),
        ``log`` (of x), ``lines`` (pairs of ends, each ``((x, y), (x, y))``).
    """
    xs = [x for g in panel["groups"] for x in g["x"]]
    dashed = {"color": "@axis", "dash": "dash", "width": 1}
    data = [
        _trace("lines", [a[0], b[0]], [a[1], b[1]], line=dashed) for a, b in panel.get("lines", [])
    ]
    for g, symbol in zip(panel["groups"], SYMBOLS * len(panel["groups"]), strict=False):
        look = {"color": f"@{g['colour']}", "symbol": symbol, "size": 8, "opacity": 0.75}
        made = _trace(
            "markers",
            g["x"],
            g["y"],
            "%{customdata}<extra></extra>",
            name=g["name"],
            customdata=g["hover"],
            marker={**look, "line": {"width": 0.5, "color": "@card"}},
        )
        if g.get("named"):
            # Names stand on the side of their mark on which there is room.
            side = ["left" if x > (min(xs) + max(xs)) / 2 else "right" for x in g["x"]]
            made |= {"mode": "markers+text", "text": g["named"]}
            made |= {"textposition": [f"middle {s}" for s in side]}
            made["textfont"] = {"size": 11, "color": "@ink"}
        data.append(made)
    x_range, y_range = panel.get("ranges", (None, None))
    x, y = panel["axes"]
    return _plot(
        panel,
        data,
        _axis(x, range=x_range, type="log" if panel.get("log") else None),
        _axis(y, range=y_range),
    )


def _arms(
    values: Sequence[float], low: Sequence[float | None], high: Sequence[float | None]
) -> dict[str, Any]:
    """Arms of intervals; none where an end is not known."""

    def arm(a: float | None, b: float | None) -> float:
        return 0.0 if a is None or b is None else round(max(0.0, b - a), 6)

    return {
        "type": "data",
        "symmetric": False,
        "color": "@ink",
        "thickness": 1.4,
        "width": 4,
        "array": [arm(v, h) for v, h in zip(values, high, strict=True)],
        "arrayminus": [arm(lo, v) for v, lo in zip(values, low, strict=True)],
    }


def _upright(low: float, high: float) -> dict[str, Any]:
    """A line or a band over the whole height."""
    return {
        "type": "line" if low == high else "rect",
        "xref": "x",
        "yref": "paper",
        "x0": low,
        "x1": high,
        "y0": 0,
        "y1": 1,
        "layer": "below",
    }


def precision_recall_curve(histogram: ScoreHistogram, threshold: float) -> dict[str, Any]:
    """Thin a curve for the page, and find the point of it at `threshold`."""
    c = histogram.curve()
    keep = [0]
    for i in range(1, histogram.bins):
        moved = sum(abs(c[k][i] - c[k][keep[-1]]) for k in ("recall", "precision"))
        if moved >= PR_STEP:
            keep.append(i)
    predicted = np.flatnonzero(histogram.positive + histogram.negative)
    last = int(predicted[-1]) if len(predicted) else 0
    keep = [i for i in keep if i <= last]  # beyond, nothing is predicted and precision is a word
    k = min(histogram.bins - 1, round(threshold * histogram.bins))
    return {
        **{k: plain(c[k][keep]) for k in ("recall", "precision", "threshold")},
        "average_precision": histogram.average_precision(),
        "at": {
            "threshold": threshold,
            **{n: float(c[n][k]) for n in ("precision", "recall", "f1")},
        },
    }


def plain(values: Any, digits: int = 4) -> list[Any]:
    """Array to nested lists, rounded; NaN becomes None."""
    array = np.asarray(values)
    listed: list[Any] = array.tolist()
    if array.dtype.kind != "f":
        return listed
    if not np.isfinite(array).all():
        boxed = array.astype(object)
        boxed[~np.isfinite(array)] = None
        listed = boxed.tolist()
    out: list[Any] = sigfig(listed, digits)
    return out


KINDS: dict[str, Callable[[Panel], Plot]] = {
    "lines": lines, "rows": rows, "precision_recall": precision_recall,
    "reliability": reliability, "scatter": scatter,
}  # fmt: skip
