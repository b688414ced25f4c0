"""What each feature tells by itself: where it was looked at, and in places left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import curves, words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

TELLS = 0.55
"""AUC, either way, from which a feature tells anything by itself."""

WEAKER = 0.05
"""AUC lost in the worst place that is worth a word."""

CUT_MOVES = 0.7
"""F1 elsewhere over F1 here, below which the cut does not carry over."""

HISTOGRAMS = 12

NAMED = 5
"""Marks with a name in a figure: the strongest, and those that lose most."""

GROUP_COLOURS = (
    "fold0", "fold1", "fold2", "fold3", "fold4", "fold5", "fold6", "fold7", "other", "mean",
)  # fmt: skip

Row = dict[str, Any]


def rows(source: RunSource) -> list[Row]:
    """Every feature with its scores here and elsewhere, the strongest first.

    Returns
    -------
    list of dict
        The fields that the features stage wrote, and ``auc_seen`` (over all fitting tiles, 0.5
        to 1), ``side`` (whether landslides have the higher or the lower values), ``auc_unseen``
        (of the worst place, read from the side that the others say), ``lowest_in``,
        ``auc_step``, ``f1_unseen`` and ``holds``. Those of other places are None in a run that
        does not know them.
    """
    made = [{**r, **_told(r)} for r in source.summary("features").get("features", [])]
    return sorted(made, key=lambda r: -(r["auc_seen"] or 0.5))


def _told(row: Mapping[str, Any]) -> Row:
    auc, found = row.get("auc"), row.get("elsewhere") or {}
    seen = None if auc is None else max(auc, 1 - auc)
    unseen, f1 = found.get("auc_lowest"), found.get("best_f1")
    return {
        "auc_seen": seen,
        "side": None if auc is None else "higher" if auc >= 0.5 else "lower",
        "auc_unseen": unseen,
        "lowest_in": found.get("lowest_in"),
        "auc_spread": found.get("auc_spread"),
        "auc_step": None if seen is None or unseen is None else unseen - seen,
        "f1_unseen": f1,
        "holds": holds(seen, unseen, row.get("best_f1"), f1),
    }


def holds(
    auc: float | None, auc_elsewhere: float | None, f1: float | None, f1_elsewhere: float | None
) -> str | None:
    """Say in a word or two whether a feature tells the same elsewhere; None where unknown.

    ``turns round``: in some place landslides lie on the other side. ``weaker``: its ranking
    loses more than `WEAKER` there. ``order only``: it ranks as well, but the cut that was best in
    the other places finds less than `CUT_MOVES` of the F1, since the level has moved.
    """
    if auc is None or auc_elsewhere is None:
        return None
    if auc < TELLS:
        return "tells little"
    if auc_elsewhere < 0.5:
        return "turns round"
    if auc_elsewhere < auc - WEAKER:
        return "weaker"
    if f1 and f1_elsewhere is not None and f1_elsewhere < CUT_MOVES * f1:
        return "order only"
    return "yes"


def kind_of_place(source: RunSource) -> str | None:
    """``scene`` or ``fold``; None in a run that does not know its places."""
    places = source.summary("features").get("places") or {}
    return str(places["kind"]) if len(places.get("rows", [])) > 1 else None


def groups(source: RunSource) -> list[Row]:
    """Groups of features in their order: name, count, and the colour they have on this page."""
    counted: dict[str, int] = {}
    for r in source.summary("features").get("features", []):
        counted[r["group"]] = counted.get(r["group"], 0) + 1
    return [
        {"name": g, "count": n, "colour": GROUP_COLOURS[i % len(GROUP_COLOURS)]}
        for i, (g, n) in enumerate(counted.items())
    ]


def figures(
    source: RunSource, values: NDArray[np.float32] | None, truth: Any, corr: Any
) -> dict[str, Any]:
    """Make the two figures of here against elsewhere, and histograms of the telling features.

    Parameters
    ----------
    values : float32 array, shape (row, feature), or None
        The sample, in the order of the summary.
    truth : bool array, shape (row,)
    corr : float array, shape (feature, feature)
    """
    told, kind = rows(source), kind_of_place(source)
    made: dict[str, Any] = {}
    if kind is not None:
        shared = {"groups": groups(source), "kind": kind}
        made["carries"] = figure(
            "elsewhere",
            f"Order: AUC here and in the worst {kind}",
            f"One mark a feature. Across: its AUC over all fitting tiles. Up: that in the {kind} "
            f"where it is worst, read from the side that the other {kind}s say. On the diagonal "
            "it tells the same everywhere; below 0.5 landslides lie on the other side there.",
            {**shared, "what": "auc", "rows": _points(told, "auc_seen", "auc_unseen")},
        )
        made["cuts"] = figure(
            "elsewhere", f"Level: F1 of one cut here and in a {kind} left out",
            "The same for the F1 of one cut. Across: the best cut over all fitting tiles. Up: "
            f"every {kind} cut where the other {kind}s say. A feature that is high on the left "
            "figure and low here keeps its order but not its level: it needs to be made "
            "relative to its place.",
            {**shared, "what": "f1", "rows": _points(told, "best_f1", "f1_unseen")},
        )  # fmt: skip
    if values is None:
        return made
    summary = list(source.summary("features")["features"])
    known = {r["name"]: r for r in told}
    made["telling"] = figure(
        "classes", "The features that tell most, by class",
        "The less the two areas overlap, the more the feature tells by itself. Each area sums to "
        "one, so the rare landslides are as tall as the rest. Of features that say the same only "
        "one is shown."
        + (f" In brackets: AUC in the worst {kind}." if kind is not None else ""),
        [
            {
                "name": summary[i]["name"], "unit": summary[i]["unit"],
                "auc": words.sigfig(known[summary[i]["name"]]["auc_seen"]),
                "auc_unseen": words.sigfig(known[summary[i]["name"]]["auc_unseen"]),
                **curves.class_histogram(_finite(values[:, i]), truth),
            }
            for i in curves.telling(summary, corr, HISTOGRAMS)
        ],
    )  # fmt: skip
    return made


def _finite(column: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(column, posinf=0.0, neginf=0.0)


def _points(told: Sequence[Row], x: str, y: str) -> list[Row]:
    kept = [r for r in told if r.get(x) is not None and r.get(y) is not None]
    by_loss = sorted(kept, key=lambda r: r[y] - r[x])
    named = {r["name"] for r in [*sorted(kept, key=lambda r: -r[y])[:1], *by_loss[: NAMED - 1]]}
    return [
        {
            "name": r["name"], "group": r["group"], "x": words.sigfig(r[x]),
            "y": words.sigfig(r[y]), "where": r["lowest_in"], "holds": r["holds"],
            "named": r["name"] in named,
        }
        for r in kept
    ]  # fmt: skip


def feature_table(source: RunSource) -> dict[str, Any]:
    """Table of every feature; its ``groups`` become chips that filter the rows."""
    kind = kind_of_place(source)
    elsewhere: list[Column] = []
    note = (
        "AUC: chance that a landslide pixel and another are told apart, 0.5 is a coin; the side "
        "says whether landslides have the higher or the lower values. Best F1: of one cut on this "
        "feature alone, at the true share of landslides. "
    )
    if kind is not None:
        elsewhere = [
            ("auc_unseen", f"AUC, worst {kind}", "score"),
            ("auc_step", "difference", "gain"),
        ]
        note += (
            f"Seen is over all fitting tiles. Unseen reads each {kind} from the side, and cuts it "
            f"where the other {kind}s say. Holds elsewhere: weaker, more than {WEAKER} of AUC is "
            f"lost in the worst {kind}; order only, the ranking holds but its cut moves; turns "
            "round, landslides lie on the other side there. "
        )
    f1: list[Column] = [("best_f1", "best F1, seen" if kind else "best F1", "score")]
    more: list[Column] = []
    if kind is not None:
        f1 += [("f1_unseen", "F1, unseen", "score"), ("holds", "holds elsewhere?", "text")]
        more = [("lowest_in", "worst in", "text"), ("auc_spread", "AUC spread", "score")]
    columns: list[Column] = [
        ("name", "feature", "text"), ("group", "group", "group"),
        ("auc_seen", "AUC, seen" if kind else "AUC", "score"), *elsewhere, *f1,
        ("side", "landslides are", "text"), *more, ("unit", "unit", "text"),
        ("mean_landslide", "mean, landslide", "number"), ("mean_other", "mean, other", "number"),
        ("p01", "p1", "number"), ("p50", "median", "number"), ("p99", "p99", "number"),
        ("support_px", "support (px)", "count"), ("formula", "formula", "text"),
        ("source", "source", "text"),
    ]  # fmt: skip
    told = [{**r, "unit": None if r["unit"] == "1" else r["unit"]} for r in rows(source)]
    made = table(
        "Every feature and what it tells by itself", columns, told, sortable=True,
        note=note + "Press a heading to sort, a group to see it alone.",
    )  # fmt: skip
    found = groups(source)
    return {**made, "groups": found, "group_colours": {g["name"]: g["colour"] for g in found}}
