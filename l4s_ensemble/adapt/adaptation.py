"""Adapt the models of an ensemble to labelled tiles: U-Nets, pixel classifiers, stack."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.adapt.decision import Decision, Prior, Scored
from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pixel.blocks import blocks_of, sampled_rows
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.model import fold_folder
from l4s_ensemble.pixel.sampling import PixelPlan, plan_pixels
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.learners import BASE_MODELS, OutOfFold
from l4s_ensemble.unet.classifier import UNetClassifier
from l4s_ensemble.unet.inputs.tileset import TileSet, load
from l4s_ensemble.unet.model import UNetModel

STEPS, RATE = 100, 2e-3
"""Optimiser steps of a U-Net and the peak of their rate. With 20 labels average precision from
scene 1 to 2 and from 2 to 1 is .836 and .544; with 200 steps at 1e-3, which take twice as long,
.835 and .519; with 60 steps at 2e-3 .523 from 2 to 1."""

DECAY = 0.3
"""Share of its old value that a leaf of the pixel classifier keeps: of .9, .7, .5, .3 and .1 about
the best with 20 labels from scene 1 to 2 (average precision .51 before; .69 .77 .79 .80 .80)."""

LANDSLIDE_ROWS = 5000
"""Most landslide pixels that leaves are refitted to. Of 20 tiles with 18,000 average precision
from scene 1 to 2 is .810 with all, .804 with 3,000, six times faster."""

GROUPS = 5
"""Most groups of labelled tiles that are scored by models adapted without them."""

Models = tuple[Sequence[PixelClassifier], Sequence[UNetClassifier]]
"""Pixel classifiers and U-Nets, in pairs."""


@dataclass(frozen=True)
class LabelledTiles:
    """Labelled tiles of a place, and the pixels that leaves are refitted to.

    Attributes
    ----------
    source : FeatureSource
        Of the place, with the statistics of its scenes.
    patch : int64 array, shape (tile,)
    mask : uint8 array, shape (tile, y, x)
    tiles : TileSet
    plan : PixelPlan
    rows : float32 array, shape (row, feature)
        Of the plan's pixels.
    """

    source: FeatureSource
    patch: NDArray[np.int64]
    mask: NDArray[np.uint8]
    tiles: TileSet
    plan: PixelPlan
    rows: NDArray[np.float32]

    @classmethod
    def read(
        cls,
        source: FeatureSource,
        patch: NDArray[np.int64],
        mask: NDArray[np.uint8],
        *,
        seed: int,
        jobs: int,
    ) -> LabelledTiles:
        """Read images and compute the features of some pixels."""
        tiles = load(source.dataset(), source.positions(patch), masks=False)
        plan = plan_pixels(patch, mask, PixelConfig(positives_max=LANDSLIDE_ROWS), seed)
        rows = np.concatenate(list(sampled_rows(source, plan, jobs)))
        return cls(source, patch, mask, replace(tiles, mask=torch.from_numpy(mask)), plan, rows)

    def adapt(self, models: Models, parts: Sequence[NDArray[np.int64]], *, jobs: int) -> Models:
        """Adapt each pair of models to its part of the tiles, given by positions."""
        refitted = []
        for classifier, part in zip(models[0], parts, strict=True):
            weight = self.plan.weights_of(self.patch[part])
            kept = weight > 0
            rows, label = self.rows[kept], self.plan.landslide[kept]
            refitted.append(classifier.refit(rows, label, weight[kept], decay=DECAY))
        tasks = [(m, self.tiles.at(part)) for m, part in zip(models[1], parts, strict=True)]
        return refitted, list(in_processes(_fine_tune, tasks, jobs))

    def score(
        self, models: Sequence[Models], group: NDArray[np.int64], *, jobs: int
    ) -> list[OutOfFold]:
        """Score the tiles of each group by the pair of its number; once for each of `models`."""
        logits = np.empty((2, len(models), *self.mask.shape), np.float32)
        for k in np.unique(group):
            own = np.flatnonzero(group == k)
            pairs = [p[k] for p, _ in models], [u[k] for _, u in models]
            logits[:, :, own] = self.logits(pairs, own, jobs=jobs)
        return [OutOfFold(p, u, self.mask, group, self.patch) for p, u in zip(*logits, strict=True)]

    def logits(self, models: Models, at: NDArray[np.int64], *, jobs: int) -> NDArray[np.float32]:
        """Logits of both models of each pair, float32 (2, pair, tile, y, x)."""
        pixel = score_pixel(models[0], self.source, self.patch[at], jobs=jobs)
        return np.stack(
            [pixel, [network.predict_logit(self.tiles.at(at)) for network in models[1]]]
        )


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


def adapt_ensemble(
    ensemble: Ensemble,
    labelled: LabelledTiles,
    blocks: NDArray[np.int64],
    thresholds: Mapping[str, float],
    predicting: UNetModel | None = None,
) -> Adapted:
    """Adapt all three parts of an ensemble to labelled tiles.

    The labelled tiles are split into groups of whole spatial blocks. Each group is scored by the
    models of one fold, adapted without it; weight and thresholds are chosen on these scores.

    Parameters
    ----------
    ensemble : Ensemble
    labelled : LabelledTiles
    blocks : int64 array, shape (tile,)
        Spatial block of each.
    thresholds : mapping of str to float
        Of the run, by model.
    predicting : UNetModel, optional
        What predicts this place before, where that is not the U-Net as it was fitted.

    Raises
    ------
    DataError
        If fewer than two labelled tiles have landslides.
    """
    group, folds = groups_of(blocks, labelled.mask), ensemble.n_folds
    turns = range(int(group.max()) + 1)
    every = np.arange(len(group))
    parts = [*([every] * folds), *(np.flatnonzero(group != k) for k in turns)]
    pixel, unet = classifiers_of(ensemble), ensemble.unet.folds
    in_turn = [pixel[k % folds] for k in turns], [unet[k % folds] for k in turns]
    made = labelled.adapt(([*pixel, *in_turn[0]], [*unet, *in_turn[1]]), parts, jobs=ensemble.jobs)
    without_group = made[0][folds:], made[1][folds:]
    shown = (predicting or ensemble.unet).folds
    as_before = in_turn[0], [shown[k % folds] for k in turns]
    before, after = labelled.score([as_before, without_group], group, jobs=ensemble.jobs)
    prior = prior_of(ensemble)
    decision, stack = prior.decide(after), copy.copy(ensemble.stack)
    stack.learner_, stack.threshold_ = decision.learner, decision.thresholds["stack"]
    as_it_was = dict.fromkeys(turns, Decision(prior.stack.learner_, thresholds))
    return Adapted(
        list(made[0][:folds]),
        list(made[1][:folds]),
        stack,
        decision,
        group,
        prior.score(before, as_it_was),
        prior.cross_decide(after),
    )


def classifiers_of(ensemble: Ensemble) -> list[PixelClassifier]:
    """Load the pixel classifiers of all folds, as they can be refitted."""
    folder = ensemble.pixel.folder
    return [PixelClassifier.load(fold_folder(folder, k)) for k in range(ensemble.n_folds)]


def prior_of(ensemble: Ensemble) -> Prior:
    """Read what the run decided its weight and thresholds on."""
    folder = ensemble.folder / "stack"
    base = {m: TileHistograms.load(folder / f"tiles_{m}.npz").pooled() for m in BASE_MODELS}
    return Prior(ensemble.stack, {**base, "stack": ensemble.stack.reference_})


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


def _fine_tune(model: UNetClassifier, tiles: TileSet) -> UNetClassifier:
    return model.fine_tune(tiles, steps=STEPS, lr=RATE)
