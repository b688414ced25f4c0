"""A rising map that makes probabilities hold, kept only where cross-fitting shows that it does.

The order of pixels stays as it is, and with it the best F1: only the numbers change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import score_interval
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index, bin_middles
from l4s_ensemble.metrics.reliability import fit_beta, fit_isotonic
from l4s_ensemble.metrics.tiles import TileHistograms

Array = NDArray[np.float64]

KINDS = ("beta", "isotonic")
"""The simplest first: of two that are not told apart, it wins."""

_TINY = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Straight lines between knots, in probability.

    Attributes
    ----------
    kind : {'none', 'beta', 'isotonic'}
    scored, true : tuple of float
        Knots, both strictly rising, from 0 to 1. None of them: nothing changes.
    """

    kind: str = "none"
    scored: tuple[float, ...] = ()
    true: tuple[float, ...] = ()

    def __call__(self, probability: ArrayLike) -> NDArray[np.float32]:
        """Calibrated probability, float32 of the same shape."""
        p = np.asarray(probability, dtype=np.float32)
        if not self.scored:
            return p
        return np.interp(p, self.scored, self.true).astype(np.float32)


def fit(kind: str, histogram: ScoreHistogram) -> Calibration:
    """Fit one kind of map to probabilities by class.

    The isotonic map is a stair; its steps are joined by lines, so that it rises strictly.
    """
    middles = bin_middles(histogram.bins)
    fitted = fit_beta(histogram) if kind == "beta" else fit_isotonic(histogram)
    knots = middles
    if kind == "isotonic":
        stair = fitted(middles)
        starts = np.flatnonzero(np.append(True, np.diff(stair) > 0))
        pixels = histogram.positive + histogram.negative
        weight = np.add.reduceat(pixels, starts)
        spot = np.add.reduceat(pixels * middles, starts) / np.maximum(weight, 1)
        knots = np.where(weight > 0, spot, middles[starts])
    values = np.clip(np.asarray(fitted(knots)), _TINY, 1 - _TINY)
    # A map that falls somewhere would reorder pixels: it is levelled, then tilted a trifle.
    values = np.maximum.accumulate(values)
    rising = np.append(True, np.diff(values) > 1e-12)
    x = np.concatenate([[0.0], knots[rising], [1.0]])
    y = np.concatenate([[0.0], values[rising], [1.0]])
    return Calibration(kind, tuple(x.tolist()), tuple(y.tolist()))


def choose(
    tiles: TileHistograms,
    fold: ArrayLike,
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Calibration, dict[str, Any]]:
    """Choose a map under cross-fitting: learnt on all folds but one, judged on that one.

    A map is kept where the interval of the log-loss it saves (per pixel, paired over blocks) is
    above zero and the calibration error falls too. A later kind of `KINDS` takes the place of an
    earlier one only where what it saves more is shown likewise.

    Parameters
    ----------
    tiles : TileHistograms
        Of out-of-fold probability, a row a tile or a group of tiles.
    fold, block : array_like of int, shape (row,)

    Returns
    -------
    Calibration
        Fitted on all rows.
    dict
        ``chosen``, ``before`` and ``after`` (``calibration_error, log_loss, reliability``, of the
        cross-fitted map) and ``tried``: rows of ``kind, calibration_error, log_loss, saved,
        saved_low, saved_high``.
    """
    of_row = np.asarray(fold)
    whole = tiles.pooled()
    same = np.tile(bin_middles(tiles.bins), (len(of_row), 1))
    moved = {"none": same}
    for kind in KINDS if len(np.unique(of_row)) > 1 else ():
        moved[kind] = same.copy()
        for k in np.unique(of_row):
            others = tiles.subset(of_row != k).pooled()
            if others.positive.sum() and others.negative.sum():
                moved[kind][of_row == k] = fit(kind, others)(bin_middles(tiles.bins))
    loss = {kind: _loss_of_rows(tiles, p) for kind, p in moved.items()}
    told = {kind: _described(tiles, p, loss[kind]) for kind, p in moved.items()}
    chosen, tried = "none", []
    pixels = (tiles.positive + tiles.negative).sum(axis=1, dtype=np.int64)
    for kind in [k for k in KINDS if k in moved]:
        value, low, high = _saved(loss["none"] - loss[kind], pixels, block, resamples, seed)
        tried.append(
            {
                "kind": kind, "calibration_error": told[kind]["calibration_error"],
                "log_loss": told[kind]["log_loss"],
                "saved": value, "saved_low": low, "saved_high": high,
            }
        )  # fmt: skip
        _, better, _ = _saved(loss[chosen] - loss[kind], pixels, block, resamples, seed)
        falls = told[kind]["calibration_error"] < told[chosen]["calibration_error"]
        if better is not None and better > 0 and falls:
            chosen = kind
    final = Calibration() if chosen == "none" else fit(chosen, whole)
    return final, {
        "chosen": chosen, "before": told["none"], "after": told[chosen], "tried": tried
    }  # fmt: skip


def _loss_of_rows(tiles: TileHistograms, p: Array) -> Array:
    q = np.clip(p, _TINY, 1 - _TINY)
    each = -(tiles.positive * np.log(q) + tiles.negative * np.log1p(-q))
    return np.asarray(each.sum(axis=1))


def _saved(
    saved: Array, pixels: NDArray[np.int64], block: ArrayLike, resamples: int, seed: int
) -> tuple[float, float | None, float | None]:
    """Log-loss saved per pixel, with its interval over blocks."""
    found = score_interval(
        lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1),
        np.stack([saved, pixels], axis=1), block, resamples=resamples, seed=seed,
    )  # fmt: skip
    return found.value, found.low, found.high


def _described(tiles: TileHistograms, p: Array, loss: Array) -> dict[str, Any]:
    moved = ScoreHistogram.empty(tiles.bins)
    index = bin_index(p, tiles.bins)
    np.add.at(moved.positive, index, tiles.positive)
    np.add.at(moved.negative, index, tiles.negative)
    n = max(int(moved.positive.sum() + moved.negative.sum()), 1)
    return {
        "calibration_error": moved.expected_calibration_error(),
        "log_loss": float(loss.sum() / n),
        "reliability": moved.reliability(),
    }
