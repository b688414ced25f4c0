"""What more labels bring: models adapted to a few, to more and to most of the labelled tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.adapt.adaptation import LabelledTiles, classifiers_of
from l4s_ensemble.adapt.summary import CurvePoint
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.predict.ensemble import Ensemble

SIZES = (3, 5, 10, 20, 40)
"""Labelled tiles of the points after the first, which has none."""

_STREAM = 1801


def learning_curve(
    ensemble: Ensemble, labelled: LabelledTiles, group: NDArray[np.int64], draws: int
) -> list[CurvePoint]:
    """Score labelled tiles by models of one fold adapted to more and more of the others.

    Each draw leaves a group out and takes the others' tiles in an order of its own; its points are
    scored on the same tiles.

    Parameters
    ----------
    ensemble : Ensemble
    labelled : LabelledTiles
    group : int64 array, shape (tile,)
        With landslides in each.
    draws : int
    """
    groups = int(group.max()) + 1
    fewest = min(int((group != k).sum()) for k in range(groups))
    sizes = [n for n in SIZES if n <= fewest]
    found: list[list[float]] = [[] for _ in range(1 + len(sizes))]
    for draw in range(draws):
        own = np.flatnonzero(group == draw % groups)
        order = _order(labelled, np.flatnonzero(group != draw % groups), draw, ensemble.pixel.seed)
        base = classifiers_of(ensemble)[0], ensemble.unet.folds[0]
        adapted = labelled.adapt(
            ([base[0]] * len(sizes), [base[1]] * len(sizes)),
            [np.sort(order[:n]) for n in sizes],
            jobs=ensemble.jobs,
        )
        models = [base[0], *adapted[0]], [base[1], *adapted[1]]
        pairs = zip(*labelled.logits(models, own, jobs=ensemble.jobs), strict=True)
        for values, pair in zip(found, pairs, strict=True):
            probability = ensemble.stack.learner_.predict_proba(*pair)
            scored = ScoreHistogram.empty()
            scored.add(probability, labelled.mask[own])
            values.append(scored.average_precision())
    return [
        CurvePoint(tiles=n, average_precision=v) for n, v in zip([0, *sizes], found, strict=True)
    ]


def _order(
    labelled: LabelledTiles, tiles: NDArray[np.int64], draw: int, seed: int
) -> NDArray[np.int64]:
    """Tiles in random order, with a landslide among the first few."""
    rng = np.random.default_rng([_STREAM, seed, draw])
    landslide = np.flatnonzero(labelled.mask.any(axis=(1, 2)))
    while True:
        order = rng.permutation(tiles)
        if np.isin(order[: SIZES[0]], landslide).any():
            return order
