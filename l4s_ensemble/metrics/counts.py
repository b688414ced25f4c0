"""Counts first, then pure scores of counts, with the reduction in the name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Counts:
    """True positive, false positive, false negative and true negative pixels.

    Each is an int, or an int64 array with one value a tile (or block).
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    def pooled(self) -> Counts:
        """Sum over tiles: the counts of a whole split."""
        return Counts(*(np.asarray(a.sum()) for a in (self.tp, self.fp, self.fn, self.tn)))

    def by(self, group: ArrayLike) -> Counts:
        """Sum within groups; `group` has one label a tile. Sorted by label."""
        _, index = np.unique(np.asarray(group), return_inverse=True)
        sums = [np.bincount(index, weights=a).astype(np.int64) for a in self._arrays()]
        return Counts(*sums)

    def _arrays(self) -> tuple[NDArray[np.int64], ...]:
        return (self.tp, self.fp, self.fn, self.tn)

    def as_dict(self) -> dict[str, int]:
        """Pooled counts as plain ints."""
        whole = self.pooled()
        return {k: int(getattr(whole, k)) for k in ("tp", "fp", "fn", "tn")}


def count(predicted: ArrayLike, truth: ArrayLike) -> Counts:
    """Count per tile.

    Parameters
    ----------
    predicted, truth : array_like of bool or {0, 1}, shape (tile, y, x)
        1 = landslide.

    Returns
    -------
    Counts
        With one value a tile.
    """
    p = np.asarray(predicted).astype(bool)
    t = np.asarray(truth).astype(bool)
    if p.shape != t.shape or p.ndim != 3:
        raise ValueError(f"shapes must be equal and (tile, y, x): {p.shape} and {t.shape}")
    axes = (1, 2)
    return Counts(
        tp=np.sum(p & t, axis=axes),
        fp=np.sum(p & ~t, axis=axes),
        fn=np.sum(~p & t, axis=axes),
        tn=np.sum(~p & ~t, axis=axes),
    )


def precision_pooled(c: Counts) -> float:
    """TP / (TP + FP) of the pooled counts; 0 where nothing is predicted."""
    w = c.pooled()
    return _ratio(w.tp, w.tp + w.fp)


def recall_pooled(c: Counts) -> float:
    """TP / (TP + FN) of the pooled counts; 0 where there is no landslide."""
    w = c.pooled()
    return _ratio(w.tp, w.tp + w.fn)


def f1_pooled(c: Counts) -> float:
    """2 TP / (2 TP + FP + FN) of the pooled counts: the benchmark's score."""
    w = c.pooled()
    return _ratio(2 * w.tp, 2 * w.tp + w.fp + w.fn)


def iou_pooled(c: Counts) -> float:
    """TP / (TP + FP + FN) of the pooled counts."""
    w = c.pooled()
    return _ratio(w.tp, w.tp + w.fp + w.fn)


def scores_pooled(c: Counts) -> dict[str, float | int]:
    """Precision, recall, F1, IoU and the four counts, as plain numbers."""
    return {
        "precision": precision_pooled(c),
        "recall": recall_pooled(c),
        "f1": f1_pooled(c),
        "iou": iou_pooled(c),
        **c.as_dict(),
    }


def score(predicted: ArrayLike, truth: ArrayLike) -> dict[str, float | int]:
    """Score masks against truth, pooled over all their pixels.

    Parameters
    ----------
    predicted, truth : array_like of bool or {0, 1}, shape (tile, y, x)

    Returns
    -------
    dict
        ``precision, recall, f1, iou, tp, fp, fn, tn``.
    """
    return scores_pooled(count(predicted, truth))


def _ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    return float(a) / float(b) if b > 0 else 0.0
