"""Fit the boosters of each fold, and score every tile with those that did not see it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.failures import failures
from l4s_ensemble.data.store import STORE
from l4s_ensemble.features.source import STATISTICS_FILE, FeatureSource
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.pixel.blocks import write_sampled_rows
from l4s_ensemble.pixel.fit import fit_folds, fit_job
from l4s_ensemble.pixel.infer import score_block
from l4s_ensemble.pixel.landslides import explained_landslides
from l4s_ensemble.pixel.model import FEATURES_FILE, PixelModel
from l4s_ensemble.pixel.rule import ndvi_slope
from l4s_ensemble.pixel.sampling import PixelPlan, plan_pixels
from l4s_ensemble.pixel.shap import CONTRIBUTIONS_FILE, explain_rows
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.neighbourhood import NEIGHBOURHOOD_FILE

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.scenes.folds import Folds


def stage(ctx: StageContext) -> Summary:
    """Fit, score out of fold, explain.

    Writes ``rows.npy`` (features of the sampled rows) and ``rows.npz`` (what the rows are),
    ``fold_<k>.txt`` and ``fold_<k>.json`` (booster, and what it was trained on; of several also
    ``fold_<k>.<n>.txt``), ``model.json``,
    ``features.json`` and what stands beside it, ``oof.zarr``, ``tiles.npz`` and
    ``contributions.npz``. What an interrupted process had finished is kept.

    Raises
    ------
    DataError
        If there are no masks, or a fold's training part has one class only.
    LeakError
        If a tile to train on is also held out, by id or by content.
    """
    from l4s_ensemble.data.store import hashes_of, open_store, sensor_of
    from l4s_ensemble.scenes.folds import load_folds

    started = time.monotonic()
    config, seed = ctx.config.pixel, ctx.config.seed
    dataset = open_store(ctx.input("data/train") / STORE)
    folds = load_folds(ctx.input("scenes"))
    for name in (FEATURES_FILE, NEIGHBOURHOOD_FILE, STATISTICS_FILE):
        if (ctx.input("features") / name).is_file():
            shutil.copyfile(ctx.input("features") / name, ctx.out / name)
    source = FeatureSource.beside(ctx.out, ctx.input("data/train") / STORE)
    features = source.feature_plan()
    model = PixelModel(
        folder=ctx.out,
        features=features.names,
        groups=tuple(f.group for f in features.features),
        sensor=sensor_of(dataset),
        folds=folds.n_folds,
        support_px=features.support_px,
        seed=seed,
    )
    ids, masks = tiles_to_fit(dataset, folds)
    hashes = hashes_of(dataset)
    for k in range(folds.n_folds):
        folds.check(k, folds.train_ids(k), hashes)
    plan = plan_pixels(ids, masks, config, seed)
    rows = _rows(ctx, source.to_train(), plan)
    job = fit_job(folds, plan, rows, model, config, features)
    fits = fit_folds(job, ctx.jobs)
    model = replace(model, boosters=config.seeds * len(job.views(seed, 1)))
    model.save()
    fold = folds.of(ids, "fold").astype(np.int64)
    scoring = time.monotonic()
    spent, scored = score_tiles(ctx, source, model, ids, fold, masks.shape[1:])
    scoring_s = time.monotonic() - scoring
    scores = ScoreFile(ctx.out / "oof.zarr", ids, masks.shape[1:])
    tiles = histograms(scores, masks)
    tiles.save(ctx.out / "tiles.npz")
    whole = summarise(tiles, folds.of(ids, "block"), seed=seed)
    threshold = whole["threshold"]
    explaining = time.monotonic()
    sample = explain_rows(
        model, plan, np.load(rows, mmap_mode="r"), folds.of(plan.patch, "fold").astype(np.int64),
        seed=seed, jobs=ctx.jobs,
    )  # fmt: skip
    sample.save(ctx.out / CONTRIBUTIONS_FILE, model.features)
    store = ctx.input("data/train") / STORE
    found = {
        "contribution": sample.by_feature(model),
        "slides": explained_landslides(
            model, source, sample.ground, scores, fold, masks, threshold
        ),
        "failures": failures(store, ctx.out / "oof.zarr", threshold, jobs=ctx.jobs),
        "rule": ndvi_slope(store, folds, ids, jobs=ctx.jobs),
        "seconds_explain": time.monotonic() - explaining,
    }  # fmt: skip
    pooled = tiles.pooled()
    return {
        "features": list(model.features),
        "rows": {"pixels": len(plan), "positives": int(plan.landslide.sum())},
        "folds": [
            _fold_summary(k, fits[k], folds, tiles, fold, threshold, spent / ctx.jobs)
            for k in range(folds.n_folds)
        ],
        "oof": whole,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        **found,
        "seconds": time.monotonic() - started,
        "patches_per_s": scored / scoring_s if scored else None,
    }


def tiles_to_fit(dataset: xr.Dataset, folds: Folds) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Ids of the tiles of role ``fit``, ascending, and their masks, uint8 (tile, y, x).

    Raises
    ------
    DataError
        If the store has no masks.
    """
    from l4s_ensemble.data.store import landslide_pixels, positions_of

    landslide_pixels(dataset)  # refuses tiles without masks
    ids = np.sort(folds.patch[folds.role == "fit"]).astype(np.int64)
    positions = positions_of(dataset, ids)
    return ids, np.asarray(dataset["mask"].isel(patch=positions).values, dtype=np.uint8)


def score_tiles(
    ctx: StageContext,
    source: FeatureSource,
    model: PixelModel,
    ids: NDArray[np.int64],
    fold: NDArray[np.int64],
    size: tuple[int, int],
) -> tuple[NDArray[np.float64], int]:
    """Write ``oof.zarr``: each tile's logits by the model of its own fold.

    Returns
    -------
    seconds : float64 array, shape (tile,)
        Busy seconds of each tile; 0 where an earlier process had scored it.
    scored : int
        Tiles scored here.
    """
    scores = ScoreFile(
        ctx.out / "oof.zarr", ids, size, fold=fold, attrs={"seed": model.seed, "model": "pixel"}
    )
    positions = source.positions(ids)
    todo = scores.missing()
    tasks = [(source, model, positions[b], fold[None, b]) for b in todo]
    parts = track(
        in_processes(score_block, tasks, ctx.jobs), "pixel: out-of-fold scores", len(todo)
    )
    spent = np.zeros(len(ids))
    for block, (logit, seconds) in zip(todo, parts, strict=True):
        scores.write(block, logit[0])
        spent[block] = seconds / (block.stop - block.start)
    return spent, sum(b.stop - b.start for b in todo)


def histograms(scores: ScoreFile, masks: NDArray[np.uint8]) -> TileHistograms:
    """Histogram of probability by class for every tile of a score file, a block at a time."""
    tiles = TileHistograms.empty(scores.patch)
    for block in scores.blocks():
        for i, logit in enumerate(scores.read(block), start=block.start):
            tiles.add(i, sigmoid(logit), masks[i])
    return tiles


def _rows(ctx: StageContext, source: FeatureSource, plan: PixelPlan) -> Path:
    """Write ``rows.npy`` and, beside it, what its rows are; keep what is there already."""
    path, about = ctx.out / "rows.npy", ctx.out / "rows.npz"
    if path.is_file() and about.is_file():
        with np.load(about, allow_pickle=False) as kept:
            if all(np.array_equal(kept[n], getattr(plan, n)) for n in ("patch", "pixel")):
                return path
    write_sampled_rows(path, source, plan, ctx.jobs)
    with atomic_path(about) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, y=plan.landslide, patch=plan.patch, pixel=plan.pixel, stratum=plan.stratum,
            weight=plan.weight,
        )  # fmt: skip
    return path


def _fold_summary(
    k: int,
    fit: Mapping[str, Any],
    folds: Folds,
    tiles: TileHistograms,
    fold: NDArray[np.int64],
    threshold: float,
    seconds: NDArray[np.float64],
) -> dict[str, Any]:
    own = fold == k
    return {
        "fold": k,
        "rows": fit["rows"],
        "positives": fit["positives"],
        "trees": fit["trees"],
        "held_tiles": int(own.sum()),
        "buffer_tiles": len(folds.buffer_ids(k)),
        "seconds_fit": fit["seconds_fit"],
        "seconds_score": float(seconds[own].sum()),
        **fold_scores(tiles, fold, k, threshold),
    }
