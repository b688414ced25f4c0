"""How well one feature alone tells landslides, and how its values are spread."""

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
        below = np.concatenate([[0.0], others[:-1]])
        steps = np.diff(hits, prepend=0.0)
        auc = float((steps * (below + 0.5 * np.diff(others, prepend=0.0))).sum() / (total * rest))
        low = 2 * hits / (total + hits + others)
        over, false = total - np.append(0.0, hits[:-1]), rest - below
        high = 2 * over / (total + over + false)
        f1 = float(max(low.max(), high.max()))
    return Univariate(auc, f1, _mean(v[t]), _mean(v[~t]), *quantiles)


def _quantiles(
    ordered: NDArray[np.float32], weight: NDArray[np.float64], shares: tuple[float, ...]
) -> NDArray[np.float32]:
    reached = np.cumsum(weight)
    at = np.searchsorted(reached, np.asarray(shares) * reached[-1], side="left")
    found: NDArray[np.float32] = ordered[np.minimum(at, len(ordered) - 1)]
    return found


def _mean(values: NDArray[np.float32]) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None
