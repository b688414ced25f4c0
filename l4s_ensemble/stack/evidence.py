"""What shows that the stack's gain is real: slides, parts, leaks, distance, doubt, disagreement.

All of it is measured on out-of-fold scores that are on disk already, a few tiles at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import StackConfig
from l4s_ensemble.data.store import open_store
from l4s_ensemble.metrics.distance import by_distance, out_of_fold_distance
from l4s_ensemble.metrics.objects import ObjectCounts, count_objects
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.leaks import about_scores, check_stack
from l4s_ensemble.stack import ledger
from l4s_ensemble.stack.crossfit import SCORES, TILES, TOLD, cross_fit
from l4s_ensemble.stack.decision.decide import Decision
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.model import Learner, load_learner
from l4s_ensemble.stack.uncertainty import Uncertainty
from l4s_ensemble.stack.uncertainty_choice import Sources, choose

REDUCED = "logistic"
"""What a stack without one part is: it needs no more than one map and its neighbourhood."""


@dataclass(frozen=True)
class Paths:
    """Where scores and truth are.

    Attributes
    ----------
    pixel, unet, store : Path
        ``oof.zarr`` of both bases, ``patches.zarr`` with masks.
    """

    pixel: Path
    unet: Path
    store: Path

    @property
    def three(self) -> tuple[Path, Path, Path]:
        """As `cross_fit` takes them."""
        return self.pixel, self.unet, self.store


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


def without_parts(
    paths: Paths,
    folder: Path,
    settings: StackConfig,
    allowed: Mapping[int, NDArray[np.int64]],
    *,
    seed: int,
    jobs: int,
) -> dict[str, TileHistograms]:
    """Histograms of stacks that were fitted on one base alone, by the name of their row.

    Their learners stay in ``without_<part>`` below `folder`, to be scored on other tiles too.
    """
    pairs = {
        "unet": (paths.pixel, paths.pixel, paths.store),
        "pixel": (paths.unet, paths.unet, paths.store),
    }
    out = {}
    for part, three in pairs.items():
        own = folder / f"without_{part}"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        cross_fit(REDUCED, three, own, settings, allowed=allowed, seed=seed, jobs=jobs)
        out[ledger.without_name(part)] = TileHistograms.load(own / TILES)
        shutil.rmtree(own / SCORES)  # histograms are all that is wanted of them
        for name in (TILES, TOLD):
            (own / name).unlink()
    return out


def reduced_learners(stack: Path) -> dict[str, Learner]:
    """The learners that `without_parts` left in a stack's folder, by the name of their row."""
    return {
        ledger.without_name(part): load_learner(stack / f"without_{part}") for part in ledger.BASES
    }


def reduced_seen(row: str, seen: Seen) -> Seen:
    """What the learner of such a row sees of a tile: one base in both places."""
    left = seen.logit_pixel if row == ledger.without_name("unet") else seen.logit_unet
    return replace(seen, logit_pixel=left, logit_unet=left)


def slides(
    paths: Paths,
    stacked: Path,
    thresholds: Mapping[str, float],
    decision: Decision,
    *,
    jobs: int,
) -> dict[str, ObjectCounts]:
    """Whole slides of each model of the ledger, counted at its threshold.

    Parameters
    ----------
    stacked : Path
        ``oof.zarr`` of the stack, with its final probabilities.
    """
    files = {"pixel": [paths.pixel], "unet": [paths.unet], "mean": [paths.pixel, paths.unet]}
    found = {
        name: count_objects(paths.store, scores, thresholds[name], jobs=jobs)
        for name, scores in files.items()
    }
    called = partial(called_by, decision)
    return {**found, "stack": count_objects(paths.store, [stacked], called, jobs=jobs)}


def called_by(decision: Decision, final: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Mask of a tile's final probabilities; a function of its own, for other processes."""
    return decision.called(final.astype(np.float32), decision.threshold)


def distance(
    folds: Folds, tiles: TileHistograms, threshold: float, block: NDArray[Any], **options: Any
) -> dict[str, Any]:
    """F1 against the distance to the nearest tile that the scoring models were trained on."""
    away = out_of_fold_distance(folds, tiles.patch)
    return by_distance(tiles.counts(threshold), away, block, **options)


def doubt(
    paths: Paths,
    stacked: Path,
    threshold: float,
    block: NDArray[Any],
    *,
    jobs: int,
    **options: Any,
) -> tuple[Uncertainty, dict[str, Any]]:
    """The map of uncertainty that tells errors best, and how well each one does."""
    sources = Sources(paths.store, paths.pixel, paths.unet, stacked, threshold)
    return choose(sources, block, jobs=jobs, **options)
