"""What is wrong with features, in one list: for the table and for the checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.features import alike as features_alike
from l4s_ensemble.report.pages.features import shift as features_shift
from l4s_ensemble.report.pages.features import tell as features_tell
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

NEARLY = 0.999
"""Share of the pixels that one value has, from which a feature is called constant."""

MOST_NAMED = 8
"""Features named in one alert."""

TELLING = 0.6
"""AUC, either way, from which it is worth an alert that a feature turns round."""

_MEANING = {
    "not finite": "a formula fails: leave it out",
    "constant": "it tells nothing here: leave it out",
    "duplicate": "one of the two can go",
    "turns round": "it misleads there",
    "shifted": "its level belongs to the place",
}


def not_finite(source: RunSource) -> list[tuple[str, int]]:
    """Features with sampled pixels that are not finite, and how many."""
    found = features_alike.sample(source)
    if found is None:
        return []
    bad = np.count_nonzero(~np.isfinite(found.values), axis=0)
    return [(n, int(b)) for n, b in zip(found.names, bad, strict=True) if b]


def constant(source: RunSource) -> list[tuple[str, float]]:
    """Features of which nearly all sampled pixels have one value, and their share."""
    found = features_alike.sample(source)
    if found is None:
        return []
    middle = np.median(np.nan_to_num(found.values), axis=0)
    total = float(found.weight.sum()) or 1.0
    shares = [
        float(found.weight[found.values[:, i] == m].sum()) / total for i, m in enumerate(middle)
    ]
    return [(n, s) for n, s in zip(found.names, shares, strict=True) if s >= NEARLY]


def turning(source: RunSource) -> list[dict[str, Any]]:
    """Telling features whose landslides lie on the other side in some place."""
    return [
        r for r in features_tell.rows(source)
        if r["holds"] == "turns round" and r["auc_seen"] >= TELLING
    ]  # fmt: skip


def alerts(source: RunSource) -> list[dict[str, Any]]:
    """All alerts, the gravest first: ``alert, where, n, features, meaning``.

    One row a kind and place; ``features`` names them with what was found, the worst first.
    """
    here = "fitting tiles"
    found: list[tuple[str, str, list[str]]] = [
        ("not finite", here, [f"{n} ({words.count(k)} px)" for n, k in not_finite(source)]),
        ("constant", here, [f"{n} ({words.share(s)})" for n, s in constant(source)]),
        (
            "duplicate", here,
            [f"{a} and {b} ({words.gain(rho)})" for a, b, rho in features_alike.copies(source)],
        ),
        (
            "turns round", "the place named",
            [
                f"{r['name']} ({words.score(r['auc_seen'])} over all, "
                f"{words.score(r['auc_unseen'])} in {r['lowest_in']})"
                for r in turning(source)
            ],
        ),
    ]  # fmt: skip
    for g in features_shift.groups(source):
        if g["kind"] == "fold":  # folds are small: they always differ a little
            continue
        moved = [f"{n} ({words.number(psi)})" for n, psi, _ in features_shift.far(g)]
        found.append(("shifted", f"{g['name']} against {g['versus']}", moved))
    return [
        {
            "alert": a,
            "where": w,
            "n": len(f),
            "features": words.some(f, MOST_NAMED),
            "meaning": _MEANING[a],
        }
        for a, w, f in found
        if f
    ]


def alerts_table(source: RunSource) -> dict[str, Any] | None:
    """Table of all alerts, None without any."""
    found = alerts(source)
    if not found:
        return None
    return table(
        "What to look at before a fit",
        [
            ("alert", "alert", "text"), ("where", "where", "text"), ("n", "features", "count"),
            ("features", "which, and how far", "text"), ("meaning", "what it means", "text"),
        ],
        found,
        note="In brackets: constant, share of the pixels that have one value; duplicate, rank "
        f"correlation beyond ±{features_alike.COPY}; shifted, population stability index beyond "
        f"{words.number(features_shift.FAR)}; turns round, AUC read from the side that the other "
        "places say.",
    )  # fmt: skip
