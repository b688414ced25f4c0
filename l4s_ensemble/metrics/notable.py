"""Notable tiles of a model: worst, best, and those with the most landslide pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.counts import Counts

WORST, BEST, LARGEST, PREDICTED = "most wrong", "best", "largest landslide", "most predicted"
"""Why a tile was chosen."""


def notable_tiles(counts: Counts, n: int) -> list[tuple[int, str]]:
    """Choose tiles of scores that have been compared with masks.

    Parameters
    ----------
    counts : Counts
        One value a tile.
    n : int
        Number of tiles; all, where there are fewer.

    Returns
    -------
    list of (int, str)
        Positions and why: half of them with most wrong pixels, a quarter with the highest F1 among
        tiles with at least a middling landslide, the rest with the largest landslides. Ties go to
        the first.
    """
    wrong, real = counts.fp + counts.fn, counts.tp + counts.fn
    f1 = 2 * counts.tp / np.maximum(2 * counts.tp + wrong, 1)
    with_landslide = real > 0
    middling = with_landslide & (
        real >= (np.median(real[with_landslide]) if with_landslide.any() else 1)
    )
    chosen: dict[int, str] = {}
    for why, size, may, up_to in (
        (WORST, wrong, wrong > 0, n - n // 2),
        (BEST, f1, middling, n - n // 4),
        (LARGEST, real, with_landslide, n),
        (WORST, wrong, np.ones(len(wrong), bool), n),
    ):
        for i in np.argsort(-size, kind="stable"):
            if len(chosen) >= up_to:
                break
            if may[i]:
                chosen.setdefault(int(i), why)
    return list(chosen.items())


def most_predicted(predicted: ArrayLike, n: int) -> list[tuple[int, str]]:
    """Choose the tiles with most predicted pixels, where there are no masks to compare with.

    Parameters
    ----------
    predicted : array_like of int, shape (tile,)
    """
    area: NDArray[np.int64] = np.asarray(predicted, np.int64)
    return [(int(i), PREDICTED) for i in np.argsort(-area, kind="stable")[:n]]
