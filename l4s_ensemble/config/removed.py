"""Settings of earlier versions that are gone, and what replaced each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REMOVED: dict[str, str] = {
    "data.align_masks": "gone: moving masks gained nothing",
    "pixel.hard_share": "gone: look-alikes gained .0026 at four times the cost",
    "pixel.edge": "gone: it moved F1 by -.004 to +.0015",
    "pixel.edge_px": "gone with pixel.edge",
    "pixel.balance": "gone: scenes of equal weight gained nothing",
    "pixel.early_stop_rounds": "gone: pixel.trees is the number of trees",
    "pixel.early_stop_on": "gone with pixel.early_stop_rounds",
    "pixel.learning_curve": "gone: no curves are measured any more",
    "unet.adapt": "gone: --adapt brings the batch statistics to the split, nothing else",
}
"""Dotted name of the setting, or of a whole section, to what replaced it: one clause."""


def removed_in(values: Mapping[str, Any]) -> list[str]:
    """Say of each removed setting among nested `values` what replaced it."""
    return [f"{name} ({why})" for name, why in REMOVED.items() if _holds(values, name)]


def _holds(values: Mapping[str, Any], dotted: str) -> bool:
    *parents, last = dotted.split(".")
    node: Any = values
    for part in parents:
        node = node.get(part) if isinstance(node, Mapping) else None
    return isinstance(node, Mapping) and last in node
