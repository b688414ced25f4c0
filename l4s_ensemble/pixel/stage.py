"""The pixel classifier in a run: its fit, its scores of a split, its reasons for landslides."""

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
from l4s_ensemble.pixel.landslides import (
    PIXELS,
    draw_pixels,
    explain_landslides,
    landslides_out_of_fold,
    mean_probability,
    reason_of,
)
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.rule import ndvi_slope
from l4s_ensemble.pixel.sampling import plan_pixels
from l4s_ensemble.pixel.shap import Ground, by_feature, explain_rows, save_contributions
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.run.files import digest_of, read_json, write_json
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.scenes.landslides import predicted_outlines
from l4s_ensemble.scenes.neighbourhood import NEIGHBOURHOOD_FILE

REASONS_FILE = "reasons.json"
LANDSLIDES = 500
"""Most predicted landslides that are explained, the largest ones."""


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
    scoring = time.monotonic()
    seconds = score_tiles(scores, source, model, fold, jobs)
    scored, scoring_s = np.count_nonzero(seconds), time.monotonic() - scoring
    tiles = _histograms(scores, masks)
    tiles.save(ctx.out / "tiles.npz")
    pooled, oof = tiles.pooled(), summarise(tiles, folds.of(ids, "block"), seed=seed)
    explaining, threshold = time.monotonic(), oof["threshold"]
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
            | {"seconds_score": float(seconds[fold == k].sum() / jobs)}
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
        "seconds_explain": time.monotonic() - explaining,
        "seconds": time.monotonic() - started,
        "patches_per_s": scored / scoring_s if scored else None,
    }
    return PixelSummary.model_validate(summary).model_dump(mode="json")


def reasons_stage(ctx: StageContext) -> Summary:
    """Explain the largest predicted landslides, after the result of a prediction.

    The folds' classifiers take turns. A landslide that the pixel classifier alone would not map is
    not explained by it: the sentence says who found it. Writes ``reasons.json``::

        unit            'log-odds'
        landslides      number of predicted landslides
        explained       number of those in `rows`: the largest
        pixels_per_landslide  most pixels drawn of one
        rows            list, the largest landslide first: id (its number, as
                        `l4s_ensemble.scenes.landslides` counts), pixels, pixels_explained,
                        probability ({pixel, unet}: mean of each model over all its pixels), and
                        the fields of `l4s_ensemble.pixel.summary.Reason`
    """
    started, folder = time.monotonic(), ctx.params["folder"]
    patch, _, outlines = predicted_outlines(ctx)
    model = PixelModel.load(ctx.input("pixel"))
    numbers = range(1, min(len(outlines), LANDSLIDES) + 1)
    drawn = draw_pixels(outlines, numbers, len(model.folds), seed=ctx.config.seed)
    # As the scores of this prediction were made: nothing is measured again.
    store = ctx.input(ctx.params["data"]) / STORE
    source = FeatureSource.beside(model.folder, store, ctx.input(f"{folder}/result"))
    ground = Ground.load(model.folder)
    reasons = explain_landslides(source, model, ground, patch, drawn, jobs=ctx.jobs)
    comparison = read_json(ctx.input("stack") / "summary.json")["comparison"]
    threshold = {row["model"]: float(row["threshold"]) for row in comparison}
    scores = {name: ctx.input(f"{folder}/result") / f"{name}.zarr" for name in ("pixel", "unet")}
    mean = {name: mean_probability(outlines, path) for name, path in scores.items()}
    rows = [
        reason_of(number, outlines, drawn, mean, threshold, reasons[number]) for number in numbers
    ]
    head = {"unit": "log-odds", "landslides": len(outlines), "explained": len(rows)}
    head["pixels_per_landslide"] = PIXELS
    write_json(ctx.out / REASONS_FILE, {**head, "rows": rows})
    spent = {"pixels": len(drawn), "seconds": round(time.monotonic() - started, 3)}
    return {**head, **spent, "digest": digest_of(ctx.out / REASONS_FILE)}


def _histograms(scores: ScoreFile, masks: NDArray[np.uint8]) -> TileHistograms:
    """Histogram of probability by class for every tile of a score file."""
    tiles = TileHistograms.empty(scores.patch)
    for block in scores.blocks():
        for i, logit in enumerate(scores.read(block), start=block.start):
            tiles.add(i, sigmoid(logit), masks[i])
    return tiles
