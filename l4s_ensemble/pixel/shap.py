"""What the classifier looks at: contributions of the features on held-out pixels.

Contributions (SHAP values, exact; see `shapley`) are log-odds relative to the ground: the mean
over all pixels of the training tiles, at their true prevalence, of which landslides are a few in a
hundred. A feature that adds +0.7 doubles the odds that the mean pixel has.

Each pixel is explained by the model that was not trained on its tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.run.files import atomic_path

CONTRIBUTIONS_FILE = "contributions.npz"

ROWS = 4000
"""Pixels explained: the mean over the ground is then known to a few hundredths of its spread."""

_STREAM = 1702


@dataclass(frozen=True)
class Ground:
    """What contributions are relative to, and which values are usual.

    Attributes
    ----------
    mean : float array, shape (feature,)
        Mean raw contribution of each feature over the ground, log-odds.
    typical : float array, shape (feature,)
        Median of each feature where there is no landslide.
    """

    mean: NDArray[np.floating[Any]]
    typical: NDArray[np.floating[Any]]

    @classmethod
    def load(cls, folder: Path) -> Ground:
        """Read what a pixel stage left in its folder."""
        with np.load(folder / CONTRIBUTIONS_FILE, allow_pickle=False) as file:
            return cls(file["ground_mean"], file["typical"])

    def contributions(
        self, model: PixelModel, fold: int, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], float]:
        """What each feature adds to the logit of each row, relative to the ground.

        Returns
        -------
        added : float64 array, shape (row, feature)
        expected : float
            The fold's logit of the mean pixel: ``added.sum(axis=1) + expected`` is the logit.
        """
        added, expected = contributions(model, fold, rows)
        return added - self.mean, expected + float(self.mean.sum())


@dataclass(frozen=True)
class Contributions:
    """Contributions of a sample of held-out pixels; rows are pixels.

    Attributes
    ----------
    values, contributions : float32 array, shape (row, feature)
        The feature, and what it adds to the logit relative to the ground.
    expected : float32 array, shape (row,)
        ``contributions.sum(axis=1) + expected`` is the logit.
    weight : float64 array, shape (row,)
        Pixels that the row stands for.
    y : uint8 array, shape (row,)
        1 = landslide.
    patch, fold : int64 array, shape (row,)
        Tile of the row, and the fold whose model scored it.
    ground : Ground
    """

    values: NDArray[np.float32]
    contributions: NDArray[np.float32]
    expected: NDArray[np.float32]
    weight: NDArray[np.float64]
    y: NDArray[np.uint8]
    patch: NDArray[np.int64]
    fold: NDArray[np.int64]
    ground: Ground

    def save(self, path: Path, names: Sequence[str]) -> None:
        """Write an ``.npz`` atomically, the names of the features beside the arrays."""
        rows = {
            k: getattr(self, k)
            for k in ("values", "contributions", "expected", "weight", "y", "patch", "fold")
        }
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file, names=np.array(list(names)), ground_mean=self.ground.mean,
                typical=self.ground.typical, **rows,
            )  # fmt: skip

    def by_feature(self, model: PixelModel) -> list[dict[str, Any]]:
        """Summarise each feature over the ground, the largest mean size first.

        Returns
        -------
        list of dict
            ``name, group, mean_abs`` (mean size of the contribution, log-odds) and ``direction``
            (correlation of value and contribution: near 1 high values speak for a landslide, near
            -1 low ones, near 0 neither; None where the feature is constant or unused).
        """
        size = np.average(np.abs(self.contributions), axis=0, weights=self.weight)
        return [
            {
                "name": model.features[i],
                "group": model.groups[i],
                "mean_abs": float(size[i]),
                "direction": _correlation(self.values[:, i], self.contributions[:, i], self.weight),
            }
            for i in np.argsort(-size, kind="stable")
        ]


def explain_rows(
    model: PixelModel,
    plan: PixelPlan,
    rows: NDArray[np.float32],
    fold_of_row: NDArray[np.int64],
    *,
    seed: int,
    jobs: int = 1,
) -> Contributions:
    """Explain a seeded sample of planned pixels, half of them of landslides.

    Within each half a row is drawn by the number of pixels it stands for, so that the others look
    like the ground and not like the rim; weights restore the prevalence of all tiles.

    Parameters
    ----------
    rows : float32 array, shape (row, feature)
        In the order of `plan`; may be memory-mapped.
    fold_of_row : int64 array, shape (row,)
        Fold that holds the row's tile out.
    """
    rng = np.random.default_rng([seed, _STREAM])
    stands_for = plan.weights_of(plan.tile)
    chosen, weight = [], []
    for kind in (1, 0):
        pool = np.flatnonzero(plan.landslide == kind)
        # Keys of Efraimidis and Spirakis (2006): the largest u ** (1 / w) are a weighted draw.
        keys = np.log(rng.random(len(pool))) / np.maximum(stands_for[pool], 1e-12)
        some = pool[np.argsort(-keys, kind="stable")[: ROWS // 2]]
        chosen.append(some)
        weight.append(np.full(len(some), stands_for[pool].sum() / len(some)))
    pick = np.concatenate(chosen)
    order = np.argsort(pick)
    pick, weights = pick[order], np.concatenate(weight)[order]
    values = np.asarray(rows[pick])
    added, expected = np.empty(values.shape), np.empty(len(pick))
    fold = fold_of_row[pick]
    folds = np.unique(fold)
    # Threads will do: what they run is compiled, and lets go of the interpreter.
    with ThreadPoolExecutor(max(1, min(jobs, len(folds)))) as threads:
        found = threads.map(lambda k: contributions(model, int(k), values[fold == k]), folds)
        for k, (part, mean) in zip(folds, found, strict=True):
            added[fold == k], expected[fold == k] = part, mean
    y = plan.landslide[pick]
    ground = Ground(np.average(added, axis=0, weights=weights), np.median(values[y == 0], axis=0))
    return Contributions(
        values=values,
        contributions=(added - ground.mean).astype(np.float32),
        expected=(expected + ground.mean.sum()).astype(np.float32),
        weight=weights,
        y=y,
        patch=plan.patch[pick],
        fold=fold,
        ground=ground,
    )


def _correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], weight: NDArray[np.float64]
) -> float | None:
    """Pearson's, weighted; None where either is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    (var_a, both), (_, var_b) = np.cov(a, b, aweights=weight)
    return float(both / np.sqrt(var_a * var_b)) if var_a > 0 and var_b > 0 else None
