"""The candidates over the spatial folds: each tile is scored by a fit on the other folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.progress import track
from l4s_ensemble.stack.model import Learner, fit_weighted
from l4s_ensemble.stack.tiles import BLOCK_TILES, OutOfFold

ROWS = 300_000
"""Most pixels that weights are fitted to."""


@dataclass(frozen=True)
class Sample:
    """Pixels that weights are fitted to.

    Attributes
    ----------
    pixel, unet : float32 array, shape (pixel,)
        Logits.
    truth : bool array, shape (pixel,)
    fold, patch : int64 array, shape (pixel,)
        Fold and id of the tile that each belongs to.
    """

    pixel: NDArray[np.float32]
    unet: NDArray[np.float32]
    truth: NDArray[np.bool_]
    fold: NDArray[np.int64]
    patch: NDArray[np.int64]

    def of(self, keep: NDArray[np.bool_]) -> Sample:
        """Some of the pixels."""
        return Sample(
            self.pixel[keep], self.unet[keep], self.truth[keep], self.fold[keep], self.patch[keep]
        )


@dataclass(frozen=True)
class CrossFitted:
    """One kind of learner over the folds.

    Attributes
    ----------
    final : Learner
        Fitted on all folds.
    of_fold : dict of int to Learner
        That which scores each fold: fitted on the other folds.
    """

    final: Learner
    of_fold: dict[int, Learner]


def cross_fit(
    kind: str, source: OutOfFold, sample: Sample, allowed: Mapping[int, NDArray[np.int64]]
) -> CrossFitted:
    """Fit a learner on all folds but one, for each, and on all.

    Parameters
    ----------
    kind : str
        One of `l4s_ensemble.stack.model.KINDS`.
    sample : Sample
    allowed : mapping of int to int64 array
        Ids that may be fitted on to score a fold.

    Raises
    ------
    RunError
        If the folds without one have pixels of one class only.
    """
    folds = [int(k) for k in np.unique(source.fold)]
    if kind == "plain":
        return CrossFitted(Learner(), {k: Learner() for k in folds})

    def fitted(part: Sample) -> Learner:
        return fit_weighted(part.pixel, part.unet, part.truth)

    of_fold = {
        k: fitted(sample.of((sample.fold != k) & np.isin(sample.patch, allowed[k]))) for k in folds
    }
    return CrossFitted(fitted(sample), of_fold)


def draw(source: OutOfFold, seed: int, rows: int = ROWS) -> Sample:
    """Draw pixels at the true prevalence, equally many of every tile and at most `rows`."""
    tiles, pixels = len(source.patch), source.size[0] * source.size[1]
    each = max(1, min(pixels, rows // max(tiles, 1)))
    pixel, unet = (np.empty((tiles, each), np.float32) for _ in range(2))
    truth = np.empty((tiles, each), bool)
    for block in track(source.blocks(), "stack: drawing pixels", -(-tiles // BLOCK_TILES)):
        for n, i in enumerate(range(block.at.start, block.at.stop)):
            rng = np.random.default_rng([seed, int(source.patch[i])])
            chosen = rng.choice(pixels, each, replace=False)
            pixel[i] = block.pixel[n].ravel()[chosen]
            unet[i] = block.unet[n].ravel()[chosen]
            truth[i] = block.truth[n].ravel()[chosen]
    fold, patch = (np.repeat(a, each) for a in (source.fold, source.patch))
    return Sample(pixel.ravel(), unet.ravel(), truth.ravel(), fold, patch)


def histograms(
    source: OutOfFold, candidates: Mapping[str, CrossFitted]
) -> dict[str, TileHistograms]:
    """Count the out-of-fold scores of both models and of every candidate, in one pass.

    Returns
    -------
    dict of str to TileHistograms
        ``pixel``, ``unet``, ``mean`` (plain mean of both logits) and each candidate.
    """
    names = ("pixel", "unet", "mean", *candidates)
    tiles = {name: TileHistograms.empty(source.patch) for name in names}
    blocks = -(-len(source.patch) // BLOCK_TILES)
    for block in track(source.blocks(), "stack: scoring", blocks):
        for n, i in enumerate(range(block.at.start, block.at.stop)):
            p, u = block.pixel[n], block.unet[n]
            maps = {"pixel": sigmoid(p), "unet": sigmoid(u), "mean": sigmoid((p + u) / 2)}
            for name, candidate in candidates.items():
                maps[name] = candidate.of_fold[int(source.fold[i])].probability(p, u)
            for name, probability in maps.items():
                tiles[name].add(i, probability, block.truth[n])
    return tiles
