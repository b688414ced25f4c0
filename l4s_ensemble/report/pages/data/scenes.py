"""Scenes and folds on the data page."""

from __future__ import annotations

from typing import Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

MOST_MAPS = 8
"""Scenes with a mosaic of their own: those with most tiles."""


def largest_scenes(scene: Any, most: int = MOST_MAPS) -> list[int]:
    """Numbers of the scenes with most tiles, in order; tiles without a scene (-1) are left out."""
    numbers, tiles = np.unique(np.asarray(scene)[np.asarray(scene) >= 0], return_counts=True)
    order = np.argsort(-tiles, kind="stable")[:most]
    return sorted(int(numbers[i]) for i in order)


def folds(source: RunSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Section and tables of the folds and the scenes that they are made of."""
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
            ("prevalence", "landslide pixels, held out", "share"),
        ],
        summary["per_fold"],
        note="The eight neighbours of held tiles are the buffer: they train nothing in that "
        "fold and are scored in their own.",
    )  # fmt: skip
    text += f" Besides: {others}." if others else ""
    scenes = table(
        "Scenes of training",
        [
            ("scene", "scene", "count"), ("tiles", "tiles", "count"), ("rows", "rows", "count"),
            ("cols", "columns", "count"), ("fitted_tiles", "tiles fitted", "count"),
            ("prevalence", "landslide pixels", "share"),
        ],
        [s for s in summary["scenes"] if s["scene"] >= 0],
        note="A threshold chosen where landslides are common fits badly where they are rare.",
        sortable=True,
    )  # fmt: skip
    tables = {"folds": listed} | ({"scenes": scenes} if scenes["rows"] else {})
    return section("folds", "Folds", text, *tables), tables
