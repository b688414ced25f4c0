"""Scenes and folds on the data page: prevalence, registration of masks, the map of folds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.figures.data import ROLES
from l4s_ensemble.report.pieces import figure, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

MOST_SCENES = 24
"""Scenes in the figure of prevalence."""

MOST_MAPS = 8
"""Scenes with a map of folds, a mosaic and a registration of their own: those with most tiles."""


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


def registration(source: RunSource) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """Sentence, figure and table of how far the masks lie beside the image."""
    found = source.summary("scenes").get("registration") or []
    if not found:
        return "", {}, None
    looked = [r for r in found if r["tiles"]]
    sizes = {s["scene"]: s["tiles"] for s in source.summary("scenes").get("scenes", [])}
    drawn = [r for r in looked if r.get("curve")]
    drawn = sorted(drawn, key=lambda r: -sizes.get(r["scene"], 0))[:MOST_MAPS]
    figures = {}
    if drawn:
        figures["registration"] = figure(
            "registration", "Where the masks of each scene fit the image best",
            "Every cell is a shift of the masks in whole pixels; lighter fits better (σ: contrast "
            "inside the masks in deviations; F1: that of out-of-fold scores). The ring is "
            "the best and the cross is where they lie now. One bright spot is a sure answer, a "
            "broad glow is not.",
            [
                {k: r[k] for k in ("scene", "dy", "dx", "confidence", "source", "curve")}
                for r in sorted(drawn, key=lambda r: r["scene"])
            ],
        )  # fmt: skip
    rows = [{**r, "scene_name": _scene_name(r["scene"]), "told": shift_words(r)} for r in found]
    made = table(
        "Registration of the masks, scene by scene",
        [
            ("scene_name", "scene", "text"), ("told", "masks would have to move", "text"),
            ("dy_px", "rows down (px)", "signed"), ("dx_px", "columns right (px)", "signed"),
            ("confidence", "confidence", "score"), ("sure", "sure", "text"),
            ("source", "seen in", "text"), ("tiles", "tiles looked at", "count"),
        ],
        rows,
        note="Confidence is the share of resamples of spatial blocks in which the best shift stays "
        "the same; from 0.95 it is sure. 0 means that there is no peak within 3 pixels.",
    )  # fmt: skip
    moved = [r for r in found if r.get("sure") and (r["dy"] or r["dx"])]
    told = "; ".join(f"{_scene_name(r['scene'])}: {shift_words(r)}" for r in moved)
    aligned = source.config.data.align_masks
    text = (
        f"Surely shifted, {told}. Training masks {'are' if aligned else 'are not'} moved by it "
        "(data.align_masks)."
        if moved
        else "No scene's masks are surely shifted against their image."
    )
    return text, figures, made


def shift_words(r: dict[str, Any]) -> str:
    """Say a shift in whole pixels: ``1 px down, 2 px left``."""
    if not r["confidence"]:
        return "unknown"
    parts = []
    if r["dy"]:
        parts.append(f"{abs(r['dy'])} px {'down' if r['dy'] > 0 else 'up'}")
    if r["dx"]:
        parts.append(f"{abs(r['dx'])} px {'right' if r['dx'] > 0 else 'left'}")
    return ", ".join(parts) or "not at all"


def _scene_name(scene: int) -> str:
    return f"scene {scene}" if scene >= 0 else "no known place"


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
