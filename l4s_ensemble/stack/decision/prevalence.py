"""F1 at every threshold where landslides are rarer or commoner than in the scores (label shift).

The scores of each class are taken to stay as they are; landslide pixels are weighted so that
their share becomes the wanted one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram


def weight_of(now: float, wanted: float) -> float:
    """Weight of a landslide pixel that turns one prevalence into another."""
    return wanted * (1 - now) / (now * (1 - wanted))


def f1_curve(histogram: ScoreHistogram, weight: float = 1.0) -> NDArray[np.float64]:
    """Pooled F1 at every threshold, landslide pixels weighted, shape (bins,)."""
    tp = weight * histogram.positive[::-1].cumsum()[::-1]
    fp = histogram.negative[::-1].cumsum()[::-1]
    below = weight * float(histogram.positive.sum()) + tp + fp
    return np.asarray(np.where(below > 0, 2 * tp / np.maximum(below, 1e-300), 0.0))


def lost_at(histogram: ScoreHistogram, threshold: float, factor: float) -> float | None:
    """F1 that a threshold loses against the best one where landslides are so many times as common.

    None where there is one class only, or no other pixel would be left.
    """
    positive, negative = float(histogram.positive.sum()), float(histogram.negative.sum())
    now = positive / max(positive + negative, 1)
    if not 0 < now < 1 or not 0 < factor * now < 1:
        return None
    f1 = f1_curve(histogram, weight_of(now, factor * now))
    return float(f1.max() - f1[min(round(threshold * histogram.bins), histogram.bins - 1)])
