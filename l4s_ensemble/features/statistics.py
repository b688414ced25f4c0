"""Separability of landslides by single features, in all places and in each, from weighted rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.run.stage import SummaryModel

LEAST_ROWS = 30
"""Rows of each class that a place needs for an AUC of its own."""

COPIES = 0.9
"""Rank correlation beyond which two features say the same."""


class Univariate(SummaryModel):
    """One feature by itself."""

    # Chance that a landslide pixel has the higher value, ties count half; None with one class.
    auc: float | None = None
    best_f1: float | None = None  # of any threshold, from either side, at the true prevalence
    mean_landslide: float | None = None  # in the feature's unit
    mean_other: float | None = None


def univariate(
    values: NDArray[np.float32], reference: NDArray[np.uint8], weight: NDArray[np.float64]
) -> Univariate:
    """Describe one feature from sampled pixels.

    Parameters
    ----------
    values : float32 array, shape (row,)
        Finite.
    reference : uint8 array, shape (row,)
        1 = landslide.
    weight : float64 array, shape (row,)
        How many pixels of the whole a row stands for: restores the true prevalence.
    """
    from sklearn.metrics import precision_recall_curve

    hit = reference > 0
    auc, f1 = auc_of(values, reference, weight), None
    if auc is not None:
        best = []
        for side in (values, -values):
            precision, recall, _ = precision_recall_curve(reference, side, sample_weight=weight)
            both = precision + recall
            best.append(np.max(2 * precision * recall / np.where(both > 0, both, 1.0)))
        f1 = float(max(best))
    means = (
        float(v.mean(dtype=np.float64)) if v.size else None for v in (values[hit], values[~hit])
    )
    return Univariate(
        auc=auc, best_f1=f1, **dict(zip(("mean_landslide", "mean_other"), means, strict=True))
    )


def auc_of(
    values: NDArray[np.float32], reference: NDArray[np.uint8], weight: NDArray[np.float64]
) -> float | None:
    """Weighted AUC of a feature; None with one class only."""
    from sklearn.metrics import roc_auc_score

    if reference.size == 0 or reference.min() == reference.max():
        return None
    return float(roc_auc_score(reference, values, sample_weight=weight))


def by_place(
    values: NDArray[np.float32],
    reference: NDArray[np.uint8],
    weight: NDArray[np.float64],
    place: NDArray[np.int64],
    places: int,
) -> tuple[int | None, float | None]:
    """Find the place where a feature separates least, read as the other places say.

    Parameters
    ----------
    values, reference, weight
        As for `univariate`.
    place : int64 array, shape (row,)
        Place of each row, 0 to ``places - 1``; rows of -1 take no part.

    Returns
    -------
    worst : int or None
        None with fewer than two places that have `LEAST_ROWS` rows of each class.
    auc_lowest : float or None
        AUC there, read from the side that the other places say: below 0.5 it turns round.
    """
    read: dict[int, float] = {}
    for k in range(places):
        here, there = place == k, (place >= 0) & (place != k)
        hits = int(np.count_nonzero(reference[here]))
        if min(hits, int(np.count_nonzero(here)) - hits) < LEAST_ROWS:
            continue
        own, elsewhere = (auc_of(values[r], reference[r], weight[r]) for r in (here, there))
        if own is not None and elsewhere is not None:
            read[k] = own if elsewhere >= 0.5 else 1 - own
    if len(read) < 2:
        return None, None
    worst = min(read, key=lambda k: read[k])
    return worst, read[worst]


def strong_and_distinct(
    values: NDArray[np.floating[Any]], strength: Sequence[float], most: int
) -> list[int]:
    """Choose the strongest columns, without near copies; a constant column is a copy of none.

    Parameters
    ----------
    values : float array, shape (row, column)
        Some thousand rows are enough.
    strength : sequence of float
        Of each column; the order of the result.
    """
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        close = np.abs(np.nan_to_num(np.atleast_2d(np.corrcoef(ranks, rowvar=False))))
    chosen: list[int] = []
    for i in sorted(range(len(strength)), key=lambda i: -strength[i]):
        if len(chosen) < most and all(close[i, j] < COPIES for j in chosen):
            chosen.append(i)
    return chosen
