"""How well one feature alone tells landslides, here and elsewhere, and how its values lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Univariate:
    """One feature by itself.

    Attributes
    ----------
    auc : float or None
        Chance that a landslide pixel has the higher value; ties count half. Below 0.5:
        landslides have lower values. None with one class only.
    best_f1 : float or None
        Best F1 of any threshold, from either side, at the true prevalence.
    mean_landslide, mean_other : float or None
        Means of the classes.
    p01, p50, p99 : float
        Quantiles at the true prevalence.
    """

    auc: float | None
    best_f1: float | None
    mean_landslide: float | None
    mean_other: float | None
    p01: float
    p50: float
    p99: float


def univariate(
    values: NDArray[np.float32], truth: NDArray[np.uint8], weight: NDArray[np.float64]
) -> Univariate:
    """Describe one feature from sampled pixels.

    Parameters
    ----------
    values : float32 array, shape (row,)
        Finite.
    truth : uint8 array, shape (row,)
        1 = landslide.
    weight : float64 array, shape (row,)
        How many pixels of the whole a row stands for: restores the true prevalence.
    """
    order = np.argsort(values, kind="stable")
    v, t = values[order], truth[order].astype(bool)
    hit = np.where(t, weight[order], 0.0)
    other = np.where(t, 0.0, weight[order])
    last = np.append(v[1:] != v[:-1], True)  # ties share one threshold
    hits, others = np.cumsum(hit)[last], np.cumsum(other)[last]
    total, rest = hits[-1], others[-1]
    quantiles = [float(q) for q in _quantiles(v, hit + other, (0.01, 0.5, 0.99))]
    auc = f1 = None
    if total > 0 and rest > 0:
        auc, f1 = _auc(hits, others), float(max(s.max() for s in _f1_of_cuts(hits, others)))
    return Univariate(auc, f1, _mean(v[t]), _mean(v[~t]), *quantiles)


LEAST_ROWS = 30
"""Rows of each class that a place needs for an AUC of its own."""


@dataclass(frozen=True)
class Elsewhere:
    """One feature in places that had no say in how it is read.

    The side that landslides lie on, and the cut, come from all other places together.

    Attributes
    ----------
    auc : tuple of float or None
        Of each place, as `Univariate.auc`; None where a class has fewer than `LEAST_ROWS` rows.
    auc_lowest : float or None
        Lowest over the places of the AUC read from the side that the other places say: below
        0.5 the feature turns round somewhere. None with fewer than two places that have one.
    lowest_in : int or None
        Which place that is.
    auc_spread : float or None
        Highest less lowest.
    best_f1 : float or None
        F1 over all places together, each cut where the other places say.
    """

    auc: tuple[float | None, ...]
    auc_lowest: float | None = None
    lowest_in: int | None = None
    auc_spread: float | None = None
    best_f1: float | None = None


def elsewhere(
    values: NDArray[np.float32],
    truth: NDArray[np.uint8],
    weight: NDArray[np.float64],
    place: NDArray[np.int64],
    places: int,
) -> Elsewhere:
    """Hold a feature against places left out one by one.

    Parameters
    ----------
    values, truth, weight
        As for `univariate`.
    place : int64 array, shape (row,)
        Place of each row, 0 to ``places - 1``; rows of -1 take no part.
    places : int
    """
    kept = place >= 0
    order = np.flatnonzero(kept)[np.argsort(values[kept], kind="stable")]
    if not len(order):
        return Elsewhere((None,) * places)
    v, t, at = values[order], truth[order].astype(bool), place[order]
    last = np.append(v[1:] != v[:-1], True)
    hit, other = np.where(t, weight[order], 0.0), np.where(t, 0.0, weight[order])
    all_hits, all_others = np.cumsum(hit)[last], np.cumsum(other)[last]
    own: list[float | None] = []
    read: dict[int, float] = {}
    right = wrong = missed = 0.0
    for k in range(places):
        here = at == k
        hits, others = np.cumsum(np.where(here, hit, 0.0))[last], np.cumsum(
            np.where(here, other, 0.0)
        )[last]  # fmt: skip
        rest_hits, rest_others = all_hits - hits, all_others - others
        landslide = int(np.count_nonzero(here & t))
        enough = min(landslide, int(np.count_nonzero(here)) - landslide) >= LEAST_ROWS
        auc = _auc(hits, others) if enough else None
        own.append(auc)
        if auc is None or rest_hits[-1] <= 0 or rest_others[-1] <= 0:
            continue
        read[k] = auc if _auc(rest_hits, rest_others) >= 0.5 else 1 - auc
        below, above = _f1_of_cuts(rest_hits, rest_others)
        if below.max() >= above.max():
            cut = int(np.argmax(below))
            called, false = hits[cut], others[cut]
        else:
            cut = int(np.argmax(above))
            called = hits[-1] - (hits[cut - 1] if cut else 0.0)
            false = others[-1] - (others[cut - 1] if cut else 0.0)
        right, wrong, missed = right + called, wrong + false, missed + hits[-1] - called
    if len(read) < 2:
        return Elsewhere(tuple(own))
    lowest = min(read, key=lambda k: read[k])
    return Elsewhere(
        tuple(own),
        read[lowest],
        lowest,
        max(read.values()) - read[lowest],
        float(2 * right / (2 * right + wrong + missed)),
    )


def stability_index(
    values: NDArray[np.float32],
    weight: NDArray[np.float64],
    reference: NDArray[np.float32],
    reference_weight: NDArray[np.float64],
    bins: int = 10,
) -> float:
    """Population stability index: how unlike two samples of one feature are.

    ``Σ (p − q) ln(p / q)`` over bins of equal share in the reference (Siddiqi 2006, Credit Risk
    Scorecards): 0 for equal samples; by custom, beyond 0.25 they have shifted. Half a row is
    added to every bin, so that an empty one does not make it infinite. A value so common that
    it fills a bin by itself is a bin of its own.

    Parameters
    ----------
    values, reference : float32 arrays, shape (row,), (other row,)
        Finite, not empty.
    weight, reference_weight : float64 arrays
        How many pixels a row stands for.
    bins : int
    """
    order = np.argsort(reference, kind="stable")
    shares = tuple(np.arange(1, bins) / bins)
    found = _quantiles(reference[order], reference_weight[order], shares)
    edges, times = np.unique(found, return_counts=True)
    atoms = edges[times > 1]

    def share(of: NDArray[np.float32], weighted: NDArray[np.float64]) -> NDArray[np.float64]:
        code = np.searchsorted(edges, of)
        at = np.minimum(np.searchsorted(atoms, of), max(len(atoms) - 1, 0))
        if len(atoms):
            code = np.where(atoms[at] == of, len(edges) + 1 + at, code)
        total = np.bincount(code, weighted, minlength=len(edges) + 1 + len(atoms))
        rows = total / total.sum() * len(of) + 0.5
        return np.asarray(rows / rows.sum())

    p, q = share(values, weight), share(reference, reference_weight)
    return float(((p - q) * np.log(p / q)).sum())


def quartiles(
    values: NDArray[np.float32], weight: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of weighted rows."""
    order = np.argsort(values, kind="stable")
    low, middle, high = _quantiles(values[order], weight[order], (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def _auc(hits: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Area from running sums of both classes at the end of every tie."""
    steps = np.diff(hits, prepend=0.0)
    below = others - 0.5 * np.diff(others, prepend=0.0)
    return float((steps * below).sum() / (hits[-1] * others[-1]))


def _f1_of_cuts(
    hits: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F1 of calling all up to a value, and of calling all from that value on."""
    total, rest = hits[-1], others[-1]
    over = total - np.append(0.0, hits[:-1])
    false = rest - np.append(0.0, others[:-1])
    return 2 * hits / (total + hits + others), 2 * over / (total + over + false)


def _quantiles(
    ordered: NDArray[np.float32], weight: NDArray[np.float64], shares: tuple[float, ...]
) -> NDArray[np.float32]:
    reached = np.cumsum(weight)
    at = np.searchsorted(reached, np.asarray(shares) * reached[-1], side="left")
    found: NDArray[np.float32] = ordered[np.minimum(at, len(ordered) - 1)]
    return found


def _mean(values: NDArray[np.float32]) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None
