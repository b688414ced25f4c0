"""Why the classifier says so: gain by feature, and exact contributions on out-of-fold rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.files import atomic_path

ROWS = 2000
"""Rows explained: enough for a beeswarm, seconds to compute."""

_STREAM = 1702


def gain_shares(model: PixelModel) -> list[dict[str, Any]]:
    """Share of each feature in the loss removed by all splits, mean over folds, largest first.

    Returns
    -------
    list of dict
        ``name, group, share``; the shares sum to 1.
    """
    total = np.zeros(len(model.features))
    for k in range(model.folds):
        gain = model.booster(k).feature_importance("gain")
        total += gain / max(float(gain.sum()), 1e-12)
    return _ranked(model, total / max(float(total.sum()), 1e-12), "share")


@dataclass(frozen=True)
class Contributions:
    """What each feature adds to the logit of a row, exactly (TreeSHAP).

    ``contributions.sum(axis=1) + expected`` is the raw logit of the row's out-of-fold model.
    Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9.

    Attributes
    ----------
    values, contributions : float32 array, shape (row, feature)
        The feature and what it adds to the logit.
    expected : float32 array, shape (row,)
        The mean logit of the row's model.
    y : uint8 array, shape (row,)
        1 = landslide.
    patch, fold : int64 array, shape (row,)
        Tile of the row, and the fold whose model scored it.
    """

    values: NDArray[np.float32]
    contributions: NDArray[np.float32]
    expected: NDArray[np.float32]
    y: NDArray[np.uint8]
    patch: NDArray[np.int64]
    fold: NDArray[np.int64]

    def save(self, path: Path, names: Sequence[str]) -> None:
        """Write an ``.npz`` atomically, the names of the features beside the arrays."""
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                values=self.values,
                contributions=self.contributions,
                expected=self.expected,
                y=self.y,
                patch=self.patch,
                fold=self.fold,
                names=np.array(list(names)),
            )

    def mean_abs(self, model: PixelModel) -> list[dict[str, Any]]:
        """Mean size of each feature's contribution, largest first: ``name, group, mean_abs``."""
        return _ranked(model, np.abs(self.contributions).mean(axis=0), "mean_abs")


def explain_rows(
    model: PixelModel,
    plan: PixelPlan,
    rows: NDArray[np.float32],
    fold_of_row: NDArray[np.int64],
    *,
    seed: int,
    jobs: int,
    most: int = ROWS,
) -> Contributions:
    """Explain a seeded sample of rows, each by the model that was not trained on its tile.

    Half of the sample are landslide pixels. Within each half a row is drawn by the number of
    pixels it stands for, so that the others look like the scene and not like the rim.

    Parameters
    ----------
    rows : float32 array, shape (row, feature)
        In the order of `plan`.
    fold_of_row : int64 array, shape (row,)
        Fold that holds the row's tile out.
    """
    rng = np.random.default_rng([seed, _STREAM])
    chosen = []
    for kind in (1, 0):
        pool = np.flatnonzero(plan.landslide == kind)
        # Keys of Efraimidis and Spirakis (2006): the largest u ** (1 / w) are a weighted draw.
        keys = np.log(rng.random(len(pool))) / np.maximum(plan.weight[pool], 1e-12)
        chosen.append(pool[np.argsort(-keys, kind="stable")[: most // 2]])
    pick = np.sort(np.concatenate(chosen))
    values = rows[pick]
    parts = np.empty((len(pick), values.shape[1] + 1))
    fold = fold_of_row[pick]
    for k in np.unique(fold):
        own = fold == k
        parts[own] = model.booster(int(k)).predict(
            values[own], pred_contrib=True, num_threads=jobs, validate_features=False
        )
    return Contributions(
        values=values,
        contributions=parts[:, :-1].astype(np.float32),
        expected=(parts[:, -1] + model.logit_shift).astype(np.float32),
        y=plan.landslide[pick],
        patch=plan.patch[pick],
        fold=fold,
    )


def _ranked(model: PixelModel, value: NDArray[np.floating[Any]], key: str) -> list[dict[str, Any]]:
    order = np.argsort(-value, kind="stable")
    return [
        {"name": model.features[i], "group": model.groups[i], key: float(value[i])} for i in order
    ]
