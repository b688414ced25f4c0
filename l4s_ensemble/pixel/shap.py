"""Contributions of the features on held-out pixels.

Contributions (SHAP values, exact; see `shapley`) are log-odds relative to the ground: the mean
over all pixels of the training tiles, at their true prevalence, of which landslides are a few in a
hundred. A feature that adds +0.7 doubles the odds that the mean pixel has.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.registry import FeaturePlan
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.run.files import write_arrays

CONTRIBUTIONS_FILE = "contributions.npz"

ROWS = 4000
"""Pixels explained: the mean over the ground is then known to a few hundredths of its spread."""

_STREAM = 1702


@dataclass(frozen=True)
class Ground:
    """Reference of contributions: their mean, and typical values, each of shape (feature,)."""

    mean: NDArray[np.floating[Any]]  # mean raw contribution over the ground, log-odds
    typical: NDArray[np.floating[Any]]  # median where there is no landslide

    @classmethod
    def load(cls, folder: Path) -> Ground:
        """Read from the folder of a fit."""
        with np.load(folder / CONTRIBUTIONS_FILE, allow_pickle=False) as file:
            return cls(file["ground_mean"], file["typical"])

    def contributions(
        self,
        model: PixelModel,
        rows: NDArray[np.float32],
        fold: NDArray[np.signedinteger[Any]],
        *,
        jobs: int = 1,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Contribution of each feature to the logit of each row by its fold's classifier.

        Returns
        -------
        added : float64 array, shape (row, feature)
            Relative to the ground.
        expected : float64 array, shape (row,)
            The logit of the mean pixel: ``added.sum(axis=1) + expected`` is the logit.
        """
        added, expected = _of_folds(model, rows, fold, jobs)
        return added - self.mean, expected + self.mean.sum()


def explain_rows(
    model: PixelModel,
    pixels: PixelPlan,
    rows: Path,
    fold: NDArray[np.signedinteger[Any]],
    *,
    jobs: int = 1,
) -> dict[str, NDArray[Any]]:
    """Explain a sample of the sampled pixels, half of them of landslides.

    Each pixel is explained by the classifier that was not fitted on its tile. Within each half a
    row is drawn by the number of pixels it stands for, so that the others look like the ground
    and not like the boundary of landslides; weights restore the prevalence of all tiles.

    Parameters
    ----------
    model : PixelModel
    pixels : PixelPlan
    rows : Path
        ``.npy`` with their features, float32 (row, feature).
    fold : int array, shape (row,)
        Fold that holds the row's tile out.
    jobs : int

    Returns
    -------
    dict of str to array
        Content of ``contributions.npz``. Over explained pixels: ``values`` and ``contributions``
        (pixel, feature), ``expected`` (``contributions.sum(axis=1) + expected`` is the logit),
        ``weight`` (pixels that it stands for), ``y`` (1 = landslide), ``patch`` and ``fold``. Over
        features: ``names``, and ``ground_mean`` and ``typical`` of `Ground`.
    """
    rng = np.random.default_rng([model.seed, _STREAM])
    stands_for = pixels.weights_of(pixels.tile)
    chosen, weight = [], []
    for kind in (1, 0):
        pool = np.flatnonzero(pixels.landslide == kind)
        # Keys of Efraimidis and Spirakis (2006): the largest u ** (1 / w) are a weighted draw.
        keys = np.log(rng.random(len(pool))) / np.maximum(stands_for[pool], 1e-12)
        some = pool[np.argsort(-keys, kind="stable")[: ROWS // 2]]
        chosen.append(some)
        weight.append(np.full(len(some), stands_for[pool].sum() / len(some)))
    pick = np.concatenate(chosen)
    order = np.argsort(pick)
    pick, weights = pick[order], np.concatenate(weight)[order]
    values = np.asarray(np.load(rows, mmap_mode="r")[pick])
    own_fold, y = fold[pick], pixels.landslide[pick]
    added, expected = _of_folds(model, values, own_fold, jobs)
    ground = np.average(added, axis=0, weights=weights)
    return {
        "names": np.array(model.plan.names),
        "ground_mean": ground,
        "typical": np.median(values[y == 0], axis=0),
        "values": values,
        "contributions": (added - ground).astype(np.float32),
        "expected": (expected + ground.sum()).astype(np.float32),
        "weight": weights,
        "y": y,
        "patch": pixels.patch[pick],
        "fold": own_fold.astype(np.int64),
    }


def _of_folds(
    model: PixelModel,
    rows: NDArray[np.float32],
    fold: NDArray[np.signedinteger[Any]],
    jobs: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Contributions to each row by its fold's classifier, and where each row's sum starts."""
    added, expected = np.empty(rows.shape), np.empty(len(rows))
    parts = [fold == k for k in np.unique(fold)]
    # Threads will do: what they run is compiled, and lets go of the interpreter.
    with ThreadPoolExecutor(max(1, min(jobs, len(parts)))) as threads:
        trees = [model.folds[fold[part][0]].trees for part in parts]
        made = threads.map(contributions, trees, [rows[part] for part in parts])
        for part, found in zip(parts, made, strict=True):
            added[part], expected[part] = found
    return added, expected


def save_contributions(folder: Path, explained: dict[str, NDArray[Any]]) -> Ground:
    """Write what `explain_rows` gave as ``contributions.npz``, atomically; its ground."""
    write_arrays(folder / CONTRIBUTIONS_FILE, explained, compressed=True)
    return Ground(explained["ground_mean"], explained["typical"])


def by_feature(explained: dict[str, NDArray[Any]], plan: FeaturePlan) -> list[dict[str, Any]]:
    """Summarise what `explain_rows` gave, the feature with the largest mean size first.

    The fields are those of `l4s_ensemble.pixel.summary.FeatureContribution`.
    """
    values, added, weight = (explained[n] for n in ("values", "contributions", "weight"))
    size = np.average(np.abs(added), axis=0, weights=weight)
    return [
        {
            "name": plan.features[i].name,
            "group": plan.features[i].group,
            "mean_abs": float(size[i]),
            "direction": _correlation(values[:, i], added[:, i], weight),
        }
        for i in np.argsort(-size, kind="stable")
    ]


def _correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], weight: NDArray[np.float64]
) -> float | None:
    """Pearson's, weighted; None where either is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    (var_a, both), (_, var_b) = np.cov(a, b, aweights=weight)
    return float(both / np.sqrt(var_a * var_b)) if var_a > 0 and var_b > 0 else None
