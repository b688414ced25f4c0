"""The stage ``scenes``: places, folds and likeness of the training tiles."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import landslide_pixels, open_store, sensor_of
from l4s_ensemble.run.files import digest_of
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import HEAD, ROLES, TABLE, Folds
from l4s_ensemble.scenes.grid import UNKNOWN, grid_of
from l4s_ensemble.scenes.likeness import measure, summary_of


def stage(ctx: StageContext) -> Summary:
    """Make the training split's folds and measure its tiles' likeness."""
    dataset = open_store(ctx.input("data/train"))
    sensor = sensor_of(dataset)
    grid = grid_of(dataset, sensor, ctx.config.scenes.grid)
    folds = make_folds(
        grid,
        landslide_pixels(dataset),
        dataset["content_hash"].values,
        dataset["degenerate"].values,
        ctx.config.scenes,
        holdout=ctx.config.data.holdout,
        holdout_guard=ctx.config.data.holdout_guard,
        seed=ctx.config.seed,
    )
    folds.save(ctx.out)
    likeness = measure(dataset, sensor, folds)
    likeness.save(ctx.out)
    summary = summarise(folds, sensor, asked_block_tiles=ctx.config.scenes.block_tiles)
    return {
        **summary,
        "likeness": summary_of(likeness, folds),
        "digest": digest_of(ctx.out / TABLE, ctx.out / HEAD),
    }


def summarise(folds: Folds, sensor: Sensor, *, asked_block_tiles: int) -> Summary:
    """Say what the folds hold, as a plain dict."""
    area = sensor.patch_pixels**2
    per_fold = []
    for k in range(folds.n_folds):
        held = folds.fold == k
        pixels = int(folds.landslide_pixels[held].sum())
        per_fold.append(
            {
                "fold": k,
                "tiles": int(held.sum()),
                "landslide_pixels": pixels,
                "prevalence": pixels / (int(held.sum()) * area),
                "train_tiles": len(folds.train_ids(k)),
                "buffer_tiles": len(folds.buffer_ids(k)),
            }
        )
    scenes = []
    scene_of_tile = np.maximum(folds.scene, UNKNOWN)  # tiles that stand alone count as one
    for scene in np.unique(scene_of_tile):
        inside = scene_of_tile == scene
        pixels = int(folds.landslide_pixels[inside].sum())
        known = scene >= 0
        scenes.append(
            {
                "scene": int(scene),
                "tiles": int(inside.sum()),
                "fitted_tiles": int((inside & (folds.role == "fit")).sum()),
                "rows": int(np.ptp(folds.row[inside])) + 1 if known else None,
                "cols": int(np.ptp(folds.col[inside])) + 1 if known else None,
                "prevalence": pixels / (int(inside.sum()) * area),
            }
        )
    _, copies = np.unique(folds.content_hash, return_counts=True)
    return {
        "grid": folds.grid,
        "by": folds.by,
        "folds": folds.n_folds,
        "block_tiles": folds.block_tiles,
        "block_tiles_asked": asked_block_tiles,
        "roles": {role: int((folds.role == role).sum()) for role in ROLES},
        "copied_tiles": int(copies[copies > 1].sum()),
        "per_fold": per_fold,
        "scenes": scenes,
    }
