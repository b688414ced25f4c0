"""Uncertainty of the stack in each pixel, from its probability.

Of six maps and a regression on all of them that were compared on out-of-fold errors, none pointed
at errors better than nearness to the threshold on real tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.error_auc import error_auc, risk_coverage
from l4s_ensemble.metrics.histogram import TINY
from l4s_ensemble.stack.learners import LIMIT

MEASURE = "near_threshold"
"""Name of the map in summaries."""


def uncertainty(probability: ArrayLike, threshold: float) -> NDArray[np.float32]:
    """Nearness to the threshold: 1 at the threshold, 0 at the far end of the log-odds.

    Parameters
    ----------
    probability : array_like, shape (...)
        Final probability of the stack.
    threshold : float
        A pixel is predicted landslide at this probability or above.

    Returns
    -------
    float32 array, shape (...)
        One minus the distance of the log-odds to those of the threshold, as a share of the
        largest possible distance.
    """
    away = np.abs(_log_odds(probability) - _log_odds(threshold)) / (2 * LIMIT)
    return np.clip(1 - away, 0, 1).astype(np.float32)


def summarise_uncertainty(errors: NDArray[np.int64]) -> dict[str, Any]:
    """Summarise how well uncertainty separates errors: ``measure, auc, risk``.

    Parameters
    ----------
    errors : int64 array, shape (4, bins)
        From `l4s_ensemble.metrics.error_auc.error_histogram`.
    """
    return {
        "measure": MEASURE,
        "auc": {"all": error_auc(errors)},
        "risk": risk_coverage(errors),
    }


def _log_odds(p: ArrayLike) -> NDArray[np.float64]:
    q = np.clip(np.asarray(p, dtype=np.float64), TINY, 1 - TINY)
    odds: NDArray[np.float64] = np.clip(np.log(q) - np.log1p(-q), -LIMIT, LIMIT)
    return odds
