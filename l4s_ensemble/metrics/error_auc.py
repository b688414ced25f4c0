"""Separability of errors by uncertainty: ROC areas and risk-coverage curves from histograms.

A histogram has shape (4, bins): pixels by ``reference + 2 predicted`` and by bin of uncertainty,
the surest first. Bins are equal in the square root of the uncertainty, for most pixels are sure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 1000

SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of all pixels that a person looks at."""


def error_histogram(
    uncertainty: ArrayLike,
    reference: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Count pixels by kind and bin of uncertainty, shape (4, `BINS`).

    Parameters
    ----------
    uncertainty : array_like
        In 0 to 1.
    reference, predicted : bool array
        Of the same shape.
    """
    u = np.sqrt(np.clip(np.asarray(uncertainty, dtype=np.float64), 0, 1)).ravel()
    place = np.minimum((u * BINS).astype(np.int64), BINS - 1)
    kind = (reference + 2 * predicted.astype(np.int64)).ravel()
    return np.bincount(BINS * kind + place, minlength=4 * BINS).reshape(4, BINS)


def error_auc(histogram: NDArray[Any]) -> float | None:
    """Area under the ROC curve: chance that a wrong pixel is more uncertain than a right one.

    Ties count half (Mann and Whitney 1947). None where all pixels are right, or all wrong.

    Parameters
    ----------
    histogram : array, shape (4, bins)
    """
    h = np.asarray(histogram, dtype=np.float64)
    wrong, right = h[1] + h[2], h[0] + h[3]
    surer = np.cumsum(right) - right
    pairs = wrong.sum() * right.sum()
    return float((wrong * (surer + right / 2)).sum() / pairs) if pairs else None


def risk_coverage(histogram: NDArray[Any]) -> list[dict[str, float | None]]:
    """F1 where a person corrects the most uncertain pixels, for each of `SHARES`.

    A bin that a share cuts is taken in part, alike of each kind.

    Parameters
    ----------
    histogram : array, shape (4, bins)

    Returns
    -------
    list of dict
        ``share``; ``f1_rest``: of the pixels that are left to the stack alone; ``f1_helped``: of
        all pixels, if the person is always right; ``errors_seen``: share of all wrong pixels that
        the person sees. None without a denominator, and ``f1_rest`` where none of what is left is
        predicted landslide.
    """
    h = np.asarray(histogram, dtype=np.float64)
    total = h.sum(axis=0)
    unsure = np.cumsum(total[::-1])[::-1]  # pixels in this bin or a less sure one
    out: list[dict[str, float | None]] = []
    for share in SHARES:
        wanted = share * total.sum()
        above = unsure - total
        part = np.clip((wanted - above) / np.maximum(total, 1), 0, 1)
        seen = (h * part).sum(axis=1)
        left = h.sum(axis=1) - seen
        wrong = h[1].sum() + h[2].sum()
        out.append(
            {
                "share": float(share),
                "f1_rest": _f1(left[3], left[2], left[1]) if left[3] + left[2] > 0 else None,
                "f1_helped": _f1(left[3] + seen[3] + seen[1], left[2], left[1]),
                "errors_seen": float((seen[1] + seen[2]) / wrong) if wrong else None,
            }
        )
    return out


def _f1(tp: float, fp: float, fn: float) -> float | None:
    below = 2 * tp + fp + fn
    return float(2 * tp / below) if below > 0 else None
