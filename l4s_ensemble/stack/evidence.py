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
from l4s_ensemble.metrics.objects import SIZE_PX, ObjectCounts, labelled, objects_of, size_of
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.leaks import about_scores, check_stack
from l4s_ensemble.stack.decision.decide import Decision
from l4s_ensemble.stack.ledger import MODELS
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
    objects : dict of str to list of ObjectCounts
        Of each model, one a tile.
    errors : int64 array, shape (4, bins)
        `l4s_ensemble.metrics.error_auc.error_histogram` of the uncertainty.
    kinds : int64 array, shape (4,)
        Pixels by `KINDS`.
    by_size : int64 array, shape (size, 5)
        By size of the reference landslide: landslides, and their pixels by `KINDS`.
    """

    objects: dict[str, list[ObjectCounts]] = field(default_factory=lambda: {m: [] for m in MODELS})
    errors: NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, BINS), np.int64))
    kinds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    by_size: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((len(SIZE_PX) - 1, 5), np.int64)
    )

    def add(self, other: Counted) -> None:
        """Add the counts of other tiles."""
        for model, counts in other.objects.items():
            self.objects[model] += counts
        self.errors += other.errors
        self.kinds += other.kinds
        self.by_size += other.by_size

    def told(self) -> dict[str, Any]:
        """Parts of the stack's summary: ``uncertainty``, ``agreement``, ``agreement_by_size``."""
        sizes = [
            {
                "low_px": int(low),
                "high_px": None if np.isinf(high) else int(high) - 1,
                **dict(zip(("slides", *KINDS), (int(n) for n in row), strict=True)),
            }
            for (low, high), row in zip(pairwise(SIZE_PX), self.by_size, strict=True)
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
            for model, mask in predicted.items():
                out.objects[model].append(objects_of(truth, mask))
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
    size = size_of(area)
    np.add.at(out.by_size[:, 0], size, 1)
    np.add.at(out.by_size, (size[labels[truth] - 1], 1 + kind[truth]), 1)
