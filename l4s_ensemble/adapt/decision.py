"""Weight and thresholds of adapted models, moved from the run's by the number of labelled tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.learners import (
    Learner,
    OutOfFold,
    count_jointly,
    score_learners,
    weigh_by_f1,
)

PRIOR_TILES = 20
"""Labelled tiles that weigh as much as all of the training when the weight and the threshold of
the stack are chosen."""


@dataclass(frozen=True)
class Decision:
    """Weight and thresholds.

    Attributes
    ----------
    learner : Learner
    thresholds : dict of str to float
        Of ``pixel``, ``unet`` and ``stack``.
    """

    learner: Learner
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Scored:
    """Histograms of the labelled tiles by model, and each tile's thresholds by model.

    The thresholds of a tile are chosen without its group.
    """

    tiles: dict[str, TileHistograms]
    thresholds: dict[str, NDArray[np.float64]]

    @classmethod
    def fixed(cls, data: OutOfFold, learner: Learner, thresholds: Mapping[str, float]) -> Scored:
        """Score tiles by what is decided already."""
        counted = _counted(data, dict.fromkeys(np.unique(data.fold).tolist(), learner))
        return cls(counted, {m: np.full(len(data.fold), thresholds[m]) for m in counted})


@dataclass(frozen=True)
class Prior:
    """What the run decided, and the scores that it was decided on, by model."""

    learner: Learner
    reference: dict[str, ScoreHistogram]

    def decide(self, data: OutOfFold) -> Decision:
        """Move weight and thresholds towards the best of labelled tiles, by their number.

        Parameters
        ----------
        data : OutOfFold
            Logits of the labelled tiles, by models that were adapted without them.
        """
        share = len(data.fold) / (len(data.fold) + PRIOR_TILES)
        best = weigh_by_f1(count_jointly(data, {0: np.ones(len(data.fold), bool)})[0])
        weight = (1 - share) * self.learner.weight_pixel + share * best
        learner = self.learner.model_copy(update={"weight_pixel": weight})
        counted = _counted(data, dict.fromkeys(np.unique(data.fold).tolist(), learner))
        thresholds = {m: _threshold(self.reference[m], tiles) for m, tiles in counted.items()}
        return Decision(learner, thresholds)

    def cross_decide(self, data: OutOfFold) -> Scored:
        """Score each group (`data.fold`) by what the others decide."""
        chosen = {
            int(k): self.decide(_some(data, np.flatnonzero(data.fold != k)))
            for k in np.unique(data.fold)
        }
        counted = _counted(data, {k: one.learner for k, one in chosen.items()})
        each = [chosen[k].thresholds for k in data.fold.tolist()]
        return Scored(counted, {m: np.array([t[m] for t in each]) for m in counted})


def _counted(data: OutOfFold, learners: Mapping[int, Learner]) -> dict[str, TileHistograms]:
    """Histograms of ``pixel``, ``unet`` and ``stack``, each tile by the learner of its group."""
    counted = score_learners(data, {"stack": learners})
    del counted["mean"]
    return counted


def _some(data: OutOfFold, at: NDArray[np.int64]) -> OutOfFold:
    return OutOfFold(data.pixel[at], data.unet[at], data.y[at], data.fold[at], data.tile[at])


def _threshold(old: ScoreHistogram, tiles: TileHistograms) -> float:
    """Threshold of the best F1 on labelled tiles and, scaled to a few, those of training."""
    new = tiles.pooled()
    pixels = new.positive.sum() + new.negative.sum()
    scale = pixels / len(tiles.patch) * PRIOR_TILES / (old.positive.sum() + old.negative.sum())
    positive, negative = (
        np.round(1000 * (n + scale * o)).astype(np.int64)
        for n, o in ((new.positive, old.positive), (new.negative, old.negative))
    )
    return ScoreHistogram(positive, negative).best().value
