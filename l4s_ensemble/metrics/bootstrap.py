"""Intervals by resampling spatial blocks: neighbouring tiles are not independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.counts import Counts

FEWEST_BLOCKS = 10
"""Spatial blocks below which no interval is given: percentiles of resamples of a few blocks are
those of the few values that they can take, and miss the true value far too often."""

LEVEL = 0.95
"""Share of the resamples that an interval holds."""


@dataclass(frozen=True)
class Interval:
    """A value with its percentile interval."""

    value: float  # on all tiles
    low: float | None  # percentiles of the resamples; None with fewer than `FEWEST_BLOCKS`
    high: float | None
    blocks: int  # spatial blocks that were resampled
    level: float = LEVEL

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is above zero: only then a gain is shown."""
        return self.low is not None and self.low > 0


def f1_interval(
    counts: Counts, block: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Interval of the pooled F1.

    Parameters
    ----------
    counts : Counts
        One value a tile.
    block : array_like, shape (tile,)
        Spatial block of each tile; blocks are drawn with replacement.
    """
    return score_interval(_f1, counts.table(), block, resamples=resamples, seed=seed)


def f1_gain_interval(
    better: Counts, base: Counts, block: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Paired interval of F1(better) - F1(base): both are scored on the same resampled blocks."""
    both = np.concatenate([better.table(), base.table()], axis=1)
    return score_interval(
        lambda s: _f1(s[..., :4]) - _f1(s[..., 4:]), both, block, resamples=resamples, seed=seed
    )


def score_interval(
    score: Callable[[NDArray[Any]], NDArray[np.float64]],
    sums: ArrayLike,
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
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
    low, high = None, None
    if (n := len(names)) >= FEWEST_BLOCKS:
        # Float products are ten times as fast as integer ones, and exact below 2 ** 53.
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
        scores = score(drawn.astype(np.float64) @ of_block)
        low, high = (float(v) for v in np.quantile(scores, [(1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2]))
    return Interval(float(score(of_block.sum(axis=0))), low, high, len(names))


def _f1(sums: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of sums of the columns of `Counts.table`, shape (..., 4); 0 where there is nothing."""
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    below = 2 * tp + fp + fn
    f1: NDArray[np.float64] = np.where(below > 0, 2 * tp / np.maximum(below, 1), 0.0)
    return f1
