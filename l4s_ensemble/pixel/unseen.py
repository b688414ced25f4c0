"""A weighted sample of rows, each with the fold whose model did not see its tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.scores import ScoreFile

T = TypeVar("T")


@dataclass(frozen=True)
class UnseenRows:
    """Rows to explain a model by.

    Attributes
    ----------
    values : float32 array, shape (row, feature)
    y : uint8 array, shape (row,)
        1 = landslide.
    weight : float64 array, shape (row,)
        Pixels that the row stands for: with these weights the prevalence is that of the tiles.
    fold : int64 array, shape (row,)
        The fold that holds the row's tile out: its model is asked.
    patch : int64 array, shape (row,)
    """

    values: NDArray[np.float32]
    y: NDArray[np.uint8]
    weight: NDArray[np.float64]
    fold: NDArray[np.int64]
    patch: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)


def probability_of_rows(scores: ScoreFile, plan: PixelPlan) -> NDArray[np.float64]:
    """Out-of-fold probability of every row of a plan, read block by block, shape (row,)."""
    out = np.empty(len(plan))
    tile = np.searchsorted(scores.patch, plan.patch)
    for block in scores.blocks():
        first, last = np.searchsorted(tile, [block.start, block.stop])
        if first < last:
            logit = scores.read(block).reshape(block.stop - block.start, -1)
            own = slice(first, last)
            out[own] = sigmoid(logit[tile[own] - block.start, plan.pixel[own]])
    return out


def draw_unseen(
    plan: PixelPlan,
    rows: NDArray[np.float32],
    fold_of_row: NDArray[np.int64],
    probability: NDArray[np.float64],
    n: int,
    rng: np.random.Generator,
) -> UnseenRows:
    """Draw rows so that few of them tell much about precision and recall.

    Half of the draws are for landslide pixels and half for others. Each half is drawn by a mixture
    of two chances: by the pixels that a row stands for, and by those times the probability it was
    given, for a false alarm is rare and counts. The weights undo both. Systematic sampling in a
    random order (Madow 1949, doi:10.1214/aoms/1177729988) takes no row twice.

    Parameters
    ----------
    plan : PixelPlan
        Sorted by tile; its weights restore the prevalence.
    rows : float32 array, shape (row, feature)
        In the order of `plan`; may be memory-mapped.
    probability : float64 array, shape (row,)
        Out-of-fold.
    """
    pick, weight = [], []
    for kind in (1, 0):
        pool = np.flatnonzero(plan.landslide == kind)
        stands = plan.weight[pool]
        if not len(pool) or stands.sum() <= 0:
            continue
        by_score = stands * probability[pool]
        chance = stands / stands.sum() + by_score / max(float(by_score.sum()), 1e-300)
        chosen, inclusion = systematic(chance, n // 2, rng)
        pick.append(pool[chosen])
        drawn = stands[chosen] / inclusion
        weight.append(drawn * stands.sum() / drawn.sum())
    order = np.argsort(np.concatenate(pick), kind="stable")
    at = np.concatenate(pick)[order]
    return UnseenRows(
        values=np.asarray(rows[at]),
        y=plan.landslide[at],
        weight=np.concatenate(weight)[order],
        fold=fold_of_row[at],
        patch=plan.patch[at],
    )


def systematic(
    size: NDArray[np.float64], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw `n` of the units with chances in proportion to their size, none twice.

    Returns
    -------
    chosen : int64 array, shape (min(n, unit),)
        Positions, ascending.
    inclusion : float64 array, of the same shape
        Chance of each to be drawn; 1 for units that are too large to be left out.
    """
    total = len(size)
    if n >= total:
        return np.arange(total), np.ones(total)
    chance = np.minimum(size * n / size.sum(), 1.0)
    for _ in range(20):
        sure = chance >= 1.0
        rest = float(size[~sure].sum())
        if rest <= 0:
            break
        again = np.where(sure, 1.0, np.minimum(size * (n - sure.sum()) / rest, 1.0))
        if np.array_equal(again, chance):
            break
        chance = again
    order = rng.permutation(total)
    ends = np.cumsum(chance[order])
    ticks = rng.random() + np.arange(round(float(ends[-1])))
    # Rounding may put the last tick a hair beyond the last end.
    chosen = np.unique(order[np.minimum(np.searchsorted(ends, ticks, "right"), total - 1)])
    return chosen, chance[chosen]


def in_threads(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], jobs: int) -> list[T]:
    """Call `function(*task)` for each task in a few threads; results in order.

    For compiled functions that let go of the interpreter: the rows need not be sent anywhere.
    """
    if jobs <= 1 or len(tasks) <= 1:
        return [function(*task) for task in tasks]
    with ThreadPoolExecutor(min(jobs, len(tasks))) as pool:
        return [waiting.result() for waiting in [pool.submit(function, *t) for t in tasks]]
