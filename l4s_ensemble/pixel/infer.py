"""Scores of whole tiles: one path for out-of-fold scores and for predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.pixel.model import FEATURES_FILE, PixelModel
from l4s_ensemble.pixel.trees import bit_trees
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.run.tasks import in_processes


def stage(ctx: StageContext) -> Summary:
    """Score the tiles to predict with the model of every fold.

    Writes ``logit.zarr``: ``logit (fold_model, patch, y, x)`` float32. Features are computed once
    a tile and all models applied to them.

    Raises
    ------
    ModelError
        If the tiles are not of the sensor that the model was trained on.
    """
    from l4s_ensemble.data.store import STORE, open_store, positions_of, sensor_of
    from l4s_ensemble.features.registry import plan_from_file
    from l4s_ensemble.features.source import source_to_predict
    from l4s_ensemble.scenes.folds import patches_to_predict

    started = time.monotonic()
    dataset = patches_to_predict(ctx)
    model = PixelModel.load(ctx.input("pixel"))
    store = ctx.input(ctx.params["data"]) / STORE
    plan = plan_from_file(model.folder / FEATURES_FILE)
    model.require(plan.names, sensor_of(dataset))
    ids = dataset["patch"].values
    source = source_to_predict(
        store, model.folder, ctx.out, positions_of(open_store(store), ids),
        is_training_store=ctx.params["data"] == "data/train", jobs=ctx.jobs,
    )  # fmt: skip
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
    tiles = source.each(positions)
    logit = np.stack([[score_tile(model, k, tile) for k in folds] for tile in tiles], axis=1)
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
    tiles = zip(fold, source.each(positions), strict=True)
    logit = np.stack([score_tile(model, int(k), tile) for k, tile in tiles])
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
    raw = bit_trees(model.trees(fold)).score(tile)
    return np.asarray(raw + model.logit_shift, dtype=np.float32)
