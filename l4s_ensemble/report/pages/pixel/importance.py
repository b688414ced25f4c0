"""What the pixel classifier looks at: contributions of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l4s_ensemble.report import curves
from l4s_ensemble.report.pages import features as features_tell
from l4s_ensemble.report.pieces import figure, ranked
from l4s_ensemble.report.source import RunSource

SWARM_FEATURES = 12
SWARM_ROWS = 500
"""Dots of a row of the beeswarm: more hide each other."""

TOP = 20
"""Features in a list of bars."""

ONE_WAY = 0.3
"""Correlation of value and contribution from which a feature has a direction."""


def colours(source: RunSource, names: Sequence[str]) -> dict[str, str]:
    """Colour of each group, the same as on the features page where that knows the group."""
    known = {g["name"]: g["colour"] for g in features_tell.groups(source)}
    spare = [c for c in features_tell.GROUP_COLOURS if c not in known.values()] or ["mean"]
    fresh = [n for n in dict.fromkeys(names) if n not in known]
    return known | {n: spare[i % len(spare)] for i, n in enumerate(fresh)}


def figures(source: RunSource) -> dict[str, Any]:
    """Contributions by feature, and of single pixels; those that the run has numbers for."""
    rows = source.summary("pixel").get("contribution") or []
    out: dict[str, Any] = {}
    if rows:
        out["contribution"] = ranked(
            "What moves the answer",
            "Mean size of what a feature adds to the log-odds of a pixel (exact SHAP values, each "
            "pixel by the model that never saw its tile), over the ground at its true share of "
            "landslide. An arrow says which values speak for a landslide: high ones (↑), low ones "
            "(↓), or none alone.",
            "mean |contribution|, log-odds",
            [{**r, "name": f"{r['name']}{_arrow(r.get('direction'))}"} for r in rows],
            "mean_abs", TOP,
        )  # fmt: skip
        out["contribution"]["data"]["colours"] = colours(source, [r["group"] for r in rows])
    found = source.arrays("pixel", "contributions.npz")
    if found is not None and {"values", "contributions", "names"} <= set(found):
        out["beeswarm"] = figure(
            "beeswarm",
            "In which direction a feature pushes",
            "Each dot is a pixel, half of them of landslides: to the right the feature pushes "
            "towards landslide, against the mean pixel of the ground. +0.7 doubles the odds. "
            "Colour is the feature's own value, from low to high among the sampled pixels.",
            _beeswarm(found, {r["name"]: r["group"] for r in rows}),
        )
    return out


def _arrow(direction: float | None) -> str:
    """Which values of a feature speak for a landslide."""
    if direction is None or abs(direction) < ONE_WAY:
        return ""
    return " ↑" if direction > 0 else " ↓"


def _beeswarm(found: Mapping[str, Any], groups: Mapping[str, str]) -> Any:
    """Contributions of the features that move most, with each value's rank among the rows."""
    size = np.abs(found["contributions"]).mean(axis=0)
    step = max(1, len(found["contributions"]) // SWARM_ROWS)
    rows = []
    for i in np.argsort(-size, kind="stable")[:SWARM_FEATURES]:
        value, push = found["values"][::step, i], found["contributions"][::step, i]
        rank = np.argsort(np.argsort(value, kind="stable")) / max(1, len(value) - 1)
        name = str(found["names"][i])
        rows.append(
            {
                "name": name,
                "group": groups.get(name, ""),
                "contribution": curves.plain(push, 3),
                "rank": curves.plain(rank, 2),
                "value": curves.plain(value, 3),
            }
        )
    return rows
