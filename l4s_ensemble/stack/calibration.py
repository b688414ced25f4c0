"""Calibration of probabilities by a rising map, kept where cross-fitting shows that it helps.

The order of pixels stays as it is, and with it the best F1: only the numbers change.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from l4s_ensemble.metrics.bootstrap import Interval, score_interval
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index, bin_middles
from l4s_ensemble.metrics.reliability import fit_beta, fit_isotonic
from l4s_ensemble.metrics.tiles import TileHistograms

Array = NDArray[np.float64]

KINDS: tuple[Literal["beta", "isotonic"], ...] = ("beta", "isotonic")
"""From the simplest: a later one is taken only where it is shown to be better."""

_TINY = 1e-6


class Calibration(BaseModel):
    """Straight lines between knots, in probability.

    Both coordinates of the knots rise strictly, from 0 to 1. No knots: nothing changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["none", "beta", "isotonic"] = "none"
    scored: tuple[float, ...] = ()
    true: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> Calibration:
        if len(self.scored) != len(self.true) or (self.kind == "none") != (not self.scored):
            raise ValueError("a kind needs its knots, and both coordinates of each")
        if any((np.diff(knots) <= 0).any() for knots in (self.scored, self.true)):
            raise ValueError("a calibration must rise strictly")
        return self

    def __call__(self, probability: ArrayLike) -> NDArray[np.float32]:
        """Calibrated probability, float32 of the same shape."""
        p = np.asarray(probability, dtype=np.float32)
        return np.interp(p, self.scored, self.true).astype(np.float32) if self.scored else p


def fit_calibration(kind: Literal["beta", "isotonic"], histogram: ScoreHistogram) -> Calibration:
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
    # A map that falls would reorder pixels: falls are levelled, then knots of level parts go.
    values = np.maximum.accumulate(values)
    rising = np.append(True, np.diff(values) > 1e-12)
    x = np.concatenate([[0.0], knots[rising], [1.0]])
    y = np.concatenate([[0.0], values[rising], [1.0]])
    return Calibration(kind=kind, scored=tuple(x.tolist()), true=tuple(y.tolist()))


def choose_calibration(
    tiles: TileHistograms, groups: ArrayLike, blocks: ArrayLike, *, seed: int = 0
) -> tuple[Calibration, dict[str, Any]]:
    """Choose a map under cross-fitting: fitted on all folds but one, scored on that one.

    A map is kept where the interval of the log-loss it saves (per pixel, paired over blocks) is
    above zero and the calibration error falls too. A later kind of `KINDS` takes the place of an
    earlier one only where a further saving is shown likewise.

    Parameters
    ----------
    tiles : TileHistograms
        Of out-of-fold probability.
    groups, blocks : array_like of int, shape (tile,)
        Fold and spatial block of each tile.

    Returns
    -------
    Calibration
        Fitted on all tiles.
    dict
        ``chosen``, ``before`` and ``after`` (``calibration_error, log_loss, reliability``, of the
        cross-fitted map).
    """
    maps = _cross_fitted(tiles, np.asarray(groups))
    loss = {kind: _log_loss(tiles, p) for kind, p in maps.items()}
    scores = {kind: _scores(tiles, p, loss[kind]) for kind, p in maps.items()}
    pixels = (tiles.positive + tiles.negative).sum(axis=1, dtype=np.int64)

    def saved(kind: str, over: str) -> Interval:
        return score_interval(
            lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1),
            np.stack([loss[over] - loss[kind], pixels], axis=1),
            blocks,
            seed=seed,
        )

    chosen: Literal["none", "beta", "isotonic"] = "none"
    for kind in [kind for kind in KINDS if kind in maps]:
        falls = scores[kind]["calibration_error"] < scores[chosen]["calibration_error"]
        if falls and saved(kind, chosen).is_above_zero:
            chosen = kind
    table = {"chosen": chosen, "before": scores["none"], "after": scores[chosen]}
    return Calibration() if chosen == "none" else fit_calibration(chosen, tiles.pooled()), table


def _cross_fitted(tiles: TileHistograms, groups: NDArray[Any]) -> dict[str, Array]:
    """Calibrated probability of each tile's bins, shape (tile, bins), by kind of map."""
    middles = bin_middles(tiles.bins)
    maps = {"none": np.tile(middles, (len(groups), 1))}
    folds = np.unique(groups)
    for kind in KINDS if len(folds) > 1 else ():
        maps[kind] = maps["none"].copy()
        for k in folds:
            others = tiles.subset(groups != k).pooled()
            if others.positive.sum() and others.negative.sum():
                maps[kind][groups == k] = fit_calibration(kind, others)(middles)
    return maps


def _log_loss(tiles: TileHistograms, p: Array) -> Array:
    """Sum over the pixels of each tile, shape (tile,)."""
    q = np.clip(p, _TINY, 1 - _TINY)
    each = -(tiles.positive * np.log(q) + tiles.negative * np.log1p(-q))
    return np.asarray(each.sum(axis=1))


def _scores(tiles: TileHistograms, p: Array, loss: Array) -> dict[str, Any]:
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
