"""The smallest landslide that is kept: searched under cross-fitting over the spatial folds.

Each fold is cleaned at the size that is best on the other folds. The difference to no cleaning is
the honest gain; a size is kept where the interval of that gain is above zero.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.objects import labelled

SIZES_PX = (0, 4, 8, 16, 32, 64)
"""Smallest landslide in pixels; 0 keeps all."""


class Masks(Protocol):
    """Predicted and reference masks of tiles, a few at a time."""

    def __iter__(self) -> Any:
        """Yield (predicted, reference), bool (y, x) each, tile by tile."""


def without_small(mask: NDArray[np.bool_], smallest_px: int) -> NDArray[np.bool_]:
    """Remove landslides (8-connected) below a size from a mask (y, x)."""
    if smallest_px <= 1 or not mask.any():
        return mask
    labels, area = labelled(mask)
    return np.asarray(np.append(False, area >= smallest_px)[labels])


def search(
    masks: Masks, fold: ArrayLike, block: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> tuple[int, dict[str, Any]]:
    """Choose the smallest landslide.

    Parameters
    ----------
    masks : Masks
        Out-of-fold, at the threshold.
    fold, block : array_like of int, shape (tile,)

    Returns
    -------
    smallest_px : int
        0 where no size is shown to help.
    told : dict
        ``smallest_px, gain, low, high, blocks, reason`` (why nothing is removed, or None).
    """
    of_fold = np.asarray(fold)
    counts = np.stack([_counts(predicted, truth) for predicted, truth in masks])
    if len(np.unique(of_fold)) < 2:
        none = dict.fromkeys(("gain", "low", "high", "blocks"))
        return 0, {**none, "smallest_px": 0, "reason": "there is one fold only"}
    crossed = counts[:, 0].copy()
    for k in np.unique(of_fold):
        held = of_fold == k
        crossed[held] = counts[held, _best(counts[~held])]
    found = f1_gain_interval(
        _as_counts(crossed), _as_counts(counts[:, 0]), block, resamples=resamples, seed=seed
    )
    best = SIZES_PX[_best(counts)]
    shown = found.is_above_zero and best > 0
    return best if shown else 0, {
        "smallest_px": best if shown else 0,
        "gain": found.value, "low": found.low, "high": found.high, "blocks": found.blocks,
        "reason": None if shown else "removing small landslides is not shown to help",
    }  # fmt: skip


def _counts(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """True positive, false positive and false negative pixels at each size, shape (size, 3)."""
    labels, area = labelled(predicted)
    hit = np.bincount(labels[truth], minlength=len(area) + 1)[1:]
    keep = area >= np.array(SIZES_PX)[:, np.newaxis]
    tp = keep @ hit
    return np.stack([tp, keep @ area - tp, int(truth.sum()) - tp], axis=1).astype(np.int64)


def _best(counts: NDArray[np.int64]) -> int:
    """Position of the size with the best pooled F1; the smaller of equals."""
    tp, fp, fn = counts.sum(axis=0).T
    return int(np.argmax(2 * tp / np.maximum(2 * tp + fp + fn, 1)))


def _as_counts(counts: NDArray[np.int64]) -> Counts:
    tp, fp, fn = counts.T
    return Counts(tp, fp, fn, np.zeros_like(tp))
