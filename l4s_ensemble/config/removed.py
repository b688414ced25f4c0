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
    "unet.adapt": "gone: predict takes batch statistics of the images, unless --no-adapt",
    "unet.norm": "gone: no gain shown; norms are batch norms",
    "unet.deep_supervision": "gone: no gain shown",
    "unet.indices": "gone: -.34 F1 on a scene never seen",
    "unet.light": "gone: with unet.level=scene .22 F1 on a scene never seen, .59 without",
    "unet.level": "gone: see unet.light",
    "unet.neighbours": "gone with unet.shift_px and unet.halo_px: a network sees its tile alone",
    "unet.drop_neighbours": "gone with unet.neighbours",
    "unet.shift_px": "gone: it gained nothing (-.002)",
    "unet.halo_px": "gone: it gained nothing (+.002)",
    "unet.landslide_share": "gone: no gain shown",
    "unet.checkpoint": "gone: the network at the end is kept",
    "unet.jitter_scene": "gone: no gain shown; see unet.jitter_gain and unet.jitter_band",
    "unet.cut_mix": "gone: it gained nothing (-.000)",
    "unet.upsample": "gone: done where an encoder begins with a stride and loses detail",
    "unet.label_smoothing": "gone: no configuration set it",
    "unet.band_dropout": "gone: no configuration set it",
    "unet.tta": "unet.symmetries",
    "unet.explain": "report.occlusion",
    "stack.candidates": "gone: the plain and the weighted mean are compared",
    "stack.objective": "gone with the logistic learner",
    "stack.windows_px": "gone: neighbourhood inputs gained nothing",
    "stack.l2": "gone: it moved nothing",
    "stack.trees": "gone: a mean of both models was always chosen",
    "stack.leaves": "gone with stack.trees",
    "stack.epochs": "gone with the convolution",
    "stack.rows_max": "gone: three numbers need no more than 300,000 pixels",
    "stack.follow": "stack.adapt_threshold (true for unlike)",
    "pixel.rim_share": "pixel.boundary_share",
    "stack.bins": "gone: histograms of probability have 1000 bins",
    "stack.resamples": "gone: intervals rest on 1000 resamples",
}
"""Dotted name of the setting, or of a whole section, to what replaced it: one clause."""


def removed_in(values: Mapping[str, Any]) -> list[str]:
    """List the removed settings among nested `values`, each with its replacement."""
    return [f"{name} ({why})" for name, why in REMOVED.items() if _holds(values, name)]


def _holds(values: Mapping[str, Any], dotted: str) -> bool:
    *parents, last = dotted.split(".")
    node: Any = values
    for part in parents:
        node = node.get(part) if isinstance(node, Mapping) else None
    return isinstance(node, Mapping) and last in node
