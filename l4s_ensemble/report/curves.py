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
        moved = abs(c["recall"][i] - c["recall"][keep[-1]]) + abs(
            c["precision"][i] - c["precision"][keep[-1]]
        )
        if moved >= PR_STEP:
            keep.append(i)
    predicted = np.flatnonzero(histogram.positive + histogram.negative)
    last = int(predicted[-1]) if len(predicted) else 0
    keep = [i for i in keep if i <= last]  # beyond, nothing is predicted and precision is a word
    k = min(histogram.bins - 1, round(threshold * histogram.bins))
    return {
        "recall": _list(c["recall"][keep]),
        "precision": _list(c["precision"][keep]),
        "threshold": _list(c["threshold"][keep]),
        "average_precision": histogram.average_precision(),
        "at": {
            "threshold": threshold,
            **{n: float(c[n][k]) for n in ("precision", "recall", "f1")},
        },
    }


def by_threshold(
    histogram: ScoreHistogram, threshold: float, plateau: tuple[float, float] | None = None
) -> dict[str, Any]:
    """F1, precision and recall at 200 thresholds, the plateau and the chosen one."""
    c = histogram.curve()
    step = max(1, histogram.bins // 200)
    best = histogram.best()
    low, high = plateau if plateau is not None else (best.plateau_low, best.plateau_high)
    thin = {n: _list(c[n][::step]) for n in ("threshold", "f1", "precision", "recall")}
    return {
        **thin,
        "chosen": sigfig(threshold),
        "best": best.value,
        "f1_best": sigfig(best.f1),
        "plateau": [low, high],
    }


def class_histogram(
    value: NDArray[np.float32], truth: NDArray[np.bool_], bins: int = 48
) -> dict[str, Any]:
    """Share of landslide pixels and of the others in equal bins between the outer half percents."""
    low, high = (float(v) for v in np.quantile(value.astype(np.float64), [0.005, 0.995]))
    if not high > low:
        high = low + 1.0
    edges = np.linspace(low, high, bins + 1)
    # In double precision: else the clipped ends fall beside the outer edges.
    inside = np.clip(value.astype(np.float64), low, high)
    shares = {}
    for name, part in (("landslide", inside[truth]), ("other", inside[~truth])):
        found, _ = np.histogram(part, edges)
        shares[name] = _list(found / max(1, len(part)))
    return {"edges": _list(edges), **shares}


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


def _list(values: NDArray[Any]) -> list[float]:
    return [float(f"{v:.4g}") for v in np.asarray(values, dtype=np.float64)]
