"""How the logit moves with a feature: partial dependence and accumulated local effects.

Partial dependence asks every pixel "and if your slope were 40 degrees?", also where bare rock of
that slope never is. Accumulated local effects only move a pixel within its own narrow bin of the
feature and add the moves up, so that correlated features do not lend each other their effect
(Apley and Zhu 2020, doi:10.1111/rssb.12377). Where the two curves differ, trust the second.

The summary's ``dependence`` is a dict::

    rows        rows of the sample
    features    list, the most telling first, near copies of a better one left out. Each has
        name, group
        grid                values of the feature, ascending (quantiles, half of them of landslide
                            pixels: the curve is fine where landslides are)
        pd                  mean logit of all pixels when the feature has that value
        pd_low, pd_high     least and greatest of the fold models' curves
        pd_mean             mean of `pd` over the pixels: subtract it to lay the curve over `ale`
        ale                 accumulated local effect, logit, mean zero over the pixels
        ale_low, ale_high   least and greatest of the fold models' curves
        landslide, other    share of the pixels of each class between two values of the grid (one
                            less than the grid), weighted

and ``dependence.npz`` holds ``names (feature,)``, ``grid (feature, point)``, and by fold ``pd``,
``ale (feature, fold, point)``, ``fold (fold,)``; NaN beyond the end of a short grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.mixed_scores import mixed_scores
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.unseen import UnseenRows, in_threads
from l4s_ensemble.run.files import atomic_path

ROWS = 4000
POINTS = 24
FEATURES = 10

ALIKE = 0.9
"""Rank correlation from which one feature is a near copy of the other."""


def telling_features(
    names: Sequence[str],
    contributions: NDArray[np.floating[Any]],
    values: NDArray[np.float32],
    n: int = FEATURES,
) -> list[str]:
    """Names of the features with the largest mean contribution, without near copies.

    Parameters
    ----------
    contributions, values : array, shape (row, feature)
    """
    from scipy.stats import rankdata

    size = np.abs(contributions).mean(axis=0)
    # Constant features have no rank to speak of and no effect to show.
    order = [i for i in np.argsort(-size, kind="stable") if np.ptp(values[:, i]) > 0]
    ranks: dict[int, NDArray[np.float64]] = {}
    for i in order:
        if len(ranks) == n:
            break
        rank = rankdata(values[:, i])
        rank = (rank - rank.mean()) / rank.std() / np.sqrt(len(rank))
        if all(abs(float(rank @ other)) < ALIKE for other in ranks.values()):
            ranks[int(i)] = rank
    return [names[i] for i in ranks]


def grid_of(
    value: NDArray[np.float32], y: NDArray[np.uint8], weight: NDArray[np.float64], n: int = POINTS
) -> NDArray[np.float32]:
    """Ascending values of a feature, from the least to the greatest: at most `n` quantiles.

    Both classes count alike.
    """
    total = np.bincount(y, weights=weight, minlength=2)
    w = weight / np.maximum(total[y], 1e-300)
    order = np.argsort(value, kind="stable")
    ends = np.cumsum(w[order])
    at = np.searchsorted(ends, np.linspace(0, 1, n) * ends[-1])
    inner = value[order[np.minimum(at, len(value) - 1)]]
    return np.unique(np.append(inner, [value.min(), value.max()]))


def dependence(
    model: PixelModel, sample: UnseenRows, names: Sequence[str], *, jobs: int = 1
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Compute both curves of some features, each row scored by the model that did not see it.

    Returns
    -------
    summary : dict
        See the module.
    arrays : dict
        For ``dependence.npz``.
    """
    columns = [model.features.index(n) for n in names]
    grids = [grid_of(sample.values[:, c], sample.y, sample.weight) for c in columns]
    folds = [int(k) for k in np.unique(sample.fold)]
    owns = [sample.fold == k for k in folds]
    tasks = [(model, k, sample.values[own], columns, grids, jobs) for k, own in
             zip(folds, owns, strict=True)]  # fmt: skip
    scores = in_threads(_walked, tasks, jobs)
    points = max((len(g) for g in grids), default=0)
    shape = (len(names), len(folds), points)
    by_fold = {"pd": np.full(shape, np.nan), "ale": np.full(shape, np.nan)}
    rows = []
    for i, (name, column, grid) in enumerate(zip(names, columns, grids, strict=True)):
        value = sample.values[:, column]
        place = np.clip(np.searchsorted(grid, value, "left") - 1, 0, max(len(grid) - 2, 0))
        logit = np.empty((len(sample), len(grid)))
        for own, told in zip(owns, scores, strict=True):
            logit[own] = told[i, :, : len(grid)]
        pooled = _curves(logit, place, sample.weight)
        for f, own in enumerate(owns):
            part = _curves(logit[own], place[own], sample.weight[own], pooled[2])
            by_fold["pd"][i, f, : len(grid)], by_fold["ale"][i, f, : len(grid)] = part[:2]
        rows.append(_row(model, name, grid, pooled, by_fold, i, place, sample))
    arrays = {
        "names": np.array(list(names), dtype=str),
        "grid": np.stack([_padded(g, points) for g in grids]) if grids else np.empty((0, 0)),
        "fold": np.array(folds),
        **by_fold,
    }
    return {"rows": len(sample), "features": rows}, arrays


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an ``.npz`` atomically."""
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _walked(
    model: PixelModel,
    fold: int,
    rows: NDArray[np.float32],
    columns: Sequence[int],
    grids: Sequence[NDArray[np.float32]],
    jobs: int,
) -> NDArray[np.float64]:
    """Logits of all rows at all values of each grid, (feature, row, point)."""
    points = max((len(g) for g in grids), default=0)
    donors = np.zeros((len(columns) * points, rows.shape[1]), np.float32)
    taken = np.zeros((len(columns), rows.shape[1]), bool)
    donor = np.zeros((len(columns), len(rows), points), np.int32)
    for i, (column, grid) in enumerate(zip(columns, grids, strict=True)):
        taken[i, column] = True
        own = i * points + np.minimum(np.arange(points), len(grid) - 1)
        donors[own[: len(grid)], column] = grid
        donor[i] = own
    return mixed_scores(model, fold, rows, donors, taken, donor, jobs)


def _curves(
    logit: NDArray[np.float64],
    place: NDArray[np.int64],
    weight: NDArray[np.float64],
    steps: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Partial dependence, accumulated local effect, and the effect's steps.

    Parameters
    ----------
    logit : float64 array, shape (row, point)
    place : int64 array, shape (row,)
        Bin of the row's own value.
    steps : float64 array, shape (point - 1,), optional
        Stands in where no row is in a bin.
    """
    pd = np.average(logit, axis=0, weights=weight)
    bins = logit.shape[1] - 1
    if bins < 1:
        return pd, np.zeros(1), np.zeros(0)
    row = np.arange(len(logit))
    total = np.bincount(place, weights=weight, minlength=bins)
    moved = np.bincount(
        place, weights=weight * (logit[row, place + 1] - logit[row, place]), minlength=bins
    )
    instead = np.zeros(bins) if steps is None else steps
    step = np.where(total > 0, moved / np.maximum(total, 1e-300), instead)
    ale = np.append(0.0, np.cumsum(step))
    middle = (ale[1:] + ale[:-1]) / 2
    return pd, ale - float((total * middle).sum() / total.sum()), step


def _row(
    model: PixelModel,
    name: str,
    grid: NDArray[np.float32],
    pooled: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    by_fold: dict[str, NDArray[np.float64]],
    i: int,
    place: NDArray[np.int64],
    sample: UnseenRows,
) -> dict[str, Any]:
    n = len(grid)
    pd, ale, _ = pooled
    share = {}
    for key, kind in (("landslide", 1), ("other", 0)):
        own = sample.y == kind
        counted = np.bincount(place[own], weights=sample.weight[own], minlength=max(n - 1, 1))
        share[key] = (counted / max(float(counted.sum()), 1e-300)).tolist()
    of_bin = np.bincount(place, weights=sample.weight, minlength=max(n - 1, 1))
    middle = (pd[1:] + pd[:-1]) / 2 if n > 1 else pd
    return {
        "name": name,
        "group": model.groups[model.features.index(name)],
        "grid": grid.astype(float).tolist(),
        "pd": pd.tolist(),
        "pd_low": by_fold["pd"][i, :, :n].min(axis=0).tolist(),
        "pd_high": by_fold["pd"][i, :, :n].max(axis=0).tolist(),
        "pd_mean": float((of_bin * middle).sum() / of_bin.sum()),
        "ale": ale.tolist(),
        "ale_low": by_fold["ale"][i, :, :n].min(axis=0).tolist(),
        "ale_high": by_fold["ale"][i, :, :n].max(axis=0).tolist(),
        **share,
    }


def _padded(grid: NDArray[np.float32], points: int) -> NDArray[np.float64]:
    return np.append(grid.astype(np.float64), np.full(points - len(grid), np.nan))
