"""The stage ``scenes``: places, folds and area of applicability of the training tiles."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import landslide_pixels, open_store, sensor_of
from l4s_ensemble.run.files import digest_of
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.applicability import measure_applicability
from l4s_ensemble.scenes.assignment import make_folds
from l4s_ensemble.scenes.folds import HEAD, ROLES, TABLE, Folds
from l4s_ensemble.scenes.layout import UNKNOWN
from l4s_ensemble.scenes.seams import find_layout
from l4s_ensemble.scenes.summary import FoldRow, SceneRow, ScenesSummary


def stage(ctx: StageContext) -> Summary:
    """Make the training split's folds and measure its area of applicability.

    Writes ``patches.csv`` and ``folds.json`` (see `Folds`), and ``applicability.npz`` (see
    `Applicability`).
    """
    dataset = open_store(ctx.input("data/train"))
    sensor = sensor_of(dataset)
    folds = make_folds(
        find_layout(dataset, sensor, ctx.config.scenes.grid),
        landslide_pixels(dataset),
        dataset["content_hash"].values,
        dataset["degenerate"].values,
        ctx.config.scenes,
        holdout=ctx.config.data.holdout,
        holdout_guard=ctx.config.data.holdout_guard,
        seed=ctx.config.seed,
    )
    folds.save(ctx.out)
    measure_applicability(dataset, sensor, folds).save(ctx.out)
    return ScenesSummary(
        grid=folds.grid,
        by=folds.by,
        folds=folds.n_folds,
        block_tiles=folds.block_tiles,
        roles={role: int((folds.role == role).sum()) for role in ROLES},
        per_fold=[_fold_row(folds, sensor, k) for k in range(folds.n_folds)],
        scenes=_scene_rows(folds, sensor),
        digest=digest_of(ctx.out / TABLE, ctx.out / HEAD),
    ).model_dump(mode="json")


def _fold_row(folds: Folds, sensor: Sensor, k: int) -> FoldRow:
    held = folds.fold == k
    pixels, tiles = int(folds.landslide_pixels[held].sum()), int(held.sum())
    return FoldRow(
        fold=k,
        tiles=tiles,
        prevalence=pixels / (tiles * sensor.patch_pixels**2),
        train_tiles=len(folds.train_ids(k)),
        buffer_tiles=len(folds.buffer_ids(k)),
    )


def _scene_rows(folds: Folds, sensor: Sensor) -> list[SceneRow]:
    rows = []
    scene_of_tile = np.maximum(folds.scene, UNKNOWN)  # tiles that stand alone count as one
    for scene in np.unique(scene_of_tile).tolist():
        inside = scene_of_tile == scene
        pixels, tiles = int(folds.landslide_pixels[inside].sum()), int(inside.sum())
        known = scene >= 0
        rows.append(
            SceneRow(
                scene=scene,
                tiles=tiles,
                fitted_tiles=int((inside & (folds.role == "fit")).sum()),
                rows=int(np.ptp(folds.row[inside])) + 1 if known else None,
                cols=int(np.ptp(folds.col[inside])) + 1 if known else None,
                prevalence=pixels / (tiles * sensor.patch_pixels**2),
            )
        )
    return rows
