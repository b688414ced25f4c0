"""What the pixel classifier looks at: gain, permutation, contributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l4s_ensemble.report import curves, words
from l4s_ensemble.report.pages.features import tell as features_tell
from l4s_ensemble.report.pieces import figure, ranked
from l4s_ensemble.report.source import RunSource

SWARM_FEATURES = 12
SWARM_ROWS = 500
"""Dots of a row of the beeswarm: more hide each other."""

TOP = 20
"""Features in a list of bars."""

_READ_LOSS = (
    "First: share of the training loss that the trees' splits remove. Second: what F1 on unseen "
    "tiles loses when the values are permuted between pixels, with the spread over the draws. "
    "The second counts: gain without a loss was learnt by heart or has a stand-in."
)


def colours(source: RunSource, names: Sequence[str]) -> dict[str, str]:
    """Colour of each group, the same as on the features page where that knows the group."""
    known = {g["name"]: g["colour"] for g in features_tell.groups(source)}
    spare = [c for c in features_tell.GROUP_COLOURS if c not in known.values()] or ["mean"]
    fresh = [n for n in dict.fromkeys(names) if n not in known]
    return known | {n: spare[i % len(spare)] for i, n in enumerate(fresh)}


def figures(source: RunSource) -> dict[str, Any]:
    """All figures of importance that the run has numbers for."""
    summary = source.summary("pixel")
    gain, lost = summary.get("gain") or [], summary.get("importance") or {}
    colour = colours(source, [g["group"] for g in gain])
    out: dict[str, Any] = {}
    if lost.get("groups"):
        out["importance_groups"] = figure(
            "importance",
            "What each group of features is worth",
            f"{_READ_LOSS} Groups go together, so what only one of them knows is seen here.",
            _compared(lost["groups"], "group", _summed(gain), colour, lost),
        )
    if lost.get("features"):
        share = {g["name"]: g["share"] for g in gain}
        out["importance_features"] = figure(
            "importance",
            "What single features are worth",
            f"{_READ_LOSS} Features that say the same stand in for each other: each alone seems "
            "to matter little.",
            _compared(lost["features"], "name", share, colour, lost),
        )
    if gain:
        out["gain"] = ranked(
            "Where the trees cut",
            "Share of the loss that all splits on a feature remove. Of two features that say the "
            "same, one may take it all.",
            "share of gain", gain, "share", TOP,
        )  # fmt: skip
    if summary.get("contribution"):
        out["contribution"] = ranked(
            "What moves the answer",
            "Mean size of what a feature adds to the log-odds of a pixel (exact TreeSHAP, each "
            "pixel by the model that never saw its tile).",
            "mean |contribution|, log-odds", summary["contribution"], "mean_abs", TOP,
        )  # fmt: skip
    for key in ("gain", "contribution"):
        if key in out:
            out[key]["data"]["colours"] = colour
    found = source.arrays("pixel", "contributions.npz")
    if found is not None and {"values", "contributions", "names"} <= set(found):
        out["beeswarm"] = figure(
            "beeswarm",
            "In which direction a feature pushes",
            "Each dot is a pixel: to the right the feature pushes towards landslide. +0.7 doubles "
            "the odds. Colour is the feature's own value, from low to high among the sampled "
            "pixels.",
            _beeswarm(found, {g["name"]: g["group"] for g in gain}),
        )
    return out


def _summed(gain: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Gain of each group."""
    out: dict[str, float] = {}
    for g in gain:
        out[g["group"]] = out.get(g["group"], 0.0) + g["share"]
    return out


def _compared(
    rows: Sequence[Mapping[str, Any]],
    key: str,
    share: Mapping[str, float],
    colour: Mapping[str, str],
    lost: Mapping[str, Any],
) -> dict[str, Any]:
    kept = [
        {
            "name": r[key],
            "group": r["group"],
            "features": r.get("features"),
            "gain": share.get(r[key]),
            **{
                k: r.get(k)
                for k in (
                    "f1_loss",
                    "f1_loss_sd",
                    "average_precision_loss",
                    "average_precision_loss_sd",
                )
            },
        }
        for r in rows
    ]
    return {
        "rows": words.sigfig(kept),
        "colours": dict(colour),
        "f1": words.sigfig(lost.get("f1")),
        "sampled": lost.get("rows"),
        "repeats": lost.get("repeats"),
    }


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
