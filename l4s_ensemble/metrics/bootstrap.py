"""Intervals by resampling spatial blocks: neighbouring tiles are not independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.counts import Counts, f1_pooled

FEWEST_BLOCKS = 10
"""Spatial blocks below which no interval is given: percentiles of resamples of a few blocks are
those of the few values that they can take, and miss the true value far too often."""


@dataclass(frozen=True)
class Interval:
    """A value with its percentile interval.

    Attributes
    ----------
    value : float
        On all tiles.
    low, high : float or None
        Percentiles of the resamples; None where fewer than `FEWEST_BLOCKS` blocks were given.
    blocks : int
        Number of spatial blocks that were resampled.
    """

    value: float
    low: float | None
    high: float | None
    blocks: int
    level: float = 0.95

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is above zero: only then a gain is shown."""
        return self.low is not None and self.low > 0


def f1_interval(
    counts: Counts, block: ArrayLike, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Interval of the pooled F1.

    Parameters
    ----------
    counts : Counts
        One value a tile.
    block : array_like, shape (tile,)
        Spatial block of each tile; blocks are drawn with replacement.
    """
    b = counts.by(block)
    f1 = _resampled(b, _weights(len(b.tp), resamples, seed))
    low, high = _percentiles(f1, level, len(b.tp))
    return Interval(f1_pooled(counts), low, high, len(b.tp), level)


def f1_gain_interval(
    better: Counts,
    base: Counts,
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Paired interval of F1(better) - F1(base): both are scored on the same resampled blocks."""
    a, b = better.by(block), base.by(block)
    w = _weights(len(a.tp), resamples, seed)
    low, high = _percentiles(_resampled(a, w) - _resampled(b, w), level, len(a.tp))
    return Interval(f1_pooled(better) - f1_pooled(base), low, high, len(a.tp), level)


def score_interval(
    score: Callable[[NDArray[Any]], NDArray[np.float64]],
    sums: ArrayLike,
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of any score of pooled sums; two models' sums side by side give a paired gain.

    Parameters
    ----------
    score : callable
        Turns sums ``(..., column)`` into scores ``(...)``.
    sums : array_like of number, shape (tile, column)
        What is summed over tiles before it is scored.
    block : array_like, shape (tile,)
        Spatial block of each tile; blocks are drawn with replacement.
    """
    of_tile = np.asarray(sums)
    names, index = np.unique(np.asarray(block), return_inverse=True)
    of_block = np.zeros((len(names), of_tile.shape[1]), np.result_type(of_tile, np.int64))
    np.add.at(of_block, index, of_tile)
    # Float products are ten times as fast as integer ones, and exact below 2 ** 53.
    drawn = _weights(len(names), resamples, seed).astype(np.float64) if len(names) else None
    scores = score(drawn @ of_block) if drawn is not None else np.zeros(0)
    low, high = _percentiles(scores, level, len(names))
    return Interval(float(score(of_block.sum(axis=0))), low, high, len(names), level)


def _weights(blocks: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each block is drawn, shape (resample, block)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=resamples)


def _resampled(c: Counts, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    tp, fp, fn = (weights @ np.asarray(a) for a in (c.tp, c.fp, c.fn))
    below = 2 * tp + fp + fn
    return np.where(below > 0, 2 * tp / np.maximum(below, 1), 0.0)


def _percentiles(
    values: NDArray[np.float64], level: float, blocks: int
) -> tuple[float | None, float | None]:
    if blocks < FEWEST_BLOCKS:
        return None, None
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
