"""Scenes and folds on the data page."""

from __future__ import annotations

from typing import Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

MOST_SCENES = 24
"""Scenes in the figure of prevalence."""

MOST_MAPS = 8
"""Scenes with a mosaic of their own: those with most tiles."""


def largest_scenes(scene: Any, most: int = MOST_MAPS) -> list[int]:
    """Numbers of the scenes with most tiles, in order; tiles without a scene (-1) are left out."""
    numbers, tiles = np.unique(np.asarray(scene)[np.asarray(scene) >= 0], return_counts=True)
    order = np.argsort(-tiles, kind="stable")[:most]
    return sorted(int(numbers[i]) for i in order)


def prevalence_rows(source: RunSource) -> list[dict[str, Any]]:
    """Share of landslide pixels by split, scene and fold: name, group, tiles, value (0 to 1)."""
    rows = []
    for split in source.splits:
        d = source.summary(f"data/{split}")
        if d.get("masks") and d.get("prevalence") is not None:
            rows.append({"name": split, "group": "split", "tiles": d["patches"],
                         "value": d["prevalence"]})  # fmt: skip
    told = source.summary("scenes")
    scenes = [s for s in told.get("scenes", []) if s["scene"] >= 0]
    scenes = sorted(scenes, key=lambda s: -s["tiles"])[:MOST_SCENES]
    named = [(f"scene {s['scene']}", "scene", s) for s in sorted(scenes, key=lambda s: s["scene"])]
    named += [(f"fold {f['fold']}", "fold", f) for f in told.get("per_fold", [])]
    return rows + [
        {"name": name, "group": group, "tiles": d["tiles"], "value": d["prevalence"]}
        for name, group, d in named
    ]


def prevalence(source: RunSource) -> dict[str, Any]:
    """Figure of prevalence, if anything has masks."""
    rows = prevalence_rows(source)
    if not rows:
        return {}
    shown = [{**r, "value": words.sigfig(100 * r["value"])} for r in rows]
    return {
        "prevalence": figure(
            "bars", "How much of the ground is landslide, by split, scene and fold",
            "Scenes may differ: a threshold chosen on one then fits another badly. Folds should be "
            "about equal, for they are balanced in landslide pixels.",
            {"axis": "landslide pixels (% of all pixels)", "rows": shown},
        )
    }  # fmt: skip


def folds(source: RunSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Section and table of the folds."""
    summary = source.summary("scenes")
    roles = dict(summary["roles"])
    fitted = words.plural(roles.pop("fit"), "tile")
    text = f"{summary['folds']} spatial folds over {fitted}; "
    text += (
        "the places of the tiles are not known, so neighbours may be on both sides of a fold."
        if summary["grid"] == "none"
        else f"places are known from the {summary['grid']} grid."
    )
    others = ", ".join(f"{words.plural(n, 'tile')} {r}" for r, n in roles.items() if n)
    listed = table(
        "Folds",
        [
            ("fold", "fold", "count"), ("train_tiles", "tiles fitted", "count"),
            ("tiles", "tiles held out", "count"), ("buffer_tiles", "tiles in the buffer", "count"),
        ],
        summary["per_fold"],
        note="The eight neighbours of held tiles are the buffer: they train nothing in that "
        "fold and are scored in their own.",
    )  # fmt: skip
    text += f" Besides: {others}." if others else ""
    return section("folds", "Folds", text, "folds"), {"folds": listed}
