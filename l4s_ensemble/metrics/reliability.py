"""Corrections of probabilities, fitted to a histogram of scores: beta and isotonic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_middles

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

_TINY = 1e-6


def fit_isotonic(histogram: ScoreHistogram) -> Map:
    """Fit the best rising correction to a histogram (Zadrozny and Elkan 2002)."""
    from sklearn.isotonic import IsotonicRegression

    total = histogram.positive + histogram.negative
    there = total > 0
    if not there.any():
        return lambda p: p
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
        bin_middles(histogram.bins)[there],
        histogram.positive[there] / total[there],
        sample_weight=total[there].astype(np.float64),
    )
    return lambda p: np.asarray(fitted.predict(p), dtype=np.float64)


def fit_beta(histogram: ScoreHistogram) -> Map:
    """Fit ``logit q = a ln p - b ln(1 - p) + c`` to a histogram.

    Beta calibration (Kull, Silva Filho and Flach 2017, doi:10.1214/17-EJS1338SI): three numbers,
    so it follows noise less than the isotonic correction. Newton's method, with a ridge too small
    to matter.
    """
    p = bin_middles(histogram.bins)
    x = _beta_terms(p)
    n = (histogram.positive + histogram.negative).astype(np.float64)
    if histogram.positive.sum() == 0 or histogram.negative.sum() == 0:
        return lambda q: q
    w = np.array([1.0, 1.0, 0.0])
    loss = _beta_loss(x, w, histogram)
    for _ in range(100):
        q = 1 / (1 + np.exp(-np.clip(x @ w, -50, 50)))
        slope = x.T @ (n * q - histogram.positive) + 1e-6 * (w - [1, 1, 0])
        bend = (x.T * (n * q * (1 - q))) @ x + 1e-6 * np.eye(3)
        step = np.linalg.solve(bend, slope)
        while True:
            new = w - step
            new_loss = _beta_loss(x, new, histogram)
            if new_loss <= loss + 1e-9 * abs(loss) or np.abs(step).max() < 1e-10:
                break
            step = step / 2
        done = np.abs(step).max() < 1e-9
        w, loss = new, new_loss
        if done:
            break
    return lambda q: np.asarray(1 / (1 + np.exp(-np.clip(_beta_terms(q) @ w, -50, 50))))


def _beta_terms(p: Array) -> Array:
    q = np.clip(p, _TINY, 1 - _TINY)
    return np.stack([np.log(q), -np.log1p(-q), np.ones_like(q)], axis=1)


def _beta_loss(x: Array, w: Array, histogram: ScoreHistogram) -> float:
    z = x @ w
    each = histogram.positive * np.logaddexp(0, -z) + histogram.negative * np.logaddexp(0, z)
    return float(each.sum())
