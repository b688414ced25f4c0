"""Scores of whole tiles: one path for out-of-fold scores and for predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.blocks import FeatureSource, in_processes
from l4s_ensemble.pixel.model import FEATURES_FILE, PixelModel
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary


def stage(ctx: StageContext) -> Summary:
    """Score the tiles to predict with the model of every fold.

    Writes ``logit.zarr``: ``logit (fold_model, patch, y, x)`` float32. Features are computed once
    a tile and all models applied to them.

    Raises
    ------
    ModelError
        If the tiles are not of the sensor that the model was trained on.
    """
    from l4s_ensemble.data.store import sensor_of
    from l4s_ensemble.features.build import plan_from_file
    from l4s_ensemble.scenes.folds import patches_to_predict

    started = time.monotonic()
    dataset = patches_to_predict(ctx)
    model = PixelModel.load(ctx.input("pixel"))
    source = FeatureSource(
        ctx.input(ctx.params["data"]) / "patches.zarr", model.folder / FEATURES_FILE
    )
    plan = plan_from_file(source.plan)
    model.require(plan.names, sensor_of(dataset))
    ids = dataset["patch"].values
    size = (dataset.sizes["y"], dataset.sizes["x"])
    scores = ScoreFile(ctx.out / "logit.zarr", ids, size, models=model.folds)
    positions = source.positions(ids)
    todo = scores.missing()
    every = tuple(range(model.folds))
    tasks = [(source, model, positions[b], every) for b in todo]
    parts = track(in_processes(score_block, tasks, ctx.jobs), "pixel: scoring tiles", len(todo))
    scored = 0
    for block, (logit, _) in zip(todo, parts, strict=True):
        scores.write(block, logit)
        scored += logit.shape[1]
    seconds = time.monotonic() - started
    return {
        "patches": len(ids),
        "fold_models": model.folds,
        "seconds": seconds,
        "patches_per_s": scored / seconds,
    }


def score_block(
    source: FeatureSource,
    model: PixelModel,
    positions: NDArray[np.int64],
    folds: Sequence[int],
) -> tuple[NDArray[np.float32], float]:
    """Score a few tiles with the models of several folds.

    Returns
    -------
    logit : float32 array, shape (len(folds), tile, y, x)
    seconds : float
        Time spent here.
    """
    started = time.monotonic()
    cube = source.tiles(positions)
    logit = np.stack([[score_tile(model, k, tile) for tile in cube] for k in folds])
    return logit, time.monotonic() - started


def score_own_fold(
    source: FeatureSource,
    model: PixelModel,
    positions: NDArray[np.int64],
    fold: NDArray[np.int64],
) -> tuple[NDArray[np.float32], float]:
    """Score each tile with the model of its own fold, which was not trained on it.

    Parameters
    ----------
    positions : int64 array, shape (tile,)
        Positions in the store.
    fold : int64 array, shape (tile,)
        Fold of each tile.

    Returns
    -------
    logit : float32 array, shape (tile, y, x)
    seconds : float
        Time spent here.
    """
    started = time.monotonic()
    cube = source.tiles(positions)
    logit = np.stack([score_tile(model, int(k), t) for k, t in zip(fold, cube, strict=True)])
    return logit, time.monotonic() - started


def score_tile(model: PixelModel, fold: int, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logit of the landslide class, with the true prevalence in it, on one thread.

    Parameters
    ----------
    tile : float32 array, shape (feature, y, x)

    Returns
    -------
    float32 array, shape (y, x)
    """
    trees = model.trees(fold)
    if trees is not None:
        raw = trees.score(tile)
    else:
        rows = np.ascontiguousarray(np.moveaxis(tile, 0, -1)).reshape(-1, len(tile))
        # Processes share the cores; threads inside them would only fight.
        told = model.booster(fold).predict(
            rows, raw_score=True, num_threads=1, validate_features=False
        )
        raw = np.asarray(told).reshape(tile.shape[1:])
    return np.asarray(raw + model.logit_shift, dtype=np.float32)
