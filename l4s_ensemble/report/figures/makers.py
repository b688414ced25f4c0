"""Plotly figures from the numbers in a page's summary.

A figure is described by its kind and its data (see `pieces.figure`); here it becomes a plain
plotly dict. Colours are names like ``@pixel``: the page's script replaces them by the theme's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from l4s_ensemble.report.figures import data as figures_data
from l4s_ensemble.report.figures import failures as figures_failures
from l4s_ensemble.report.figures import features as figures_features
from l4s_ensemble.report.figures import pixel as figures_pixel
from l4s_ensemble.report.figures import scores as figures_scores
from l4s_ensemble.report.figures import stack as figures_stack
from l4s_ensemble.report.figures import unet as figures_unet
from l4s_ensemble.report.figures.base import Plot

MAKERS: dict[str, Callable[[Any], Plot]] = {
    "pr": figures_scores.pr,
    "threshold": figures_scores.threshold,
    "reliability": figures_scores.reliability,
    "progress": figures_unet.progress,
    "logits": figures_unet.logits,
    "occlusion": figures_unet.occlusion,
    "agreement": figures_scores.agreement,
    "intervals": figures_stack.intervals,
    "slides_by_size": figures_stack.slides_by_size,
    "risk": figures_stack.risk,
    "seen_unseen": figures_stack.seen_unseen,
    "by_size": figures_scores.by_size,
    "likeness": figures_scores.likeness,
    "bars": figures_features.bars,
    "beeswarm": figures_features.beeswarm,
    "classes": figures_features.classes,
    "elsewhere": figures_features.elsewhere,
    "threshold_half": figures_pixel.threshold_half,
    "corrections": figures_pixel.corrections,
    "failures": figures_failures.failures,
    "failure_sizes": figures_failures.failure_sizes,
    "failure_f1": figures_failures.failure_f1,
    "foldmap": figures_data.foldmap,
    "sizes": figures_data.sizes,
    "ranges": figures_data.ranges,
    "shift": figures_data.shift,
}
"""Kinds of figures."""


def plot(spec: Mapping[str, Any]) -> Plot:
    """Make the plotly dicts of a described figure.

    Returns
    -------
    dict
        ``plots`` (each with ``label``, ``data``, ``layout``; several stand side by side),
        ``legend`` (label and colour of what plotly's own legend does not say), ``wide`` and
        ``few`` (at most three side by side).
    """
    made = MAKERS[spec["kind"]](spec["data"])
    return {"wide": False, "few": False, "legend": [], **made}
