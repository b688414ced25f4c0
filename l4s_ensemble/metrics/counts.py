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

    def table(self) -> NDArray[np.int64]:
        """Counts side by side, shape (tile, 4)."""
        return np.stack([self.tp, self.fp, self.fn, self.tn], axis=-1)


def count(predicted: ArrayLike, reference: ArrayLike) -> Counts:
    """Count per tile.

    Parameters
    ----------
    predicted, reference : array_like of bool or {0, 1}, shape (tile, y, x)
        1 = landslide.

    Returns
    -------
    Counts
        With one value a tile.
    """
    p = np.asarray(predicted).astype(bool)
    t = np.asarray(reference).astype(bool)
    if p.shape != t.shape or p.ndim != 3:
        raise ValueError(f"shapes must be equal and (tile, y, x): {p.shape} and {t.shape}")
    axes = (1, 2)
    return Counts(
        tp=np.sum(p & t, axis=axes),
        fp=np.sum(p & ~t, axis=axes),
        fn=np.sum(~p & t, axis=axes),
        tn=np.sum(~p & ~t, axis=axes),
    )


def f1_pooled(c: Counts) -> float:
    """2 TP / (2 TP + FP + FN) of the pooled counts: the benchmark's score."""
    w = c.pooled()
    return _ratio(2 * w.tp, 2 * w.tp + w.fp + w.fn)


def scores_pooled(c: Counts) -> dict[str, float | int]:
    """Precision, recall, F1, IoU and the four counts; 0 where a score has no denominator."""
    w = c.pooled()
    return {
        "precision": _ratio(w.tp, w.tp + w.fp),
        "recall": _ratio(w.tp, w.tp + w.fn),
        "f1": f1_pooled(w),
        "iou": _ratio(w.tp, w.tp + w.fp + w.fn),
        **{k: int(getattr(w, k)) for k in ("tp", "fp", "fn", "tn")},
    }


def score(predicted: ArrayLike, reference: ArrayLike) -> dict[str, float | int]:
    """Score masks against reference, pooled over all their pixels.

    Parameters
    ----------
    predicted, reference : array_like of bool or {0, 1}, shape (tile, y, x)

    Returns
    -------
    dict
        ``precision, recall, f1, iou, tp, fp, fn, tn``.
    """
    return scores_pooled(count(predicted, reference))


def _ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    return float(a) / float(b) if b > 0 else 0.0
