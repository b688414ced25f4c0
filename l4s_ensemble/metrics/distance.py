"""F1 against the distance to the nearest tile that the scoring model was trained on.

If training tiles leaked into what is scored, tiles near them would be scored better than tiles far
away. But F1 is also higher where more is landslide, whatever the model, and landslides are not
spread evenly. So bins are compared at one prevalence q, that of all tiles with a distance: from
recall r and false positive rate f of a bin, F1 is ``2 r q / (r q + f (1 - q) + q)``.

Distance is that of the chessboard, in tiles of one scene: 1 touches (corners too), 2 leaves one
tile between. A tile in a scene of which the model saw nothing has none.

The summary is a dict (a ratio without a denominator is None)::

    rows    list of {low, high (both counted in; None = no bound; both None: no training tile in
            that scene), tiles, landslide (share of pixels), precision, recall, f1, f1_low, f1_high,
            f1_even (at one prevalence), blocks}; bins without a tile are left out
    trend   {near, far: {low, high, tiles, f1, f1_even}; value: F1 near minus F1 far; low, high,
            blocks, level; even: {value, low, high}, the same at one prevalence; verdict}. Verdict,
            of the latter: 'falls' (interval above zero: scored better near training tiles, as a
            leak would show, or ground that is alike close by), 'rises', 'none shown', or 'unknown'
            where blocks are too few. None without two distances
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import FEWEST_BLOCKS, Interval, f1_interval, score_interval
from l4s_ensemble.metrics.counts import Counts, scores_pooled

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

NONE = -1
"""Distance of a tile in whose scene nothing was trained on."""

DISTANCES = (1, 2, 3, 4, 5, 7, 10, 15, 25)
"""Lowest distance of each bin, tiles; the last has no bound."""


def distance_tiles(folds: Folds, ids: ArrayLike, trained: ArrayLike) -> NDArray[np.int64]:
    """Distance of tiles to the nearest training tile of their scene.

    Parameters
    ----------
    folds : Folds
        They know the places.
    ids : array_like of int, shape (tile,)
    trained : array_like of int, shape (training tile,)

    Returns
    -------
    int64 array, shape (tile,)
        Chessboard distance in tiles; `NONE` without a training tile in the scene, or where the
        place is not known.
    """
    from scipy.spatial import cKDTree

    scene, row, col = (folds.of(ids, name) for name in ("scene", "row", "col"))
    scene_t, row_t, col_t = (folds.of(trained, name) for name in ("scene", "row", "col"))
    out = np.full(len(scene), NONE, np.int64)
    for s in np.unique(scene[scene >= 0]):
        here, there = scene == s, scene_t == s
        if there.any():
            tree = cKDTree(np.stack([row_t[there], col_t[there]], axis=1).astype(float))
            found, _ = tree.query(np.stack([row[here], col[here]], axis=1).astype(float), p=np.inf)
            out[here] = np.rint(found).astype(np.int64)
    return out


def out_of_fold_distance(folds: Folds, ids: ArrayLike) -> NDArray[np.int64]:
    """Distance of each tile to the training tiles of its own fold's model, shape (tile,)."""
    of_tile = np.asarray(ids, dtype=np.int64)
    fold = folds.of(of_tile, "fold")
    out = np.full(len(of_tile), NONE, np.int64)
    for k in range(folds.n_folds):
        held = fold == k
        out[held] = distance_tiles(folds, of_tile[held], folds.train_ids(k))
    return out


def holdout_distance(folds: Folds, ids: ArrayLike) -> NDArray[np.int64]:
    """Distance of tiles set aside to all tiles that fit some fold, shape (tile,)."""
    return distance_tiles(folds, ids, folds.fit_ids)


def by_distance(
    counts: Counts,
    distance: ArrayLike,
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score tiles by distance; see the module.

    Parameters
    ----------
    counts : Counts
        One value a tile, at the threshold that is claimed.
    distance : array_like of int, shape (tile,)
        From `out_of_fold_distance` or `holdout_distance`.
    block : array_like, shape (tile,)
        Spatial blocks for the intervals.
    """
    away, of_block = np.asarray(distance, dtype=np.int64), np.asarray(block)
    prevalence = _prevalence(_table(counts, away != NONE).sum(axis=0))
    rows = []
    bins: list[tuple[int | None, int | None]] = [(a, b - 1) for a, b in pairwise(DISTANCES)]
    for low, high in [*bins, (DISTANCES[-1], None), (None, None)]:
        if low is None:
            own = away == NONE
        else:
            own = (away >= low) & (away <= (away.max() if high is None else high))
        if own.any():
            scored = _scored(counts, own, of_block, resamples, seed)
            even = None if low is None else float(_f1_even(_table(counts, own).sum(0), prevalence))
            rows.append({"low": low, "high": high, **scored, "f1_even": even})
    return {"rows": rows, "trend": _trend(counts, away, of_block, resamples, seed)}


def _scored(
    counts: Counts, own: NDArray[np.bool_], block: NDArray[Any], resamples: int, seed: int
) -> dict[str, Any]:
    part = _subset(counts, own)
    scores = scores_pooled(part)
    interval = f1_interval(part, block[own], resamples=resamples, seed=seed)
    tp, fp, fn, tn = (scores[key] for key in ("tp", "fp", "fn", "tn"))
    some = tp + fp + fn > 0
    return {
        "tiles": int(own.sum()),
        "landslide": (tp + fn) / (tp + fp + fn + tn),
        "precision": scores["precision"] if tp + fp else None,
        "recall": scores["recall"] if tp + fn else None,
        "f1": scores["f1"] if some else None,
        "f1_low": interval.low if some else None,
        "f1_high": interval.high if some else None,
        "blocks": interval.blocks,
    }


def _trend(
    counts: Counts, away: NDArray[np.int64], block: NDArray[Any], resamples: int, seed: int
) -> dict[str, Any] | None:
    """Near half against far half: cut where the two are nearest to equal in number of tiles."""
    known = away != NONE
    steps = np.unique(away[known])
    if len(steps) < 2:
        return None
    share = np.array([(away[known] < cut).mean() for cut in steps[1:]])
    cut = int(steps[1:][np.argmin(np.abs(share - 0.5))])
    near, far = known & (away < cut), away >= cut
    columns = np.concatenate([_table(counts, near), _table(counts, far)], axis=1)[known]
    plain, even = (
        score_interval(score, columns, block[known], resamples=resamples, seed=seed)
        for score in (_near_minus_far, _near_minus_far_even)
    )
    prevalence = _prevalence(_table(counts, known).sum(axis=0))
    parts = {
        name: {
            "low": int(away[own].min()),
            "high": int(away[own].max()),
            "tiles": int(own.sum()),
            "f1": float(_f1(_table(counts, own).sum(axis=0))),
            "f1_even": float(_f1_even(_table(counts, own).sum(axis=0), prevalence)),
        }
        for name, own in (("near", near), ("far", far))
    }
    fewest = min(len(np.unique(block[own])) for own in (near, far))
    return {
        **parts,
        "value": plain.value,
        "low": plain.low,
        "high": plain.high,
        "blocks": plain.blocks,
        "level": plain.level,
        "even": {"value": even.value, "low": even.low, "high": even.high},
        "verdict": "unknown" if fewest < FEWEST_BLOCKS else _verdict(even),
    }


def _table(counts: Counts, own: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts of chosen tiles, and zero for the others, shape (tile, 4)."""
    each = (counts.tp, counts.fp, counts.fn, counts.tn)
    return np.stack([np.where(own, c, 0) for c in each], axis=1).astype(np.int64)


def _near_minus_far(sums: NDArray[Any]) -> NDArray[np.float64]:
    return _f1(sums[..., :4]) - _f1(sums[..., 4:])


def _near_minus_far_even(sums: NDArray[Any]) -> NDArray[np.float64]:
    near, far = sums[..., :4], sums[..., 4:]
    prevalence = _prevalence(near + far)
    return _f1_even(near, prevalence) - _f1_even(far, prevalence)


def _f1(sums: NDArray[Any]) -> NDArray[np.float64]:
    tp, fp, fn, _ = (sums[..., i].astype(np.float64) for i in range(4))
    f1: NDArray[np.float64] = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return f1


def _f1_even(sums: NDArray[Any], prevalence: Any) -> NDArray[np.float64]:
    """F1 at another prevalence; 0 where there is no landslide to find."""
    tp, fp, fn, tn = (sums[..., i].astype(np.float64) for i in range(4))
    found = tp / np.maximum(tp + fn, 1) * prevalence
    false = fp / np.maximum(fp + tn, 1) * (1 - prevalence)
    below = found + false + prevalence
    f1: NDArray[np.float64] = np.where(below > 0, 2 * found / np.where(below > 0, below, 1), 0.0)
    return f1


def _prevalence(sums: NDArray[Any]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = (sums[..., 0] + sums[..., 2]) / np.maximum(sums.sum(axis=-1), 1)
    return share


def _verdict(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "unknown"
    if interval.is_above_zero:
        return "falls"
    return "rises" if interval.high < 0 else "none shown"


def _subset(counts: Counts, own: NDArray[np.bool_]) -> Counts:
    return Counts(counts.tp[own], counts.fp[own], counts.fn[own], counts.tn[own])
