"""Why the classifier says so, in all the ways that the report shows.

Everything is computed on out-of-fold rows and tiles: each is explained by the model that was not
trained on its tile. The topics have modules of their own, whose docstrings say what they leave in
the summary: `importance`, `dependence`, `contribution_maps` (key ``slides``), and in the room
`metrics` `failures` and `reliability` (key ``calibration``). Here are gain and the contributions
of sampled rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.pixel.unseen import in_threads
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.run.scores import ScoreFile

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
    """What each feature adds to the logit of a row, exactly; see `shapley`.

    ``contributions.sum(axis=1) + expected`` is the logit of the row's out-of-fold model.

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

    def typical(self) -> NDArray[np.float32]:
        """Median of each feature on ground without landslide, shape (feature,)."""
        other = self.values[self.y == 0]
        return np.median(other if len(other) else self.values, axis=0)

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
    values = np.asarray(rows[pick])
    added = np.empty(values.shape, np.float32)
    expected = np.empty(len(pick), np.float32)
    fold = fold_of_row[pick]
    folds = np.unique(fold)
    told = in_threads(
        contributions, [(model, int(k), values[fold == k], jobs) for k in folds], jobs
    )
    for k, (part, mean) in zip(folds, told, strict=True):
        added[fold == k], expected[fold == k] = part, mean
    return Contributions(
        values=values,
        contributions=added,
        expected=expected,
        y=plan.landslide[pick],
        patch=plan.patch[pick],
        fold=fold,
    )


def explain(
    out: Path,
    model: PixelModel,
    source: FeatureSource,
    plan: PixelPlan,
    rows: NDArray[np.float32],
    fold_of_row: NDArray[np.int64],
    tiles: TileHistograms,
    fold: NDArray[np.int64],
    masks: NDArray[np.uint8],
    threshold: float,
    *,
    jobs: int = 1,
) -> dict[str, Any]:
    """Explain a fitted model whose tiles have been scored out of fold.

    Writes ``contributions.npz``, ``contribution_maps.npz``, ``tile_values.npz`` and
    ``dependence.npz`` into `out`, where ``oof.zarr`` stands already.

    Parameters
    ----------
    out : Path
    model : PixelModel
    source : FeatureSource
        Of the tiles that were fitted.
    plan : PixelPlan
    rows : float32 array, shape (row, feature)
        In the order of `plan`; may be memory-mapped.
    fold_of_row : int64 array, shape (row,)
    tiles : TileHistograms
        Of the out-of-fold scores.
    fold : int64 array, shape (tile,)
        Fold of each of `tiles`.
    masks : uint8 array, shape (tile, y, x)
        Truth of each of `tiles`.
    threshold : float
        Of probability, chosen on the out-of-fold scores.

    Returns
    -------
    dict
        ``gain, contribution, importance, dependence, failures, calibration, slides`` and
        ``seconds_explain`` by topic.
    """
    from l4s_ensemble.metrics.failures import failures
    from l4s_ensemble.metrics.reliability import calibration
    from l4s_ensemble.metrics.telling import telling_tiles
    from l4s_ensemble.pixel import (
        contribution_maps,
        dependence,
        importance,
        tile_values,
        unseen,
    )

    clock = _Clock()
    scores = ScoreFile(out / "oof.zarr", tiles.patch, (masks.shape[1], masks.shape[2]))
    told = explain_rows(model, plan, rows, fold_of_row, seed=model.seed, jobs=jobs)
    told.save(out / "contributions.npz", model.features)
    gain = gain_shares(model)
    clock.lap("rows")
    rng = np.random.default_rng([model.seed, _STREAM, 1])
    given = unseen.probability_of_rows(scores, plan)
    lost = importance.permutation_importance(
        model,
        unseen.draw_unseen(plan, rows, fold_of_row, given, importance.ROWS, rng),
        threshold,
        [row["name"] for row in gain[: importance.FEATURES]],
        seed=model.seed,
        jobs=jobs,
    )
    clock.lap("importance")
    walked, arrays = dependence.dependence(
        model,
        unseen.draw_unseen(plan, rows, fold_of_row, given, dependence.ROWS, rng),
        dependence.telling_features(model.features, told.contributions, told.values),
        jobs=jobs,
    )
    dependence.save_arrays(out / "dependence.npz", arrays)
    clock.lap("dependence")
    chosen = contribution_maps.choose_tiles(tiles, fold, threshold)
    explained = contribution_maps.explain_tiles(model, source, chosen, jobs)
    contribution_maps.save_maps(out / "contribution_maps.npz", model, explained)
    at = [tile.at for tile in chosen]
    logit = np.array([scores.read(slice(i, i + 1))[0] for i in at])
    slides = contribution_maps.slides_of(
        model, explained, logit, masks[at], threshold, told.typical()
    )
    clock.lap("slides")
    kept = [
        tile_values.TileToKeep(int(tiles.patch[i]), int(fold[i]), why)
        for i, why in telling_tiles(tiles.counts(threshold), tile_values.TILES_KEPT)
    ]
    tile_values.save_tile_values(out / tile_values.TILE_VALUES_FILE, model, source, kept, jobs)
    clock.lap("tile_values")
    failed = failures(source.store, out / "oof.zarr", threshold, jobs=jobs)
    clock.lap("failures")
    reliable = calibration(tiles, fold)
    clock.lap("calibration")
    return {
        "gain": gain,
        "contribution": told.mean_abs(model),
        "importance": lost,
        "dependence": walked,
        "failures": failed,
        "calibration": reliable,
        "slides": slides,
        "seconds_explain": clock.seconds,
    }


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now


def _ranked(model: PixelModel, value: NDArray[np.floating[Any]], key: str) -> list[dict[str, Any]]:
    order = np.argsort(-value, kind="stable")
    return [
        {"name": model.features[i], "group": model.groups[i], key: float(value[i])} for i in order
    ]
