"""What a threshold is worth where landslides are rarer or commoner than in training.

The scores of each class are taken to stay as they are; only how many pixels each class has changes
(label shift). Landslide pixels are weighted so that their share becomes the wanted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram

FACTORS = (0.5, 1.0, 2.0)

PLATEAU = 0.01
"""F1 within a point of the best, as `ScoreHistogram.best` has it."""


def rows(
    histogram: ScoreHistogram, threshold: float, factors: Sequence[float] = FACTORS
) -> list[dict[str, Any]]:
    """Score a threshold at other prevalences.

    Parameters
    ----------
    histogram : ScoreHistogram
        Out-of-fold probabilities by class.
    threshold : float
        The chosen one; rounded to the edge of a bin.
    factors : sequence of float
        What the prevalence is multiplied by.

    Returns
    -------
    list of dict
        ``factor, prevalence, threshold, f1, threshold_best, f1_best, lost`` (f1_best - f1),
        ``plateau_low, plateau_high`` (thresholds within a point of the best). A factor that would
        leave no other pixel is left out.
    """
    positive, negative = float(histogram.positive.sum()), float(histogram.negative.sum())
    if positive == 0 or negative == 0:
        return []
    now = positive / (positive + negative)
    chosen = min(round(threshold * histogram.bins), histogram.bins - 1)
    out = []
    for factor in factors:
        prevalence = factor * now
        if not 0 < prevalence < 1:
            continue
        f1 = f1_curve(histogram, weight_of(now, prevalence))
        best = int(np.argmax(f1))
        low, high = plateau(f1, best)
        out.append(
            {
                "factor": float(factor),
                "prevalence": prevalence,
                "threshold": threshold,
                "f1": float(f1[chosen]),
                "threshold_best": best / histogram.bins,
                "f1_best": float(f1[best]),
                "lost": float(f1[best] - f1[chosen]),
                "plateau_low": low / histogram.bins,
                "plateau_high": high / histogram.bins,
            }
        )
    return out


def weight_of(now: float, wanted: float) -> float:
    """Weight of a landslide pixel that turns one prevalence into another."""
    return wanted * (1 - now) / (now * (1 - wanted))


def f1_curve(histogram: ScoreHistogram, weight: float = 1.0) -> NDArray[np.float64]:
    """Pooled F1 at every threshold, landslide pixels weighted, shape (bins,)."""
    tp = weight * histogram.positive[::-1].cumsum()[::-1]
    fp = histogram.negative[::-1].cumsum()[::-1]
    below = weight * float(histogram.positive.sum()) + tp + fp
    return np.asarray(np.where(below > 0, 2 * tp / np.maximum(below, 1e-300), 0.0))


def plateau(f1: NDArray[np.float64], best: int) -> tuple[int, int]:
    """Bins around the best one whose F1 stays within a point of it."""
    bad = np.flatnonzero(f1 < f1[best] - PLATEAU)
    below, above = bad[bad < best], bad[bad > best]
    low = int(below[-1]) + 1 if len(below) else 0
    high = int(above[0]) - 1 if len(above) else len(f1) - 1
    return low, high
