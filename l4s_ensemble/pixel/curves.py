"""Learning curves: whether more trees would help, and whether more tiles would.

Both are measured on sampled rows, each scored by a booster that did not see its tile. A point's
F1 is the best over all thresholds: a booster of ten trees has hardly moved from the prevalence,
so that no common threshold would be fair. F1 is therefore a little flattering, at all points alike.

The summary's ``learning_curve`` is a dict::

    rows        rows of the sample
    trees       list of points, fewest trees first: the model's own boosters, cut short. Each has
        trees                                           of one booster, also in a bag
        f1, average_precision, log_loss                 of rows the booster did not see
        f1_low, f1_high                                 least and greatest of the folds
        f1_seen, average_precision_seen, log_loss_seen  of rows that it was trained on (or None)
    patches     dict, or None where a fold has too few tiles
        fold, trees             of the boosters that are fitted again
        rows_share              share of the model's rows that they are fitted on
        held_rows               rows of the sample in the held tiles
        points  list, fewest tiles first: share, tiles, blocks, rows, positives, repeats (fits on
                different tiles), f1, f1_low, f1_high, average_precision (means over repeats, and
                least and greatest)
    seconds

The boosters of ``patches`` are smaller than the model and see fewer rows, so that they cost
seconds. Look at the slope of that curve, not at its height.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.boost import boost, dataset
from l4s_ensemble.pixel.fit import FitJob
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.unseen import UnseenRows, draw_unseen, probability_of_rows
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.tasks import in_processes

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

ROWS = 48_000
"""Rows of the sample, of all folds together."""

FIRST_TREES = 10

FIT_TREES = 100
"""Most trees of a booster that is fitted again."""

FIT_ROWS = 80_000
"""Most rows of such a fit: more would take longer and lift the whole curve."""

SHARES: tuple[tuple[float, int], ...] = ((0.125, 3), (0.25, 2), (0.5, 2), (1.0, 1))
"""Share of the training tiles, and fits on different tiles: few tiles depend on which they are."""

LEAST_TILES = 8
"""Training tiles below which a curve in tiles would say nothing."""

_STREAM = 1708

Scores = dict[str, float]


def learning_curves(
    job: FitJob,
    scores: ScoreFile,
    jobs: int = 1,
) -> dict[str, Any]:
    """Measure both curves.

    Parameters
    ----------
    job : FitJob
        Done: its model is fitted.
    scores : ScoreFile
        Out-of-fold scores of all tiles.
    jobs : int
        Threads, and fits side by side.

    Returns
    -------
    dict
        See the module.
    """
    started = time.monotonic()
    model, folds, plan = job.model, job.folds, job.plan
    rows = np.load(job.rows, mmap_mode="r")
    given = probability_of_rows(scores, plan)
    rng = np.random.default_rng([model.seed, _STREAM])
    fold_of_row = folds.of(plan.patch, "fold").astype(np.int64)
    sample = draw_unseen(plan, rows, fold_of_row, given, ROWS, rng)
    boosters = job.config.seeds * len(job.views(model.seed, 1))
    trees = curve_in_trees(model, folds, sample, boosters, jobs)
    patches = curve_in_patches(job, sample, jobs)
    return {
        "rows": len(sample),
        "trees": trees,
        "patches": patches,
        "seconds": time.monotonic() - started,
    }


def tree_points(most: int, first: int = FIRST_TREES) -> list[int]:
    """Numbers of trees to look at: doubled from the first on, and the last."""
    points = [first]
    while points[-1] * 2 < most:
        points.append(points[-1] * 2)
    return sorted({p for p in points if p < most} | {most})


def curve_in_trees(
    model: PixelModel, folds: Folds, sample: UnseenRows, boosters: int = 1, jobs: int = 1
) -> list[dict[str, Any]]:
    """Score the sample with the model's boosters cut short.

    Rows that a booster was trained on are those of the other folds but for the buffer: each row
    is asked of the next fold's booster. The gap between the two curves is what was learnt by
    heart.

    Parameters
    ----------
    boosters : int
        In the bag of a fold; their trees stand in turn (see `boost.merge`).

    Returns
    -------
    list of dict
        See the module, ``trees``.
    """
    k_all = [int(k) for k in np.unique(sample.fold)]
    most = max(model.booster(k).num_trees() for k in k_all) // boosters
    points = tree_points(most)
    stages = [p * boosters for p in points]
    unseen = np.empty((len(points), len(sample)))
    seen = np.full((len(points), len(sample)), np.nan)
    for i, k in enumerate(k_all):
        own = sample.fold == k
        unseen[:, own] = _staged(model, k, sample.values[own], stages, jobs)
        before = sample.fold == k_all[i - 1]
        if len(k_all) > 1:
            learnt = before & np.isin(sample.patch, folds.train_ids(k))
            seen[:, learnt] = _staged(model, k, sample.values[learnt], stages, jobs)
    kept = np.isfinite(seen[0])
    out = []
    for p, trees in enumerate(points):
        whole = _scores(unseen[p], sample.y, sample.weight)
        of_fold = [
            _scores(unseen[p, own], sample.y[own], sample.weight[own])["f1"]
            for own in (sample.fold == k for k in k_all)
            if 0 < sample.y[own].sum() < own.sum()
        ]
        learnt_scores: dict[str, float | None] = {f"{n}_seen": None for n in whole}
        if 0 < sample.y[kept].sum() < kept.sum():
            told = _scores(seen[p, kept], sample.y[kept], sample.weight[kept])
            learnt_scores = {f"{n}_seen": v for n, v in told.items()}
        out.append(
            {
                "trees": trees,
                **whole,
                "f1_low": min(of_fold, default=None),
                "f1_high": max(of_fold, default=None),
                **learnt_scores,
            }
        )
    return out


def curve_in_patches(
    job: FitJob, sample: UnseenRows, jobs: int = 1, *, fold: int = 0
) -> dict[str, Any] | None:
    """Fit one fold again on a part of its tiles, in whole spatial blocks.

    Returns
    -------
    dict or None
        See the module, ``patches``.
    """
    model, folds, plan = job.model, job.folds, job.plan
    ids = folds.train_ids(fold)
    own = sample.fold == fold
    if len(ids) < LEAST_TILES or not 0 < sample.y[own].sum() < own.sum():
        return None
    block = folds.of(ids, "block").astype(np.int64)
    rng = np.random.default_rng([model.seed, _STREAM, fold + 1])
    # Rows are thinned alike at all shares: only the number of tiles differs between points.
    there = plan.rows_of(ids)
    rows_share = min(1.0, FIT_ROWS / max(len(there), 1))
    kept = np.zeros(len(plan), bool)
    kept[there] = rng.random(len(there)) < rows_share
    trees = min(FIT_TREES, job.config.trees)
    views = job.views(model.seed + fold, 1)
    held = UnseenRows(
        sample.values[own], sample.y[own], sample.weight[own], sample.fold[own], sample.patch[own]
    )
    tasks, shares = [], []
    for share, repeats in SHARES:
        for part in block_parts(ids, block, share, repeats, rng):
            chosen = plan.rows_of(part)
            use = kept[chosen]
            y = plan.landslide[chosen[use]]
            if not 0 < y.sum() < len(y):
                continue
            weight = plan.weights_of(part)[use]
            counted = {"tiles": len(part), "blocks": len(np.unique(block[np.isin(ids, part)]))}
            fit = (job.rows, chosen[use], y, weight, model.features, views, trees, held)
            tasks.append((*fit, counted))
            shares.append(share)
    # Side by side with a thread each: threads of one booster wait for each other. Large ones
    # first, so that none of them is left to run alone.
    fits = list(in_processes(_fitted, tasks[::-1], jobs))[::-1]
    points = [
        {"share": share, **_mean([f for f, s in zip(fits, shares, strict=True) if s == share])}
        for share in dict.fromkeys(shares)
    ]
    return {
        "fold": fold,
        "trees": trees,
        "rows_share": rows_share,
        "held_rows": int(own.sum()),
        "points": points,
    }


def block_parts(
    ids: NDArray[np.int64],
    block: NDArray[np.int64],
    share: float,
    repeats: int,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Parts of the tiles in whole blocks, as unlike each other as there are blocks for.

    Blocks are put in a random order, in a circle; each part begins further on and takes blocks
    until it holds its share of the tiles, the last one if that comes nearer.

    Parameters
    ----------
    ids, block : int64 array, shape (tile,)
    share : float
        Of the tiles, in (0, 1].
    repeats : int

    Returns
    -------
    list of int64 array
        Ids, ascending.
    """
    if share >= 1:
        return [np.sort(ids)]
    names, place, tiles = np.unique(block, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    wanted = share * len(ids)
    out = []
    for r in range(repeats):
        circle = np.roll(order, -(r * len(order) // repeats))
        total = np.cumsum(tiles[circle])
        n = max(1, int(np.argmin(np.abs(total - wanted))) + 1)
        out.append(np.sort(ids[np.isin(place, circle[:n])]))
    return out


def _fitted(
    rows: Path,
    at: NDArray[np.int64],
    y: NDArray[np.uint8],
    weight: NDArray[np.float64],
    names: Sequence[str],
    views: list[dict[str, Any]],
    trees: int,
    held: UnseenRows,
    counted: dict[str, float],
) -> dict[str, float]:
    """Fit on some rows and score the held ones."""
    data = dataset(rows, at, y, weight, names, views[0])
    booster = lgb.Booster(model_str=boost(data, views, trees))
    logit = booster.predict(held.values, raw_score=True, num_threads=1)
    told = _scores(np.asarray(logit), held.y, held.weight)
    return {**told, **counted, "rows": len(y), "positives": int(y.sum())}


def _staged(
    model: PixelModel, fold: int, values: NDArray[np.float32], points: Sequence[int], jobs: int
) -> NDArray[np.float64]:
    """Logits after so many trees, shape (point, row)."""
    booster = model.booster(fold)
    there = booster.num_trees()
    out = np.empty((len(points), len(values)))
    logit, done = np.full(len(values), model.logit_shift), 0
    for p, trees in enumerate(points):
        until = min(trees, there)
        if len(values) and until > done:
            logit = logit + booster.predict(
                values, raw_score=True, start_iteration=done, num_iteration=until - done,
                num_threads=jobs,
            )  # fmt: skip
            done = until
        out[p] = logit
    return out


def _scores(
    logit: NDArray[np.float64], y: NDArray[np.uint8], weight: NDArray[np.float64]
) -> Scores:
    """Best weighted F1 over thresholds, average precision, and log loss in nats."""
    true = y == 1
    order = np.argsort(-logit, kind="stable")
    score, hit, w = logit[order], true[order], weight[order]
    last = np.append(score[1:] != score[:-1], True)  # equal scores are one threshold
    found, called = np.cumsum(w * hit)[last], np.cumsum(w)[last]
    real = max(float(found[-1]), 1e-300)
    p = np.clip(sigmoid(logit).astype(np.float64), 1e-7, 1 - 1e-7)
    surprise = np.where(true, -np.log(p), -np.log1p(-p))
    return {
        "f1": float((2 * found / (called + real)).max()),
        "average_precision": float((np.diff(found, prepend=0.0) * found / called).sum() / real),
        "log_loss": float(np.average(surprise, weights=weight)),
    }


def _mean(fits: Sequence[dict[str, float]]) -> dict[str, Any]:
    """One point of several fits."""
    mean = {k: float(np.mean([f[k] for f in fits])) for k in fits[0]}
    counted = {k: round(mean[k]) for k in ("tiles", "blocks", "rows", "positives")}
    f1 = [f["f1"] for f in fits]
    return {
        **counted, "repeats": len(fits), "f1": mean["f1"], "f1_low": min(f1), "f1_high": max(f1),
        "average_precision": mean["average_precision"],
    }  # fmt: skip
