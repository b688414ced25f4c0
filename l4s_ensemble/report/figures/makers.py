"""What each figure of a page shows, as panels of the general kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from l4s_ensemble.report.figures.general import (
    DASH,
    FOLD_COLOURS,
    Plot,
    alone,
    beside,
    heatmap,
    lines,
    middles,
    precision_recall,
    reliability,
    rows,
    scatter,
    swarm,
)

Data = Mapping[str, Any]

_SCORES = (("f1", "F1", "stack", "solid"), ("precision", "precision", "pixel", "dash"),
           ("recall", "recall", "unet", "dot"))  # fmt: skip
_CORRECTIONS = (("pixel", "solid"), ("stack", "dash"), ("unet", "dot"))
_EPOCHS = (
    ("loss", "loss", "loss of the training tiles"),
    ("validation_loss", "validation loss", "loss of held-out tiles"),
    ("lr", "learning rate", "learning rate"),
    ("gradient_norm", "gradient", "norm before clipping"),
    ("seconds", "time", "seconds per epoch"),
)


def plot(spec: Mapping[str, Any]) -> Plot:
    """Make the plotly dicts of a described figure.

    Returns
    -------
    dict
        ``plots`` (each with ``label``, ``data``, ``layout``; several stand side by side),
        ``legend`` (label and colour of what plotly's own legend does not say), ``wide`` and
        ``few`` (at most three side by side).
    """
    made = MAKERS[spec["kind"]](spec["data"])
    return {"wide": False, "few": False, "legend": [], **made}


def _scores(d: Data, keys: Sequence[tuple[str, str, str, str]] = _SCORES) -> list[dict[str, Any]]:
    return [{"name": n, "y": d[k], "colour": c, "dash": dash} for k, n, c, dash in keys if k in d]


def _pr(models: Sequence[Data]) -> Plot:
    return alone(precision_recall({"curves": [{**m, "colour": m["model"]} for m in models]}))


def _threshold(d: Data) -> Plot:
    return alone(lines({
        "x": d["threshold"], "axes": ("probability threshold", "score"), "range": [0, 1.02],
        "x_range": [0, 1], "series": _scores(d), "at": d["chosen"], "band": d["plateau"],
        "height": 430,
    }))  # fmt: skip


def _reliability(models: Sequence[Data]) -> Plot:
    return alone(reliability({"series": [{**m, "colour": m["model"]} for m in models]}))


def _corrections(models: Sequence[Data]) -> Plot:
    series = [
        {**m, "colour": c, "dash": dash} for m, (c, dash) in zip(models, _CORRECTIONS, strict=False)
    ]
    return alone(reliability({"series": series, "height": 430}))


def _progress(series: Sequence[Data]) -> Plot:
    folds = sorted({s["fold"] for s in series})
    panels = [
        {
            "label": label, "axes": ("epoch", title), "height": 270,
            "x": max((s["epoch"] for s in series), key=len),
            "series": [
                {"name": s["name"], "x": s["epoch"], "y": s[key],
                 "colour": f"fold{folds.index(s['fold']) % FOLD_COLOURS}"}
                for s in series if key in s
            ],
        }
        for key, label, title in _EPOCHS if any(key in s for s in series)
    ]  # fmt: skip
    # Three in a row, but four in one row.
    return beside(lines, panels, few=len(panels) != 4)


def _logits(d: Data) -> Plot:
    cut = min(max(d["threshold"], 1e-6), 1 - 1e-6)
    middle = middles(d["edges"])
    counted = np.flatnonzero(np.add(d["landslide"], d["other"]))
    # Bars beyond the axis would be drawn beside the figure.
    own = slice(counted[0], counted[-1] + 1) if len(counted) else slice(0)
    series = [
        {"name": name, "colour": colour, "as": "bar",
         "y": [round(n / max(1, sum(d[key])), 6) for n in d[key][own]],
         "told": [f"{n:,} pixels" for n in d[key][own]]}
        for key, name, colour in (("other", "all else", "other"),
                                  ("landslide", "landslide", "slide"))
    ]  # fmt: skip
    return alone(lines({
        "x": middle[own], "percent": True,
        "axes": ("logit (log-odds of a landslide)", "share of the class's pixels"),
        "series": series, "at": math.log(cut / (1 - cut)), "bars": "overlay",
    }))  # fmt: skip


def _occlusion(d: Data) -> Plot:
    found = d["rows"]
    series = {
        "name": "", "colour": "unet", "values": [r["loss"] for r in found],
        "low": [r["low"] for r in found], "high": [r["high"] for r in found],
        "told": [r["channels"] for r in found],
    }  # fmt: skip
    return alone(rows({"names": [r["name"] for r in found], "axis": "F1 lost", "series": [series]}))


def _agreement(d: Data) -> Plot:
    parts = (
        ("both_right", "both right", "good"),
        ("only_pixel", "only the pixel classifier", "pixel"),
        ("only_unet", "only the U-Net", "unet"),
        ("both_wrong", "both wrong", "bad"),
    )
    total = max(1, sum(int(d.get(k, 0)) for k, _, _ in parts))
    series = [
        {"name": name, "colour": colour, "values": [round(d.get(k, 0) / total, 4)],
         "told": [f"{int(d.get(k, 0)):,} pixels"]}
        for k, name, colour in parts
    ]  # fmt: skip
    return alone(rows({
        "names": ["pixels"], "axis": "share of these pixels", "series": series, "stacked": True,
        "percent": True, "range": [0, 1],
    }))  # fmt: skip


def _intervals(d: Data) -> Plot:
    found = d["rows"]
    known = [r["low"] is not None and r["high"] is not None for r in found]
    told = [
        f"interval {r['low']:.4f} to {r['high']:.4f}" if k else "interval unknown"
        for r, k in zip(found, known, strict=True)
    ]
    series = {
        "name": "", "values": [r["value"] for r in found], "told": told,
        "low": [r["low"] for r in found], "high": [r["high"] for r in found],
        "colour": [r["colour"] for r in found],
    }  # fmt: skip
    return alone(rows({
        "names": [r["name"] for r in found], "axis": d["axis"], "series": [series], "dots": True,
        "against": d.get("against"),
    }))  # fmt: skip


def _slides_by_size(panels: Sequence[Data]) -> Plot:
    return beside(lines, [
        {
            "label": p["label"], "x": p["bin"], "axes": (p["axis"], p["share"]),
            "range": [0, 1.03], "percent": True,
            "series": [{"name": m["name"], "y": m["share"], "colour": m["model"],
                        "dash": DASH[m["model"]], "told": m["told"]} for m in p["models"]],
        }
        for p in panels
    ])  # fmt: skip


def _risk(d: Data) -> Plot:
    keys = (
        ("f1_helped", "F1 of all, if the person is right", "stack", "solid"),
        ("f1_rest", "F1 of what is left to the model", "unet", "dot"),
        ("errors_seen", "share of all errors that the person sees", "pixel", "dash"),
    )
    return alone(lines({
        "x": d["share"], "range": [0, 1.03], "series": _scores(d, keys),
        "axes": ("share of all pixels that a person looks at, the least sure", "F1, share"),
    }))  # fmt: skip


def _by_size(d: Data) -> Plot:
    told = [
        f"tile {p}<br>{n:,} landslide pixels<br>F1 {f1:.3f}"
        for p, n, f1 in zip(d["patch"], d["pixels"], d["f1"], strict=True)
    ]
    group = {"name": "tiles", "colour": "stack", "x": d["pixels"], "y": d["f1"], "told": told}
    return alone(scatter({
        "axes": ("landslide pixels in the tile", "F1 of the tile"), "log": True, "groups": [group],
        "ranges": (None, [-0.03, 1.03]),
    }))  # fmt: skip


def _likeness(d: Data) -> Plot:
    half = (d["edges"][1] - d["edges"][0]) / 2
    return alone(lines({
        "x": [round(e + half, 4) for e in d["edges"]], "percent": True, "at": d["limit"],
        "bars": "overlay", "height": 340,
        "axes": ("distance to the training tiles (1: median of a held-out one)",
                 "share of the tiles"),
        "series": [
            {"name": "training tiles, held out", "colour": "other", "as": "bar",
             "y": d["held_out"]},
            {"name": "here", "colour": "stack", "as": "bar", "y": d["here"]},
        ],
    }))  # fmt: skip


def _bars(d: Data) -> Plot:
    found = d["rows"]
    groups = list(dict.fromkeys(r["group"] for r in found if r.get("group")))
    given = d.get("colours", {})
    colour = {g: given.get(g, f"fold{i % FOLD_COLOURS}") for i, g in enumerate(groups)}
    series = {
        "name": "", "values": [r["value"] for r in found],
        "told": [r.get("group", "") for r in found],
        "colour": [colour.get(r.get("group"), "pixel") for r in found],
    }  # fmt: skip
    made = rows({"names": [r["name"] for r in found], "axis": d["axis"], "series": [series]})
    return alone(made, legend=[{"label": g, "colour": c} for g, c in colour.items()])


def _beeswarm(found: Sequence[Data]) -> Plot:
    legend = [
        {"label": label, "colour": colour}
        for label, colour in (("low value", "low"), ("middle", "middle"), ("high value", "high"))
    ]
    made = swarm({"axis": "added to the log-odds of landslide", "rows": found})
    return alone(made, legend=legend, wide=True)


def _classes(features: Sequence[Data]) -> Plot:
    panels = []
    for f in features:
        unit = f" ({f['unit']})" if f.get("unit") and f["unit"] not in {"1", "none"} else ""
        label = f["name"] + (f", AUC {f['auc']:.2f}" if f.get("auc") is not None else "")
        label += f" ({f['auc_unseen']:.2f})" if f.get("auc_unseen") is not None else ""
        panels.append(
            {
                "label": label, "x": middles(f["edges"]), "height": 230,
                "axes": (f"{f['name']}{unit}", "share of class"),
                "series": [
                    {"name": "other pixels", "y": f["other"], "colour": "other", "as": "area"},
                    {"name": "landslide", "y": f["landslide"], "colour": "slide", "as": "area"},
                ],
            }
        )  # fmt: skip
    return beside(lines, panels)


def _elsewhere(d: Data) -> Plot:
    groups = []
    for g in d["groups"]:
        own = [r for r in d["rows"] if r["group"] == g["name"]]
        if own:
            groups.append(
                {
                    **g, "x": [r["x"] for r in own], "y": [r["y"] for r in own],
                    "told": [f"{r['name']}<br>{r['x']:.3f} over all, {r['y']:.3f} in {r['where']}"
                             for r in own],
                    "named": [r["name"] if r["named"] else "" for r in own],
                }
            )  # fmt: skip
    floor = min([0.5, *(r["y"] for r in d["rows"])]) - 0.03
    return alone(scatter({
        "axes": ("AUC over all fitting tiles", f"AUC in the worst {d['kind']}"), "groups": groups,
        "ranges": ([0.48, 1.02], [floor, 1]), "height": 440,
        "lines": [((0.5, 0.5), (1, 1)), ((0.5, 0.5), (1, 0.5))],
    }))  # fmt: skip


def _failures(kinds: Sequence[Data]) -> Plot:
    panels = [
        {
            "label": k["label"], "x": k["bin"], "axes": (k["axis"], "score, share"),
            "range": [0, 1.02],
            "series": [
                {"name": "share of landslide pixels", "y": k["share"], "colour": "slide-soft",
                 "as": "bar", "told": [f"{a:,} of {b:,} pixels are landslide" for a, b in
                                       zip(k["landslide"], k["pixels"], strict=True)]},
                *_scores(k),
            ],
        }
        for k in kinds
    ]  # fmt: skip
    return beside(lines, panels, few=True)


def _failure_rim(d: Data) -> Plot:
    return alone(lines({
        "x": d["bin"], "axes": ("distance to the boundary, on either side (px)", "score"),
        "range": [0, 1.02], "series": _scores(d),
    }))  # fmt: skip


def _sizes(splits: Sequence[Data]) -> Plot:
    labels = [
        f"{a:,}" if b - a == 1 else f"{a:,}–{b - 1:,}" for a, b in pairwise(splits[0]["edges"])
    ]
    series = [
        {"name": s["split"], "y": s["counts"], "colour": f"fold{i}", "as": "bar"}
        for i, s in enumerate(splits)
    ]
    return alone(lines({
        "x": labels, "axes": ("area of the landslide (pixels)", "landslides"), "series": series,
        "height": 340,
    }))  # fmt: skip


def _shift(d: Data) -> Plot:
    values = [v for row in d["value"] for v in row if v is not None]
    most = max([1.0, *(min(abs(v), 3.0) for v in values)])
    told = [
        [f"{name} against train, {band}: {v or 0:+.2f} interquartile ranges"
         for band, v in zip(d["bands"], row, strict=True)]
        for name, row in zip(d["rows"], d["value"], strict=True)
    ]  # fmt: skip
    return alone(heatmap({
        "z": d["value"], "scale": ("low", "paper", "high"), "ends": (-most, most), "told": told,
        "text": [[_short(v) for v in row] for row in d["value"]], "bar": "IQR",
        "names": (d["bands"], d["rows"]),
    }), wide=True)  # fmt: skip


def _short(value: float | None) -> str:
    """One digit and a sign, for a cell."""
    if value is None:
        return ""
    return "0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "\u2212")


MAKERS: dict[str, Callable[[Any], Plot]] = {
    "pr": _pr, "threshold": _threshold, "reliability": _reliability,
    "corrections": _corrections, "progress": _progress,
    "logits": _logits, "occlusion": _occlusion, "agreement": _agreement, "intervals": _intervals,
    "slides_by_size": _slides_by_size, "risk": _risk, "by_size": _by_size, "likeness": _likeness,
    "bars": _bars, "beeswarm": _beeswarm, "classes": _classes, "elsewhere": _elsewhere,
    "failures": _failures, "failure_rim": _failure_rim,
    "sizes": _sizes, "shift": _shift,
}  # fmt: skip
"""Figures by the name that a page gives them."""
