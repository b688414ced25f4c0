"""Weight and thresholds of adapted models, moved from the run's by the number of labelled tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.counts import Counts, count
from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.learners import Learner, OutOfFold, count_jointly, weigh_by_f1

PRIOR_TILES = 20
"""Labelled tiles that weigh as much as all of the training when the weight and the threshold of
the stack are chosen."""


@dataclass(frozen=True)
class Decision:
    """Weight, and thresholds of ``pixel``, ``unet`` and ``stack``."""

    learner: Learner
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Scored:
    """Labelled tiles as ``pixel``, ``unet`` and ``stack`` predict them.

    Attributes
    ----------
    probability : dict of str to float32 array, shape (tile, y, x)
    mask : dict of str to uint8 array, shape (tile, y, x)
        At thresholds that were chosen without the tile's group.
    reference : uint8 array, shape (tile, y, x)
    """

    probability: dict[str, NDArray[np.float32]]
    mask: dict[str, NDArray[np.uint8]]
    reference: NDArray[np.uint8]

    def counts(self, model: str) -> Counts:
        """Counts of each tile."""
        return count(self.mask[model], self.reference)

    def average_precision(self, model: str) -> float:
        """Average precision, pooled over all pixels."""
        return _histogram(self.probability[model], self.reference).average_precision()


@dataclass(frozen=True)
class Prior:
    """The stack of the run, and the scores that its models' thresholds were chosen on."""

    stack: Stack
    reference: Mapping[str, ScoreHistogram]

    def decide(self, data: OutOfFold) -> Decision:
        """Move weight and thresholds towards the best of labelled tiles, by their number.

        Parameters
        ----------
        data : OutOfFold
            Logits of the labelled tiles, by models that were adapted without them.
        """
        n, old = len(data.fold), self.stack.learner_
        share = n / (n + PRIOR_TILES)
        best = weigh_by_f1(count_jointly(data, {0: np.ones(n, bool)})[0])
        weight = (1 - share) * old.weight_pixel + share * best
        learner = old.model_copy(update={"weight_pixel": weight})
        probability = self._probability(data, dict.fromkeys(data.fold.tolist(), learner))
        new = {m: _histogram(p, data.y) for m, p in probability.items()}
        return Decision(learner, {m: _threshold(self.reference[m], h, n) for m, h in new.items()})

    def cross_decide(self, data: OutOfFold) -> Scored:
        """Score each group (`data.fold`) by what the others decide."""
        groups = np.unique(data.fold).tolist()
        others = {k: np.flatnonzero(data.fold != k) for k in groups}
        return self.score(data, {k: self.decide(_some(data, at)) for k, at in others.items()})

    def score(self, data: OutOfFold, decisions: Mapping[int, Decision]) -> Scored:
        """Score each group by its decision."""
        groups = data.fold.tolist()
        found = self._probability(data, {k: one.learner for k, one in decisions.items()})
        mask = {}
        for m, probability in found.items():
            at = [decisions[k].thresholds[m] for k in groups]
            predict = self.stack.predict if m == "stack" else _above
            mask[m] = np.stack([predict(p, t) for p, t in zip(probability, at, strict=True)])
        return Scored(found, mask, data.y)

    def _probability(
        self, data: OutOfFold, learners: Mapping[int, Learner]
    ) -> dict[str, NDArray[np.float32]]:
        tiles = zip(data.fold.tolist(), data.pixel, data.unet, strict=True)
        joined = np.stack([learners[k].predict_proba(p, u) for k, p, u in tiles])
        base = {"pixel": sigmoid(data.pixel), "unet": sigmoid(data.unet)}
        return {**base, "stack": self.stack.calibration_(joined)}


def _above(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    return (probability >= np.float32(threshold)).astype(np.uint8)


def _histogram(probability: NDArray[np.float32], y: NDArray[np.uint8]) -> ScoreHistogram:
    made = ScoreHistogram.empty()
    made.add(probability, y)
    return made


def _some(data: OutOfFold, at: NDArray[np.int64]) -> OutOfFold:
    return OutOfFold(data.pixel[at], data.unet[at], data.y[at], data.fold[at], data.tile[at])


def _threshold(old: ScoreHistogram, new: ScoreHistogram, tiles: int) -> float:
    """Threshold of the best F1 on labelled tiles and, scaled to a few, those of training."""
    pixels = new.positive.sum() + new.negative.sum()
    scale = pixels / tiles * PRIOR_TILES / (old.positive.sum() + old.negative.sum())
    positive, negative = (
        np.round(1000 * (n + scale * o)).astype(np.int64)
        for n, o in ((new.positive, old.positive), (new.negative, old.negative))
    )
    return ScoreHistogram(positive, negative).best().value
