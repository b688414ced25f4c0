"""What the score loses when features are permuted: by group, and by feature.

Gain tells what the trees used, permutation what the scores of tiles never seen would lose. Features
that say the same stand in for each other, so that each alone seems to matter little; a group
permuted together shows what it holds that no other group does.

The summary's ``importance`` is a dict::

    rows                      rows of the sample
    repeats                   donors drawn for each row
    threshold                 of probability, fixed
    f1, average_precision     of the sample before anything is permuted (weighted)
    groups                    list, largest F1 loss first: group, features (how many),
                              f1_loss, f1_loss_sd, average_precision_loss,
                              average_precision_loss_sd
    features                  list, the most used ten, largest F1 loss first: name, group and the
                              same four numbers

A loss is score before less score after, in units of the score (0.01 = one F1 point); ``_sd`` is
the standard deviation over repeats: of the donors' draw, not of the tiles'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.mixed_scores import mixed_scores
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.unseen import UnseenRows, in_threads

REPEATS = 5

ROWS = 24_000
"""Rows of the sample: the spread of a loss is then about a tenth of a point."""

FEATURES = 10
"""Single features that are permuted: those with the largest share of gain."""

_STREAM = 1703


def permutation_importance(
    model: PixelModel,
    sample: UnseenRows,
    threshold: float,
    features: Sequence[str],
    *,
    seed: int,
    jobs: int = 1,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Measure the loss of F1 and average precision when features are permuted.

    The columns of a group go together, from a donor row of the same fold. Donors are drawn with
    the rows' weights, so that what a pixel gets is what the scene would give it, not what the
    sample with its many landslides would. With equal weights every row is a donor once: Breiman's
    permutation (2001, doi:10.1023/A:1010933404324; Fisher, Rudin and Dominici 2019,
    arXiv:1801.01489).

    Parameters
    ----------
    sample : UnseenRows
    threshold : float
        Of probability.
    features : sequence of str
        Names to permute one by one.
    seed, jobs, repeats : int

    Returns
    -------
    dict
        See the module.
    """
    groups = list(dict.fromkeys(model.groups))
    taken = np.array(
        [[False] * len(model.features)]
        + [[g == own for own in model.groups] for g in groups]
        + [[n == own for own in model.features] for n in features]
    )
    folds = [int(k) for k in np.unique(sample.fold)]
    tasks = [
        (model, k, sample.values[own], sample.weight[own], taken, repeats, seed, jobs)
        for k in folds
        for own in (sample.fold == k,)
    ]
    told = in_threads(_permuted, tasks, jobs)
    probability = np.empty((len(taken), len(sample), repeats))
    for k, part in zip(folds, told, strict=True):
        probability[:, sample.fold == k] = sigmoid(part)
    scores = np.array(
        [
            [_scores(p[:, r], sample.y, sample.weight, threshold) for r in range(repeats)]
            for p in probability
        ]
    )
    base = scores[0, 0]
    loss = base - scores  # (mixture, repeat, score)
    rows = [
        {
            "f1_loss": float(of_one[:, 0].mean()),
            "f1_loss_sd": float(of_one[:, 0].std(ddof=1)) if repeats > 1 else None,
            "average_precision_loss": float(of_one[:, 1].mean()),
            "average_precision_loss_sd": float(of_one[:, 1].std(ddof=1)) if repeats > 1 else None,
        }
        for of_one in loss[1:]
    ]
    group_of = dict(zip(model.features, model.groups, strict=True))
    by_group = [
        {"group": g, "features": model.groups.count(g), **row}
        for g, row in zip(groups, rows[: len(groups)], strict=True)
    ]
    by_feature = [
        {"name": n, "group": group_of[n], **row}
        for n, row in zip(features, rows[len(groups) :], strict=True)
    ]
    return {
        "rows": len(sample),
        "repeats": repeats,
        "threshold": threshold,
        "f1": float(base[0]),
        "average_precision": float(base[1]),
        "groups": sorted(by_group, key=lambda row: -row["f1_loss"]),
        "features": sorted(by_feature, key=lambda row: -row["f1_loss"]),
    }


def _permuted(
    model: PixelModel,
    fold: int,
    rows: NDArray[np.float32],
    weight: NDArray[np.float64],
    taken: NDArray[np.bool_],
    repeats: int,
    seed: int,
    jobs: int,
) -> NDArray[np.float64]:
    rng = np.random.default_rng([seed, _STREAM, fold])
    n = len(rows)
    donor = np.empty((len(taken), n, repeats), np.int32)
    for x in range(len(taken)):
        for r in range(repeats):
            donor[x, :, r] = rng.permutation(donors_by_weight(weight, rng))
    return mixed_scores(model, fold, rows, rows, taken, donor, jobs)


def donors_by_weight(weight: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many donors as rows, each as often as its weight asks for, to one; shape (row,)."""
    n = len(weight)
    ends = np.cumsum(weight) * (n / weight.sum())
    ticks = np.minimum(rng.random(), 1 - 1e-9) + np.arange(n)
    return np.asarray(np.minimum(np.searchsorted(ends, ticks, "right"), n - 1))


def _scores(
    probability: NDArray[np.float64],
    y: NDArray[np.uint8],
    weight: NDArray[np.float64],
    threshold: float,
) -> tuple[float, float]:
    """Weighted F1 at a threshold, and average precision."""
    called, true = probability >= threshold, y == 1
    tp = float(weight[called & true].sum())
    total = float(weight[called].sum() + weight[true].sum())
    order = np.argsort(-probability, kind="stable")
    p, hit, w = probability[order], true[order], weight[order]
    # Equal scores are one threshold.
    last = np.append(p[1:] != p[:-1], True)
    found = np.cumsum(w * hit)[last]
    precision = found / np.cumsum(w)[last]
    average = float((np.diff(found, prepend=0.0) * precision).sum() / max(found[-1], 1e-300))
    return (2 * tp / total if total > 0 else 0.0), average
