"""The numbers behind the figures, thinned so that a page stays small."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report.words import sigfig

PR_STEP = 1 / 160
"""Points of a precision-recall curve lie at least this far apart."""


def precision_recall(histogram: ScoreHistogram, threshold: float) -> dict[str, Any]:
    """Thinned curve and the point at `threshold`."""
    c = histogram.curve()
    keep = [0]
    for i in range(1, histogram.bins):
        moved = sum(abs(c[k][i] - c[k][keep[-1]]) for k in ("recall", "precision"))
        if moved >= PR_STEP:
            keep.append(i)
    predicted = np.flatnonzero(histogram.positive + histogram.negative)
    last = int(predicted[-1]) if len(predicted) else 0
    keep = [i for i in keep if i <= last]  # beyond, nothing is predicted and precision is a word
    k = min(histogram.bins - 1, round(threshold * histogram.bins))
    return {
        **{k: plain(c[k][keep]) for k in ("recall", "precision", "threshold")},
        "average_precision": histogram.average_precision(),
        "at": {
            "threshold": threshold,
            **{n: float(c[n][k]) for n in ("precision", "recall", "f1")},
        },
    }


def class_histogram(
    value: NDArray[np.float32], reference: NDArray[np.bool_], bins: int = 48
) -> dict[str, Any]:
    """Share of landslide pixels and of the others in equal bins between the outer half percents."""
    low, high = (float(v) for v in np.quantile(value.astype(np.float64), [0.005, 0.995]))
    if not high > low:
        high = low + 1.0
    edges = np.linspace(low, high, bins + 1)
    # In double precision: else the clipped ends fall beside the outer edges.
    inside = np.clip(value.astype(np.float64), low, high)
    shares = {}
    for name, part in (("landslide", inside[reference]), ("other", inside[~reference])):
        found, _ = np.histogram(part, edges)
        shares[name] = plain(found / max(1, len(part)))
    return {"edges": plain(edges), **shares}


def plain(values: Any, digits: int = 4) -> list[Any]:
    """Array to nested lists, rounded; NaN becomes None."""
    array = np.asarray(values)
    listed: list[Any] = array.tolist()
    if array.dtype.kind != "f":
        return listed
    if not np.isfinite(array).all():
        boxed = array.astype(object)
        boxed[~np.isfinite(array)] = None
        listed = boxed.tolist()
    out: list[Any] = sigfig(listed, digits)
    return out
