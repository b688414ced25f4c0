"""Histograms of probability tile by tile: any threshold, any block, one pass over the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import f1_interval
from l4s_ensemble.metrics.counts import Counts, scores_pooled
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index
from l4s_ensemble.run.files import load_fields, save_fields


@dataclass
class TileHistograms:
    """Pixels of each class by bin of probability, one row a tile."""

    patch: NDArray[np.int64]  # (tile,): ids
    positive: NDArray[np.int32]  # (tile, bins): pixels of the landslide class
    negative: NDArray[np.int32]  # (tile, bins): and of the rest

    @classmethod
    def empty(cls, patch: ArrayLike, bins: int = 1000) -> TileHistograms:
        """Make one with no pixel in it."""
        ids = np.asarray(patch, dtype=np.int64)
        shape = (len(ids), bins)
        return cls(ids, np.zeros(shape, np.int32), np.zeros(shape, np.int32))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return int(self.positive.shape[1])

    def add(self, tile: int, probability: ArrayLike, reference: ArrayLike) -> None:
        """Add the pixels of the tile at position `tile`."""
        index = bin_index(np.asarray(probability).ravel(), self.bins)
        t = np.asarray(reference).ravel().astype(bool)
        self.positive[tile] += np.bincount(index[t], minlength=self.bins).astype(np.int32)
        self.negative[tile] += np.bincount(index[~t], minlength=self.bins).astype(np.int32)

    def pooled(self) -> ScoreHistogram:
        """Sum over tiles."""
        return ScoreHistogram(
            self.positive.sum(axis=0, dtype=np.int64), self.negative.sum(axis=0, dtype=np.int64)
        )

    def counts(self, threshold: float) -> Counts:
        """Count each tile at a threshold (rounded to the bin's edge)."""
        k = round(threshold * self.bins)
        tp = self.positive[:, k:].sum(axis=1, dtype=np.int64)
        fp = self.negative[:, k:].sum(axis=1, dtype=np.int64)
        fn = self.positive[:, :k].sum(axis=1, dtype=np.int64)
        tn = self.negative[:, :k].sum(axis=1, dtype=np.int64)
        return Counts(tp, fp, fn, tn)

    def subset(self, keep: ArrayLike) -> TileHistograms:
        """Keep tiles by a boolean mask or positions."""
        k = np.asarray(keep)
        return TileHistograms(self.patch[k], self.positive[k], self.negative[k])

    def save(self, path: Path) -> None:
        """Write an ``.npz`` atomically."""
        save_fields(path, self)

    @classmethod
    def load(cls, path: Path) -> TileHistograms:
        """Read what `save` wrote; a `RunError` where it is missing or damaged."""
        return load_fields(path, cls, "run the stage again")


def summarise(
    tiles: TileHistograms,
    block: ArrayLike,
    *,
    threshold: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score tiles at one threshold, as a plain dict for a summary.

    Parameters
    ----------
    block : array_like, shape (tile,)
        Spatial block of each tile, for the interval.
    threshold : float, optional
        Without one, the threshold with the best pooled F1 on these tiles is taken (only right for
        out-of-fold scores).

    Returns
    -------
    dict
        See `l4s_ensemble.metrics.summary.TileScores`.
    """
    pooled = tiles.pooled()
    best = pooled.best()
    chosen = best.value if threshold is None else threshold
    counts = tiles.counts(chosen)
    interval = f1_interval(counts, block, seed=seed)
    return {
        "threshold": chosen,
        "threshold_chosen_here": threshold is None,
        "plateau_low": best.plateau_low,
        "plateau_high": best.plateau_high,
        **scores_pooled(counts),
        "f1_low": interval.low,
        "f1_high": interval.high,
        "blocks": interval.blocks,
        "average_precision": pooled.average_precision(),
        "calibration_error": pooled.expected_calibration_error(),
        "f1_best": best.f1,
        "threshold_best": best.value,
        "tiles": len(tiles.patch),
    }


def fold_scores(
    tiles: TileHistograms, fold: ArrayLike, k: int, threshold: float
) -> dict[str, float]:
    """Score the tiles that fold `k` holds out, pooled, at a threshold of all folds.

    Parameters
    ----------
    tiles : TileHistograms
        Of out-of-fold scores.
    fold : array_like of int, shape (tile,)
        Fold of each tile.

    Returns
    -------
    dict
        ``f1, precision, recall``.
    """
    scores = scores_pooled(tiles.subset(np.asarray(fold) == k).counts(threshold))
    return {key: float(scores[key]) for key in ("f1", "precision", "recall")}
