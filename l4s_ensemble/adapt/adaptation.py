"""Adapt the models of an ensemble to labelled tiles: U-Nets, pixel classifiers, stack."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pixel.blocks import blocks_of, rows_of_block
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.model import fold_folder
from l4s_ensemble.pixel.sampling import plan_pixels
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.learners import Learner, OutOfFold, count_jointly, weigh_by_f1
from l4s_ensemble.unet.classifier import UNetClassifier
from l4s_ensemble.unet.inputs.tileset import TileSet, load

STEPS = 200
"""Optimiser steps of a U-Net."""

DECAY = 0.3
"""Share of its old value that a leaf of the pixel classifier keeps: of .9, .7, .5, .3 and .1 about
the best with 20 labels from scene 1 to 2 (average precision .51 before; .69 .77 .79 .80 .80)."""

GROUPS = 5
"""Most groups of labelled tiles that are scored by models adapted without them."""

PRIOR_TILES = 20
"""Labelled tiles that weigh as much as all of the training when the weight and the threshold of
the stack are chosen."""

Models = tuple[list[PixelClassifier], list[UNetClassifier]]


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
class Adapted:
    """Adapted models, what was decided with them, and scores of the labelled tiles.

    Attributes
    ----------
    pixel : list of PixelClassifier
    unet : list of UNetClassifier
        One a fold, as in the run.
    stack : Stack
    decision : Decision
    group : int64 array, shape (tile,)
    before, after : Scored
        Of the labelled tiles, by single fold models that take turns: of the run, and adapted
        without the tile's group.
    """

    pixel: list[PixelClassifier]
    unet: list[UNetClassifier]
    stack: Stack
    decision: Decision
    group: NDArray[np.int64]
    before: Scored
    after: Scored


@dataclass(frozen=True)
class Scored:
    """Histograms of the labelled tiles by model, and each tile's thresholds by model.

    The thresholds of a tile are chosen without its group.
    """

    tiles: dict[str, TileHistograms]
    thresholds: dict[str, NDArray[np.float64]]


def adapt_ensemble(
    ensemble: Ensemble,
    source: FeatureSource,
    patch: NDArray[np.int64],
    mask: NDArray[np.uint8],
    blocks: NDArray[np.int64],
    thresholds: Mapping[str, float],
    *,
    jobs: int = 1,
) -> Adapted:
    """Adapt all three parts of an ensemble to labelled tiles.

    The labelled tiles are split into groups of whole spatial blocks. Each group is scored by the
    models of one fold, adapted without it; weight and thresholds are chosen on these scores.

    Parameters
    ----------
    ensemble : Ensemble
    source : FeatureSource
        Of the place, with the statistics of its scenes.
    patch : int64 array, shape (tile,)
        Ids of the labelled tiles.
    mask : uint8 array, shape (tile, y, x)
        1 = landslide.
    blocks : int64 array, shape (tile,)
        Spatial block of each.
    thresholds : mapping of str to float
        Of the run, by model.

    Raises
    ------
    DataError
        If fewer than two labelled tiles have landslides.
    """
    tiles = load(source.dataset(), source.positions(patch), masks=False)
    tiles = replace(tiles, mask=torch.from_numpy(mask))
    group, folds = groups_of(blocks, mask), ensemble.n_folds
    turn = [k % folds for k in range(int(group.max()) + 1)]
    every = np.arange(len(patch))
    parts = [*([every] * folds), *(np.flatnonzero(group != k) for k in range(len(turn)))]
    saved = (fold_folder(ensemble.pixel.folder, k) for k in range(folds))
    pixel, unet = [PixelClassifier.load(one) for one in saved], list(ensemble.unet.folds)
    models = ([*pixel, *(pixel[k] for k in turn)], [*unet, *(unet[k] for k in turn)])
    made = _adapt(models, source, patch, tiles, parts, seed=ensemble.pixel.seed, jobs=jobs)
    in_turn = [pixel[k] for k in turn], [unet[k] for k in turn]
    before = _logits(in_turn, source, patch, tiles, group, jobs=jobs)
    after = _logits(
        (made[0][folds:], made[1][folds:]), source, patch, tiles, group, jobs=jobs
    )  # fmt: skip
    old = _Old(
        ensemble.stack.learner_,
        {
            "stack": ensemble.stack.reference_,
            **{
                m: TileHistograms.load(ensemble.folder / f"stack/tiles_{m}.npz").pooled()
                for m in ("pixel", "unet")
            },
        },
    )
    decision, stack = old.decide(after), copy.copy(ensemble.stack)
    stack.learner_, stack.threshold_ = decision.learner, decision.thresholds["stack"]
    fixed = {m: np.full(len(patch), thresholds[m]) for m in old.reference}
    return Adapted(
        made[0][:folds],
        made[1][:folds],
        stack,
        decision,
        group,
        Scored(histograms(before, old.learner), fixed),
        old.cross_decide(after, group),
    )


def groups_of(blocks: NDArray[np.int64], mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Divide labelled tiles into groups of whole blocks, with landslides in each: int64 (tile,).

    Where fewer than two blocks have landslides, tiles are divided.

    Raises
    ------
    DataError
        If fewer than two tiles have landslides: none could be scored by what was learnt of others.
    """
    landslide = mask.any(axis=(1, 2))
    if landslide.sum() < 2:
        raise DataError(
            "too few labelled tiles have landslides",
            found=int(landslide.sum()),
            allowed="2 or more",
            fix="label more tiles",
        )
    if len(np.unique(blocks[landslide])) < 2:
        blocks = np.arange(len(blocks))
    names, index = np.unique(blocks, return_inverse=True)
    pixels = np.bincount(index, weights=mask.sum(axis=(1, 2)))
    most = min(GROUPS, int((pixels > 0).sum()))
    of_block = np.empty(len(names), np.int64)
    # The largest first, in turns there and back, so that the groups are about alike.
    turns = np.concatenate([np.arange(most), np.arange(most)[::-1]])
    of_block[np.argsort(-pixels, kind="stable")] = np.resize(turns, len(names))
    return of_block[index]


def _adapt(
    models: Models,
    source: FeatureSource,
    patch: NDArray[np.int64],
    tiles: TileSet,
    parts: Sequence[NDArray[np.int64]],
    *,
    seed: int,
    jobs: int,
) -> Models:
    """Adapt each pair of models to its part of the labelled tiles."""
    assert tiles.mask is not None
    plan = plan_pixels(patch, tiles.mask.numpy(), PixelConfig(), seed)
    starts = np.flatnonzero(np.diff(plan.patch, prepend=plan.patch[0] - 1))
    positions, pixels = source.positions(plan.patch[starts]), np.split(plan.pixel, starts[1:])
    tasks = [(source, positions[b], pixels[b]) for b in blocks_of(len(starts))]
    rows = np.concatenate(list(in_processes(rows_of_block, tasks, jobs)))
    refitted = []
    for classifier, part in zip(models[0], parts, strict=True):
        weight = plan.weights_of(patch[part])
        kept = weight > 0
        refitted.append(
            classifier.refit(rows[kept], plan.landslide[kept], weight[kept], decay=DECAY)
        )
    tuned = in_processes(
        _fine_tune,
        [(model, tiles.at(part)) for model, part in zip(models[1], parts, strict=True)],
        jobs,
    )
    return refitted, list(tuned)


def _fine_tune(model: UNetClassifier, tiles: TileSet) -> UNetClassifier:
    return model.fine_tune(tiles, steps=STEPS)


def _logits(
    models: Models,
    source: FeatureSource,
    patch: NDArray[np.int64],
    tiles: TileSet,
    group: NDArray[np.int64],
    *,
    jobs: int,
) -> OutOfFold:
    """Logits of the labelled tiles, each by the pair of models of its group."""
    assert tiles.mask is not None
    mask = tiles.mask.numpy()
    pixel, unet = (np.empty(mask.shape, np.float32) for _ in range(2))
    for k, (classifier, network) in enumerate(zip(*models, strict=True)):
        own = np.flatnonzero(group == k)
        pixel[own] = score_pixel([classifier], source, patch[own], jobs=jobs)[0]
        unet[own] = network.predict_logit(tiles.at(own))
    return OutOfFold(pixel, unet, mask, group, patch)


def score_pixel(
    classifiers: Sequence[PixelClassifier],
    source: FeatureSource,
    patch: NDArray[np.int64],
    *,
    jobs: int,
) -> NDArray[np.float32]:
    """Logits of every classifier, float32 (classifier, tile, y, x)."""
    positions = source.positions(patch)
    tasks = [(tuple(classifiers), source, positions[b]) for b in blocks_of(len(positions))]
    return np.concatenate(list(in_processes(_score_block, tasks, jobs)), axis=1)


def _score_block(
    classifiers: tuple[PixelClassifier, ...], source: FeatureSource, positions: NDArray[np.int64]
) -> NDArray[np.float32]:
    tiles = source.each(positions)
    return np.stack([[c.predict_logit_image(t) for c in classifiers] for t in tiles], axis=1)


def histograms(data: OutOfFold, learner: Learner) -> dict[str, TileHistograms]:
    """Histograms of ``pixel``, ``unet`` and ``stack``, without calibration."""
    maps = {
        "pixel": sigmoid(data.pixel),
        "unet": sigmoid(data.unet),
        "stack": learner.predict_proba(data.pixel, data.unet),
    }
    counted = {name: TileHistograms.empty(data.tile) for name in maps}
    for name, probability in maps.items():
        for i, (p, y) in enumerate(zip(probability, data.y, strict=True)):
            counted[name].add(i, p, y)
    return counted


@dataclass(frozen=True)
class _Old:
    """What the run decided, and the scores that it was decided on, by model."""

    learner: Learner
    reference: dict[str, ScoreHistogram]

    def decide(self, data: OutOfFold) -> Decision:
        """Move weight and thresholds towards the best of labelled tiles, by their number."""
        share = len(data.fold) / (len(data.fold) + PRIOR_TILES)
        best = weigh_by_f1(count_jointly(data, {0: np.ones(len(data.fold), bool)})[0])
        weight = (1 - share) * self.learner.weight_pixel + share * best
        learner = self.learner.model_copy(update={"weight_pixel": weight})
        counted = histograms(data, learner)
        thresholds = {m: _threshold(self.reference[m], tiles) for m, tiles in counted.items()}
        return Decision(learner, thresholds)

    def cross_decide(self, data: OutOfFold, group: NDArray[np.int64]) -> Scored:
        """Score each group by what the others decide."""
        tiles = {m: TileHistograms.empty(data.tile) for m in self.reference}
        thresholds = {m: np.empty(len(group)) for m in self.reference}
        for k in np.unique(group):
            own = np.flatnonzero(group == k)
            chosen = self.decide(_some(data, np.flatnonzero(group != k)))
            for m, counted in histograms(_some(data, own), chosen.learner).items():
                tiles[m].positive[own] = counted.positive
                tiles[m].negative[own] = counted.negative
                thresholds[m][own] = chosen.thresholds[m]
        return Scored(tiles, thresholds)


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
