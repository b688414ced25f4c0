"""Whether probabilities mean what they say, before and after a cross-fitted correction.

The correction is learnt from the pooled histograms of all folds but one and applied to that one,
so that no tile corrects itself. It changes nothing in the model: the stack has its own calibration.

The summary's ``calibration`` is a dict::

    bins        bins of probability behind all numbers
    maps        list: {name: 'as scored' | 'beta' | 'isotonic', ...}. Each has
        expected_calibration_error, brier, log_loss
        reliability         {predicted, observed, pixels}: twenty equal bins of probability
        f1_best             best pooled F1 over thresholds
        threshold_best      its threshold
        plateau_low, plateau_high   thresholds within a point of the best
        half_f1             f1_best / 2: where the best threshold of calibrated scores lies
                            (Lipton, Elkan and Narayanaswamy 2014, arXiv:1402.1892)
        off_half            threshold_best - half_f1
        f1_at_half          F1 at the threshold half_f1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index, bin_middles
from l4s_ensemble.metrics.tiles import TileHistograms

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

_TINY = 1e-6


def calibration(tiles: TileHistograms, fold: ArrayLike) -> dict[str, Any]:
    """Describe the reliability of out-of-fold scores.

    Parameters
    ----------
    tiles : TileHistograms
    fold : array_like of int, shape (tile,)
        Fold of each tile.

    Returns
    -------
    dict
        See the module.
    """
    of_tile = np.asarray(fold)
    folds = np.unique(of_tile)
    parts = [tiles.subset(of_tile == k).pooled() for k in folds]
    whole = tiles.pooled()
    fits: dict[str, Callable[[ScoreHistogram], Map]] = {"beta": fit_beta, "isotonic": fit_isotonic}
    maps = [_described("as scored", whole, [(whole, bin_middles(whole.bins))])]
    for name, fit in fits.items():
        corrected = []
        for k, held in enumerate(parts):
            others = _sum([p for i, p in enumerate(parts) if i != k]) if len(parts) > 1 else held
            corrected.append((held, fit(others)(bin_middles(held.bins))))
        maps.append(_described(name, whole, corrected))
    return {"bins": whole.bins, "maps": maps}


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


def _sum(parts: list[ScoreHistogram]) -> ScoreHistogram:
    return ScoreHistogram(
        np.sum([p.positive for p in parts], axis=0), np.sum([p.negative for p in parts], axis=0)
    )


def _described(
    name: str, whole: ScoreHistogram, corrected: list[tuple[ScoreHistogram, Array]]
) -> dict[str, Any]:
    """Numbers of histograms whose bins were given new probabilities."""
    moved = ScoreHistogram.empty(whole.bins)
    brier = log_loss = 0.0
    for held, p in corrected:
        index = bin_index(p, whole.bins)
        np.add.at(moved.positive, index, held.positive)
        np.add.at(moved.negative, index, held.negative)
        q = np.clip(p, _TINY, 1 - _TINY)
        brier += float((held.positive * (1 - p) ** 2 + held.negative * p**2).sum())
        log_loss -= float((held.positive * np.log(q) + held.negative * np.log1p(-q)).sum())
    n = max(int(whole.positive.sum() + whole.negative.sum()), 1)
    best = moved.best()
    half = best.f1 / 2
    f1 = moved.curve()["f1"]
    return {
        "name": name,
        "expected_calibration_error": moved.expected_calibration_error(),
        "brier": brier / n,
        "log_loss": log_loss / n,
        "reliability": moved.reliability(),
        "f1_best": best.f1,
        "threshold_best": best.value,
        "plateau_low": best.plateau_low,
        "plateau_high": best.plateau_high,
        "half_f1": half,
        "off_half": best.value - half,
        "f1_at_half": float(f1[min(round(half * moved.bins), moved.bins - 1)]),
    }
