"""Scores of whole tiles: one path for out-of-fold scores and for predictions."""

from __future__ import annotations

import time

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
    every = np.repeat(np.arange(model.folds)[:, None], len(ids), axis=1)
    tasks = [(source, model, positions[b], every[:, b]) for b in todo]
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
    folds: NDArray[np.int64],
) -> tuple[NDArray[np.float32], float]:
    """Score a few tiles, each with the models of some folds.

    Parameters
    ----------
    positions : int64 array, shape (tile,)
        Positions in the store.
    folds : int64 array, shape (model, tile)
        Out of fold there is one model a tile: that of its own fold.

    Returns
    -------
    logit : float32 array, shape (model, tile, y, x)
    seconds : float
        Time spent here.
    """
    started = time.monotonic()
    tiles = zip(folds.T, source.each(positions), strict=True)
    logit = [[score_tile(model, int(k), tile) for k in own] for own, tile in tiles]
    return np.stack(logit, axis=1), time.monotonic() - started


def score_tile(model: PixelModel, fold: int, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logit of the landslide class, with the true prevalence in it, on one thread.

    Parameters
    ----------
    tile : float32 array, shape (feature, y, x)

    Returns
    -------
    float32 array, shape (y, x)
    """
    return bit_trees(model.trees(fold)).score(tile).astype(np.float32)
