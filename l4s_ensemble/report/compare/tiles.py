"""Tiles that one run has better than the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.compare.pairing import Pairing, aligned, title
from l4s_ensemble.report.compare.sides import Side
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.table import table

LISTED = 10
"""Tiles in a table of those won or lost."""


def contest(a: Side, b: Side, pairing: Pairing, model: str) -> dict[str, Any] | None:
    """Wrong pixels of each paired tile in both runs.

    Returns
    -------
    dict or None
        ``model, place, patch, errors_a, errors_b, f1_a, f1_b, real`` (landslide pixels), ``scene,
        row, col`` (-1 unknown), each a list over tiles, and the numbers ``won, lost, equal,
        won_px, lost_px, half`` (tiles that make half of what was won). None without counts.
    """
    one, other = aligned(a, pairing, model), aligned(b, pairing, model)
    if one is None or other is None or not len(pairing.ids):
        return None
    errors_a, errors_b = one.fp + one.fn, other.fp + other.fn
    better = errors_a - errors_b  # pixels that B has right and A has wrong
    gains = np.sort(better[better > 0])[::-1]
    half = int(np.searchsorted(gains.cumsum(), gains.sum() / 2) + 1) if len(gains) else 0
    return {
        "model": model,
        "place": pairing.place,
        "patch": pairing.ids.tolist(),
        "errors_a": errors_a.tolist(),
        "errors_b": errors_b.tolist(),
        "f1_a": _f1(one.tp, errors_a),
        "f1_b": _f1(other.tp, errors_b),
        "real": (one.tp + one.fn).tolist(),
        **_places(a, b, pairing),
        "won": int((better > 0).sum()),
        "lost": int((better < 0).sum()),
        "equal": int((better == 0).sum()),
        "won_px": int(better[better > 0].sum()),
        "lost_px": int(-better[better < 0].sum()),
        "half": half,
    }


def sentence(c: dict[str, Any]) -> str:
    """Say how many tiles were won and lost, and by how much."""
    model = MODEL_NAMES[c["model"]]
    if not c["won"] and not c["lost"]:
        return f"The {model} has as many wrong pixels in both runs on every tile."
    net = c["won_px"] - c["lost_px"]
    made = "fewer" if net >= 0 else "more"
    out = (
        f"With the {model} B has fewer wrong pixels than A on {words.plural(c['won'], 'tile')}, "
        f"more on {c['lost']:,}, as many on {c['equal']:,}: {c['won_px']:,} pixels won, "
        f"{c['lost_px']:,} lost, {abs(net):,} {made} wrong in all."
    )
    if c["won"]:
        out += f" Half of what was won comes from {words.plural(c['half'], 'tile')}."
    return out


def figures(c: dict[str, Any]) -> dict[str, Any]:
    """Scatter of wrong pixels, and maps of where tiles were won and lost."""
    out = {
        f"errors_{c['place']}": figure(
            "compare_errors",
            f"What each tile gained or lost, {title(c['place']).lower()}",
            "Each dot is a tile, its size the landslide in it. Above zero B has fewer wrong "
            "pixels, below it A. Both axes run in steps of ten; to the right stand the tiles that "
            "weigh most in the pooled F1.",
            {k: c[k] for k in ("patch", "errors_a", "errors_b", "real")},
        )
    }
    better = np.array(c["errors_a"]) - np.array(c["errors_b"])
    scene, row, col = (np.array(c[k]) for k in ("scene", "row", "col"))
    top = float(np.quantile(np.abs(better), 0.98)) or 1.0
    for s in np.unique(scene[(scene >= 0) & (row >= 0)]):
        at = (scene == s) & (row >= 0)
        r, k = row[at], col[at]
        grid = np.full((np.ptp(r) + 1, np.ptp(k) + 1), np.nan)
        if len(r) < 9 or min(grid.shape) < 2:
            continue  # too small for a map to say anything
        ids = np.zeros(grid.shape, np.int64)
        grid[r - r.min(), k - k.min()] = better[at]
        ids[r - r.min(), k - k.min()] = np.array(c["patch"])[at]
        out[f"where_{c['place']}_{s}"] = figure(
            "compare_where",
            f"Where tiles were won and lost, {title(c['place']).lower()}, scene {s}",
            "Each square is a tile in its place: green where B has fewer wrong pixels, orange "
            "where it has more. Where neighbours share a colour the ground may be the reason.",
            {
                "better": [[None if np.isnan(v) else int(v) for v in line] for line in grid],
                "patch": ids.tolist(), "first_row": int(r.min()), "first_col": int(k.min()),
                "top": top,
            },
        )  # fmt: skip
    return out


def tables(c: dict[str, Any]) -> dict[str, Any]:
    """Tables of the tiles won and lost by most pixels."""
    out = {}
    for name, sign, word in (("won", 1, "won by B"), ("lost", -1, "lost by B")):
        out[f"{name}_{c['place']}"] = table(
            f"Tiles {word}, the largest differences first",
            [("patch", "tile", "text"), ("where", "scene, row, column", "text"),
             ("real", "landslide pixels", "count"), ("errors_a", "wrong pixels of A", "count"),
             ("errors_b", "wrong pixels of B", "count"), ("better", "fewer in B", "count"),
             ("f1_a", "F1 of A", "score"), ("f1_b", "F1 of B", "score")],
            [tile(c, i) for i in chosen(c, sign, LISTED)],
            note="F1 of a tile without a landslide is a dash.", sortable=True,
        )  # fmt: skip
    return out


def chosen(c: dict[str, Any], sign: int, n: int) -> list[int]:
    """Positions of the tiles with the largest difference: won (`sign` 1) or lost (-1)."""
    better = sign * (np.array(c["errors_a"]) - np.array(c["errors_b"]))
    order = np.argsort(-better, kind="stable")[:n]
    return [int(i) for i in order if better[i] > 0]


def tile(c: dict[str, Any], i: int) -> dict[str, Any]:
    """Row of one tile."""
    place = [c[k][i] for k in ("scene", "row", "col")]
    return {
        **{k: c[k][i] for k in ("patch", "errors_a", "errors_b", "f1_a", "f1_b", "real")},
        "better": c["errors_a"][i] - c["errors_b"][i],
        "where": ", ".join(str(v) for v in place) if min(place) >= 0 else None,
    }


def _f1(tp: NDArray[np.int64], errors: NDArray[np.int64]) -> list[float | None]:
    below = 2 * tp + errors
    return [
        words.sigfig(2 * float(t) / float(n)) if n else None for t, n in zip(tp, below, strict=True)
    ]


def _places(a: Side, b: Side, pairing: Pairing) -> dict[str, list[int]]:
    """Scene, row and column of the paired tiles, from whichever run knows them."""
    for side in (b, a):
        stage = side.source.data_stage(pairing.place)
        if stage == "data/train" and "scenes" in side.source:
            from l4s_ensemble.scenes.folds import load_folds

            folds = load_folds(side.source["scenes"].folder)
            return {k: folds.of(pairing.ids, k).tolist() for k in ("scene", "row", "col")}
        if stage in side.source:
            found = side.source.store(pairing.place).sel(patch=pairing.ids)
            return {k: found[k].values.tolist() for k in ("scene", "row", "col")}
    return {k: [-1] * len(pairing.ids) for k in ("scene", "row", "col")}
