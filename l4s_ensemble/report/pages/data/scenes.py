"""Scenes and folds on the data page: prevalence and the map of folds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.figures.makers import ROLES
from l4s_ensemble.report.pieces import figure, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

MOST_SCENES = 24
"""Scenes in the figure of prevalence."""

MOST_MAPS = 8
"""Scenes with a map of folds and a mosaic of their own: those with most tiles."""


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


def folds(source: RunSource) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Section, figures and table of the folds."""
    from l4s_ensemble.scenes.folds import load_folds

    folds = load_folds(source["scenes"].folder)
    figures = {}
    for scene in np.unique(folds.scene):
        here = folds.scene == scene
        known = bool(scene >= 0 and (folds.row[here] >= 0).all())
        if not known:
            continue
        figures[f"folds_{scene}"] = figure(
            "foldmap",
            f"Scene {scene}: which tile is held out in which fold",
            "Every square is a tile where it lies on the ground. Tiles of one colour are scored "
            "together by models that saw neither them nor the tiles that touch them.",
            _fold_map(folds, here),
        )
    rows = []
    for k in range(folds.n_folds):
        held = folds.held_ids(k)
        rows.append(
            {
                "fold": k,
                "held": len(held),
                "train": len(folds.train_ids(k)),
                "buffer": len(folds.buffer_ids(k)),
                "scenes": sorted({int(s) for s in folds.scene[folds.fold == k] if s >= 0}),
            }
        )
    tables = {
        "folds": table(
            "Folds",
            [
                ("fold", "fold", "count"), ("train", "tiles fitted", "count"),
                ("held", "tiles held out", "count"), ("buffer", "tiles in the buffer", "count"),
                ("scenes", "held in scenes", "text"),
            ],
            rows,
            note="The eight neighbours of held tiles are the buffer: they train nothing in that "
            "fold and are scored in their own.",
        )
    }  # fmt: skip
    counts = {r: int((folds.role == r).sum()) for r in ROLES}
    told = ", ".join(f"{words.plural(n, 'tile')} {r}" for r, n in counts.items() if n)
    text = (
        f"{folds.n_folds} spatial folds over "
        f"{words.plural(int((folds.role == 'fit').sum()), 'tile')}; "
        f"places are known from the {folds.grid} grid."
        if folds.grid != "none"
        else f"{folds.n_folds} folds; nobody knows where the tiles lie, so neighbours may be on "
        f"both "
        "sides of a fold."
    ) + (f" Besides: {told}." if told else "")
    return section("folds", "Folds", text, *figures, "folds"), figures, tables


def _fold_map(folds: Folds, here: Any) -> dict[str, Any]:
    """Codes of one scene's cells: -1 no tile, k fold k, then holdout, guard, degenerate."""
    row, col = folds.row[here], folds.col[here]
    first = (int(row.min()), int(col.min()))
    code = np.full((int(np.ptp(row)) + 1, int(np.ptp(col)) + 1), -1)
    patch = np.full(code.shape, -1)
    special = {r: folds.n_folds + i for i, r in enumerate(ROLES)}
    at = (row - first[0], col - first[1])
    code[at] = [
        special.get(str(r), int(f)) for r, f in zip(folds.role[here], folds.fold[here], strict=True)
    ]
    patch[at] = folds.patch[here]
    return {
        "n_folds": folds.n_folds,
        "first_row": first[0],
        "first_col": first[1],
        "code": code.tolist(),
        "patch": patch.tolist(),
    }
