"""What shows that the stack's gain is real: whole landslides, leaks, uncertainty, agreement.

All of it is counted on out-of-fold scores that are on disk already, in one pass, a few tiles at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.scored import blocks_of, ids_in, tasks_of
from l4s_ensemble.data.store import open_store
from l4s_ensemble.metrics.error_auc import BINS, error_auc, error_histogram, risk_coverage
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.objects import SIZE_PX, labelled, size_of
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.leaks import about_scores, check_stack
from l4s_ensemble.scenes.objects import TileObjects, tile_objects
from l4s_ensemble.scenes.outlines import Place, join
from l4s_ensemble.stack.decision.decide import Decision
from l4s_ensemble.stack.uncertainty import MEASURE, uncertainty

KINDS = ("both_right", "only_pixel", "only_unet", "both_wrong")
"""Who is right about a pixel that is landslide or that either model predicts so."""


@dataclass(frozen=True)
class Paths:
    """Where scores and reference masks are.

    Attributes
    ----------
    pixel, unet, stack : Path
        ``oof.zarr`` of both models and of the stack, the last with final probabilities.
    store : Path
        ``patches.zarr`` with masks.
    """

    pixel: Path
    unet: Path
    stack: Path
    store: Path


@dataclass
class Counted:
    """What one pass over out-of-fold tiles counts; the parts of several passes add up.

    Attributes
    ----------
    tiles : list of TileObjects
        One a tile, with the masks of each model.
    errors : int64 array, shape (4, bins)
        `l4s_ensemble.metrics.error_auc.error_histogram` of the uncertainty.
    kinds : int64 array, shape (4,)
        Pixels by `KINDS`.
    kinds_of_parts : list of int64 array, shape (part, 4)
        Of each tile, pixels of the parts of reference landslides by `KINDS`.
    """

    tiles: list[TileObjects] = field(default_factory=list)
    errors: NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, BINS), np.int64))
    kinds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    kinds_of_parts: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, other: Counted) -> None:
        """Add the counts of other tiles."""
        self.tiles += other.tiles
        self.errors += other.errors
        self.kinds += other.kinds
        self.kinds_of_parts += other.kinds_of_parts

    def told(self, place: Place) -> dict[str, Any]:
        """Parts of the stack's summary: ``uncertainty``, ``agreement``, ``agreement_by_size``.

        Parameters
        ----------
        place : tuple of array_like of int, each of shape (tile,)
            Scene, row and column of the tiles, see `l4s_ensemble.scenes.outlines.join`.
        """
        whole = join([t.reference for t in self.tiles], place)
        by_size = np.zeros((len(SIZE_PX) - 1, 5), np.int64)
        np.add.at(by_size[:, 0], size_of(whole.pixels), 1)
        kinds = np.concatenate([np.zeros((0, 4), np.int64), *self.kinds_of_parts])
        np.add.at(by_size[:, 1:], size_of(whole.pixels[whole.number - 1]), kinds)
        sizes = [
            {
                "low_px": int(low),
                "high_px": None if np.isinf(high) else int(high) - 1,
                **dict(zip(("slides", *KINDS), (int(n) for n in row), strict=True)),
            }
            for (low, high), row in zip(pairwise(SIZE_PX), by_size, strict=True)
        ]
        return {
            "uncertainty": described(self.errors),
            "agreement": dict(zip(KINDS, (int(n) for n in self.kinds), strict=True)),
            "agreement_by_size": sizes,
        }


def described(errors: NDArray[np.int64]) -> dict[str, Any]:
    """How well the uncertainty tells errors: ``measure, auc, risk``, for a summary."""
    return {
        "measure": MEASURE,
        "auc": {"all": error_auc(errors)},
        "risk": risk_coverage(errors),
    }


def allowed_of(folds: Folds, patch: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Ids that the meta-learner of each fold may be fitted on: none touches what it scores."""
    numbers = np.unique(folds.of(patch, "fold"))
    return {int(k): np.intersect1d(patch, folds.train_ids(int(k))) for k in numbers}


def check_leaks(
    folds: Folds, paths: Paths, allowed: Mapping[int, NDArray[np.int64]]
) -> dict[str, Any]:
    """Look for leaks in what the meta-learner is fitted on; see `l4s_ensemble.scenes.leaks`.

    Raises
    ------
    LeakError
        If there is one.
    """
    store = open_store(paths.store)
    hashes = dict(
        zip(store["patch"].values.tolist(), store["content_hash"].values.tolist(), strict=True)
    )
    bases = {
        name: about_scores(open_scores(path))
        for name, path in (("pixel", paths.pixel), ("unet", paths.unet))
    }
    return check_stack(folds, hashes, bases, allowed)


def counted(
    paths: Paths, decision: Decision, thresholds: Mapping[str, float], *, jobs: int = 1
) -> Counted:
    """Count all out-of-fold tiles.

    Parameters
    ----------
    thresholds : mapping of str to float
        Of ``pixel``, ``unet`` and ``mean``.
    """
    tasks = [
        (paths, decision, dict(thresholds), ids)
        for ids in tasks_of(ids_in(paths.store, paths.stack))
    ]
    out = Counted()
    for part in in_processes(_count, tasks, jobs):
        out.add(part)
    return out


def masks(
    store: Path, stacked: Path, threshold: float
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Predicted and reference mask, bool (y, x), of each tile of a score file."""
    for block in blocks_of(store, (stacked,), ids_in(store, stacked)):
        yield from zip(block.probability() >= threshold, block.truth, strict=True)


def _count(
    paths: Paths, decision: Decision, thresholds: dict[str, float], ids: NDArray[np.int64]
) -> Counted:
    out = Counted()
    for block in blocks_of(paths.store, (paths.pixel, paths.unet, paths.stack), ids):
        probability = {"pixel": block.probability(0), "unet": block.probability(1)}
        mean = sigmoid((block.logit(0) + block.logit(1)) / 2)
        probability["mean"] = mean.astype(np.float64)
        final = block.probability(2).astype(np.float32)
        for i, truth in enumerate(block.truth):
            predicted = {m: p[i] >= thresholds[m] for m, p in probability.items()}
            predicted["stack"] = decision.called(final[i], decision.threshold) == 1
            out.tiles.append(tile_objects(truth, predicted))
            unsure = uncertainty(final[i], decision.threshold)
            out.errors += error_histogram(unsure, truth, predicted["stack"])
            _agree(out, truth, predicted["pixel"], predicted["unet"])
    return out


def _agree(
    out: Counted, truth: NDArray[np.bool_], pixel: NDArray[np.bool_], unet: NDArray[np.bool_]
) -> None:
    kind = 2 * (pixel != truth).astype(np.int64) + (unet != truth)
    out.kinds += np.bincount(kind[truth | pixel | unet], minlength=4)
    labels, area = labelled(truth)
    of_parts = np.zeros((len(area), 4), np.int64)
    np.add.at(of_parts, (labels[truth] - 1, kind[truth]), 1)
    out.kinds_of_parts.append(of_parts)
