"""The features page: which features separate landslides, and which do so elsewhere too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from l4s_ensemble.report import curves, words
from l4s_ensemble.report.figures import middles
from l4s_ensemble.report.page import Page, figure, of_fit, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, key_figures, table

SEPARATES = 0.55
"""AUC, either way, from which a feature separates anything by itself."""

HISTOGRAMS = 12
NAMED = 5
"""Marks with a name in a figure: the strongest, and those that lose most."""

GROUP_COLOURS = ("fold0", "fold1", "fold2", "fold3", "fold4", "fold5", "fold6", "fold7")

Row = dict[str, Any]


def rows(source: RunSource) -> list[Row]:
    """Every feature with its scores here and elsewhere, the strongest first.

    Returns
    -------
    list of dict
        What the features stage wrote, and ``auc_seen`` (over all fitting tiles, 0.5 to 1), ``side``
        (whether landslides have the higher or the lower values) and ``auc_step`` (lost in the
        worst place; None where that is not known).
    """
    made = []
    for r in source.summary("features").get("features", []):
        auc, worst = r["auc"], r.get("auc_worst")
        seen = None if auc is None else max(auc, 1 - auc)
        side = None if auc is None else "higher" if auc >= 0.5 else "lower"
        step = None if seen is None or worst is None else worst - seen
        made.append({**r, "auc_seen": seen, "side": side, "auc_step": step})
    return sorted(made, key=lambda r: -(r["auc_seen"] or 0.5))


def turning(source: RunSource) -> list[Row]:
    """Features that separate landslides, but from the other side in some place."""
    return [
        r for r in rows(source)
        if (r["auc_seen"] or 0) >= SEPARATES and (r.get("auc_worst") or 1) < 0.5
    ]  # fmt: skip


def kind_of_place(source: RunSource) -> str | None:
    """``scene`` or ``fold``; None in a run that does not know its places."""
    places = source.summary("features").get("places") or {}
    return str(places["kind"]) if len(places.get("rows", [])) > 1 else None


def groups(source: RunSource) -> list[Row]:
    """Groups of features in their order: name, count, and the colour they have in reports."""
    counted: dict[str, int] = {}
    for r in source.summary("features").get("features", []):
        counted[r["group"]] = counted.get(r["group"], 0) + 1
    return [
        {"name": g, "count": n, "colour": GROUP_COLOURS[i % len(GROUP_COLOURS)]}
        for i, (g, n) in enumerate(counted.items())
    ]


def features(source: RunSource) -> Page:
    """Make the features page; parts that a run does not know are left out."""
    tables = {"features": _table(source)}
    left_out = source.summary("features")["left_out"]
    if left_out:
        tables["left_out"] = table(
            "Features left out", [("name", "feature", "text"), ("reason", "reason", "text")],
            left_out, sortable=True,
        )  # fmt: skip
    return {
        "lead": _lead(source),
        "key_figures": _key_figures(source),
        "figures": _figures(source),
        "tables": tables,
        "sections": [
            section("alone", "Alone, here and elsewhere",
                    "Each feature by itself. A model combines them, so a weak one may still help.",
                    "carries", "separability", "features"),
            section("overview", "Numbers", "", "key_figures", "left_out"),
        ],
    }  # fmt: skip


PAGE = of_fit(20, "features", "Features", features)


def _lead(source: RunSource) -> str:
    found, kind = rows(source), kind_of_place(source)
    lead = f"{words.plural(len(found), 'feature')} of each pixel"
    best = found[0] if found else None
    if best is None or best["auc_seen"] is None:
        return lead + "."
    lead += f"; {best['name']} separates most by itself, AUC {words.score(best['auc_seen'])}"
    if kind is not None and best.get("auc_worst") is not None:
        lead += f", {words.score(best['auc_worst'])} in the {kind} where it is worst"
        bad = turning(source)
        if bad:
            lead += f"; {len(bad)} that separate turn round in some {kind}"
    return lead + "."


def _key_figures(source: RunSource) -> list[Row]:
    summary = source.summary("features")
    drawn, places = summary["sample"], summary["places"] or {}
    known = [p["name"] for p in places.get("rows", [])]
    return key_figures(
        [("features", len(summary["features"]), "count")]
        + [(f"of them {g['name']}", g["count"], "count") for g in groups(source)]
        + [
            ("left out", len(summary["left_out"]), "count"),
            ("pixels sampled", drawn["pixels"], "count"),
            ("landslide pixels sampled", drawn["positives"], "count"),
            ("places compared", ", ".join(known) if len(known) > 1 else None, "text"),
            ("widest support (px)", summary["support_px"], "count"),
            ("tiles per second", summary["patches_per_s"], "number"),
        ]
    )


def _figures(source: RunSource) -> dict[str, Any]:
    from l4s_ensemble.features.statistics import strong_and_distinct

    found, kind = rows(source), kind_of_place(source)
    made: dict[str, Any] = {}
    if kind is not None:
        made["carries"] = figure(
            "scatter",
            f"AUC here and in the worst {kind}",
            f"One mark a feature. Across: its AUC over all fitting tiles. Up: that in the {kind} "
            f"where it is worst, read from the side that the other {kind}s say. On the diagonal "
            "it separates as well everywhere; below 0.5 landslides lie on the other side there.",
            _elsewhere(found, groups(source), kind),
        )
    sample = source.arrays("features", "sample.npz")
    if sample is not None and {"X", "y"} <= set(sample) and found:
        values = np.nan_to_num(sample["X"], posinf=0.0, neginf=0.0)
        listed = list(source.summary("features")["features"])
        strength = [abs((r.get("auc") or 0.5) - 0.5) for r in listed]
        some = values[:: max(1, len(values) // 4000)]
        made["separability"] = figure(
            "lines",
            "The features that separate most, by class",
            "The less the two areas overlap, the more the feature separates by itself. Each area "
            "sums to one. Of features that say the same only one is shown.",
            [
                _classes(listed[i], 0.5 + strength[i], values[:, i], sample["y"] > 0)
                for i in strong_and_distinct(some, strength, HISTOGRAMS)
            ],
        )
    return made


def _elsewhere(found: Sequence[Row], groups: Sequence[Row], kind: str) -> dict[str, Any]:
    """Panel of every feature's AUC over all tiles, and where it is worst."""
    kept = [r for r in found if r["auc_step"] is not None]
    by_loss = sorted(kept, key=lambda r: float(r["auc_step"]))
    named = {r["name"] for r in [*kept[:1], *by_loss[: NAMED - 1]]}
    drawn = []
    for group in groups:
        own = [r for r in kept if r["group"] == group["name"]]
        x, y = (words.sigfig([r[key] for r in own]) for key in ("auc_seen", "auc_worst"))
        hover = [
            f"{r['name']}<br>{r['auc_seen']:.3f} over all, {r['auc_worst']:.3f} in {r['worst_in']}"
            for r in own
        ]
        names = [r["name"] if r["name"] in named else "" for r in own]
        look = {"name": group["name"], "colour": group["colour"]}
        if own:
            drawn.append({**look, "x": x, "y": y, "hover": hover, "named": names})
    floor = min([0.5, *(y for g in drawn for y in g["y"])]) - 0.03
    return {
        "axes": ("AUC over all fitting tiles", f"AUC in the worst {kind}"), "groups": drawn,
        "ranges": ([0.48, 1.02], [floor, 1]), "height": 440,
        "lines": [((0.5, 0.5), (1, 1)), ((0.5, 0.5), (1, 0.5))],
    }  # fmt: skip


def _classes(row: Row, auc: float, values: Any, reference: Any) -> dict[str, Any]:
    """Panel of a feature's values in both classes."""
    shares = curves.class_histogram(values, reference)
    worst = row.get("auc_worst")
    unit = f" ({row['unit']})" if row["unit"] not in {"", "1", "none"} else ""
    return {
        "label": f"{row['name']}, AUC {auc:.2f}" + ("" if worst is None else f" ({worst:.2f})"),
        "x": middles(shares["edges"]),
        "height": 230,
        "axes": (f"{row['name']}{unit}", "share of class"),
        "series": [
            {"name": "other pixels", "y": shares["other"], "colour": "other", "as": "area"},
            {"name": "landslide", "y": shares["landslide"], "colour": "landslide", "as": "area"},
        ],
    }


_COLUMNS: tuple[Column, ...] = (
    ("name", "feature", "text"), ("group", "text"), ("auc_seen", "AUC", "score"),
    ("auc_worst", "AUC, worst {}", "score"), ("worst_in", "worst in", "text"),
    ("best_f1", "best F1", "score"), ("side", "landslides are", "text"), ("unit", "text"),
    ("mean_landslide", "mean, landslide", "number"), ("mean_other", "mean, other", "number"),
    ("support_px", "support (px)", "count"), ("formula", "text"), ("source", "text"),
)  # fmt: skip


def _table(source: RunSource) -> dict[str, Any]:
    """Table of every feature."""
    kind = kind_of_place(source)
    elsewhere = () if kind is not None else ("auc_worst", "worst_in")
    columns = [(c[0], c[-2].format(kind), c[-1]) for c in _COLUMNS if c[0] not in elsewhere]
    shown = [{**r, "unit": None if r["unit"] == "1" else r["unit"]} for r in rows(source)]
    note = (
        "AUC: chance that a landslide pixel and another are told apart, 0.5 is a coin. Best F1: of "
        "one threshold on this feature alone, at the true share of landslides. Support: pixels "
        "that it reads to each side."
    )
    return table("Every feature", columns, shown, sortable=True, note=note)
