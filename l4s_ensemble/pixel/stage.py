"""The stage ``pixel``: fit the pixel classifiers, score out of fold, explain."""

from __future__ import annotations

import shutil
import time

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.failures import failures
from l4s_ensemble.data.store import STORE, open_store, sensor_of
from l4s_ensemble.features.registry import FEATURES_FILE
from l4s_ensemble.features.source import STATISTICS_FILE, FeatureSource
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.pixel.blocks import score_tiles, write_sampled_rows
from l4s_ensemble.pixel.fit import classifier_of, fit_folds, tiles_to_fit
from l4s_ensemble.pixel.landslides import landslides_out_of_fold
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.rule import ndvi_slope
from l4s_ensemble.pixel.sampling import plan_pixels
from l4s_ensemble.pixel.shap import by_feature, explain_rows, save_contributions
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.scenes.neighbourhood import NEIGHBOURHOOD_FILE


def fit_stage(ctx: StageContext) -> Summary:
    """Fit a classifier for each fold, score every tile out of fold, explain.

    Writes ``rows.npy`` (features of the sampled pixels), ``fold_<k>/`` and ``fold_<k>.json`` (see
    `fit_folds`), ``model.json``, ``features.json`` and what stands beside it, ``oof.zarr``,
    ``tiles.npz`` and ``contributions.npz``. What an interrupted process had finished is kept.

    Raises
    ------
    DataError
        If there are no masks, or a fold's training part has one class only.
    LeakError
        If a tile to train on is also held out, by id or by content.
    """
    started, config, seed, jobs = time.monotonic(), ctx.config.pixel, ctx.config.seed, ctx.jobs
    store, folds = ctx.input("data/train") / STORE, load_folds(ctx.input("scenes"))
    for name in (FEATURES_FILE, NEIGHBOURHOOD_FILE, STATISTICS_FILE):
        if (ctx.input("features") / name).is_file():
            shutil.copyfile(ctx.input("features") / name, ctx.out / name)
    source, dataset = FeatureSource.beside(ctx.out, store), open_store(store)
    plan, sensor = source.feature_plan(), sensor_of(dataset)
    ids, masks = tiles_to_fit(dataset, folds)
    pixels = plan_pixels(ids, masks, config, seed)
    rows = write_sampled_rows(ctx.out / "rows.npy", source.to_train(), pixels, jobs)
    classifier = classifier_of(config, plan, sensor, seed)
    fits = fit_folds(classifier, rows, pixels, plan.names, folds, ctx.out, jobs)
    model = PixelModel.write(ctx.out, sensor, seed, folds.n_folds)
    fold, attrs = folds.of(ids, "fold").astype(np.int64), {"seed": seed, "model": "pixel"}
    scores = ScoreFile(ctx.out / "oof.zarr", ids, masks.shape[1:], fold=fold, attrs=attrs)
    score_tiles(scores, source, model, fold, jobs)
    tiles = _histograms(scores, masks)
    tiles.save(ctx.out / "tiles.npz")
    pooled, oof = tiles.pooled(), summarise(tiles, folds.of(ids, "block"), seed=seed)
    threshold = oof["threshold"]
    sample = explain_rows(model, pixels, rows, folds.of(pixels.patch, "fold"), jobs=jobs)
    ground = save_contributions(ctx.out, sample)
    mapped = (scores, fold, masks, threshold)
    summary = {
        "features": list(plan.names),
        "rows": {"pixels": len(pixels), "positives": int(pixels.landslide.sum())},
        "folds": [
            fits[k]
            | {"fold": k, "held_out_tiles": int((fold == k).sum())}
            | {"buffer_tiles": len(folds.buffer_ids(k))}
            | fold_scores(tiles, fold, k, threshold)
            for k in range(folds.n_folds)
        ],
        "oof": oof,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "contribution": by_feature(sample, plan),
        "landslides": landslides_out_of_fold(source, model, ground, *mapped, jobs=jobs),
        "failures": failures(store, scores.path, threshold, jobs=jobs),
        "rule": ndvi_slope(store, folds, ids, jobs=jobs),
        "seconds": time.monotonic() - started,
    }
    return PixelSummary.model_validate(summary).model_dump(mode="json")


def _histograms(scores: ScoreFile, masks: NDArray[np.uint8]) -> TileHistograms:
    """Histogram of probability by class for every tile of a score file."""
    tiles = TileHistograms.empty(scores.patch)
    for block in scores.blocks():
        for i, logit in enumerate(scores.read(block), start=block.start):
            tiles.add(i, sigmoid(logit), masks[i])
    return tiles
