"""Learning curves: whether more trees would help, and whether more tiles would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource

RISING = 0.01
"""F1 that the last doubling of the tiles must bring to be called rising."""

TREES_MOVE = 0.005
"""F1 that the last trees must bring or cost to be worth a word."""


def figures(source: RunSource) -> dict[str, Any]:
    """Curves in trees and in tiles, as far as the run has them."""
    found = source.summary("pixel").get("learning_curve") or {}
    out: dict[str, Any] = {}
    if found.get("trees"):
        out["learning_trees"] = figure(
            "learning_trees",
            "Would more trees help?",
            "The model cut short after so many trees, scored on tiles that it did not see "
            "(shaded: least and greatest fold) and on tiles that it was fitted on. A flat end "
            "says no; the gap between the lines is what was learnt by heart. Each point has the "
            "threshold that is best for it.",
            words.sigfig(found["trees"]),
        )
    patches = found.get("patches") or {}
    if patches.get("points"):
        thinned = patches.get("rows_share", 1.0)
        of_rows = f" and {words.share(thinned)} of the rows" if thinned < 1 else ""
        out["learning_patches"] = figure(
            "learning_patches",
            "Would more tiles help?",
            f"Fold {patches['fold']} fitted again with {patches['trees']} trees{of_rows} on a part "
            "of its tiles, in whole spatial blocks, and scored on the tiles held out. Lines span "
            "fits on different tiles. Look at the slope: still rising at the end, more labelled "
            "tiles would help.",
            words.sigfig(patches),
        )
    return out


def last_doubling(source: RunSource) -> Mapping[str, Any] | None:
    """F1 on about half of the tiles and on all; None in a run without the curve.

    Returns
    -------
    mapping or None
        ``tiles_half, tiles, f1_half, f1_half_high, f1, rise, rising``.
    """
    curve = source.summary("pixel").get("learning_curve") or {}
    points = (curve.get("patches") or {}).get("points") or []
    if len(points) < 2:
        return None
    half, whole = points[-2], points[-1]
    rise = whole["f1"] - half["f1"]
    return {
        "tiles_half": half["tiles"], "tiles": whole["tiles"], "f1_half": half["f1"],
        "f1_half_high": half["f1_high"], "f1": whole["f1"], "rise": rise,
        # A part of the tiles that does as well as all of them speaks against a rise.
        "rising": rise >= RISING and whole["f1"] > half["f1_high"],
    }  # fmt: skip
