"""The stages of the U-Net: fit and occlusion.

They read what earlier stages left, call `UNetClassifier`, and write scores and a summary.
"""

from __future__ import annotations

import logging
import time
from typing import Literal

import numpy as np

from l4s_ensemble.data.failures import failures
from l4s_ensemble.data.store import (
    hashes_of,
    landslide_pixels,
    open_store,
    positions_of,
)
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.unet import summary
from l4s_ensemble.unet.classifier import (
    UNetClassifier,
    require_landslide,
)
from l4s_ensemble.unet.explain import draw_tiles, occlusion
from l4s_ensemble.unet.fit import fit_folds, out_of_fold
from l4s_ensemble.unet.hardware import choose, devices_of
from l4s_ensemble.unet.inputs.tileset import load
from l4s_ensemble.unet.model import UNetModel
from l4s_ensemble.unet.predictor import Predictor
from l4s_ensemble.unet.summarise import logits_by_class, of_training

EXPLAINED_TILES = 48
"""Most tiles that are drawn to say what the networks look at."""

HALF: Literal["float16"] = "float16"
"""Of logits on disk. Measured on 1,306 tiles out of fold: probabilities move by 1e-4 at most, F1 at
a threshold by 3e-6, the calibration error by 2e-6."""

log = logging.getLogger("l4s_ensemble")


def stage(ctx: StageContext) -> Summary:
    """Fit one model a fold, score each tile by the model that did not see it, summarise.

    Writes ``model.json``, ``fold_<k>/``, ``oof.zarr`` and ``tiles.npz``. A killed run goes on after
    the last whole epoch. Held-out tiles choose nothing about the networks that score them: the
    schedule is fixed.

    Raises
    ------
    ConfigError
        If a device cannot be had or the settings do not fit each other.
    DataError
        If there are no masks, or a fold has no tile or no landslide to train on.
    LeakError
        If a tile to train on is also held out, by id or by content.
    """
    started = time.monotonic()
    dataset, folds = open_store(ctx.input("data/train")), load_folds(ctx.input("scenes"))
    hashes, pixels = hashes_of(dataset), landslide_pixels(dataset)
    for k in range(folds.n_folds):
        ids = folds.train_ids(k)
        folds.check(k, ids, hashes)
        require_landslide(pixels[positions_of(dataset, ids)], f"fold {k}")
    fit_folds(ctx, folds)
    models = [
        UNetClassifier.load(
            ctx.out / f"fold_{k}", device=devices_of(ctx.device)[0], n_jobs=ctx.jobs
        )
        for k in range(folds.n_folds)
    ]
    ids = np.sort(folds.fit_ids).astype(np.int64)
    tiles = load(dataset, positions_of(dataset, ids))
    UNetModel(models).save(ctx.out)
    fold = folds.of(ids, "fold").astype(np.int64)
    logit, seconds = out_of_fold(models, tiles, fold)
    attrs = {"seed": ctx.config.seed, "model": "unet"}
    file = ScoreFile(ctx.out / "oof.zarr", ids, logit.shape[1:], fold=fold, attrs=attrs, dtype=HALF)
    file.write(slice(None), logit)
    assert tiles.mask is not None  # otherwise there are no pixels of landslides
    reference, scores = tiles.mask.numpy(), TileHistograms.empty(ids)
    for i, mask in enumerate(reference):
        scores.add(i, sigmoid(logit[i]), mask)
    scores.save(ctx.out / "tiles.npz")
    whole = summarise(scores, folds.of(ids, "block"), seed=ctx.config.seed)
    of_fold = [fold_scores(scores, fold, k, whole["threshold"]) for k in range(folds.n_folds)]
    store, pooled = ctx.input("data/train") / "patches.zarr", scores.pooled()
    return summary.UNetSummary(
        **of_training(ctx, folds, models, seconds, of_fold),
        oof=whole,
        histogram=pooled.as_dict(),
        reliability=pooled.reliability(),
        failures=failures(store, ctx.out / "oof.zarr", whole["threshold"], jobs=ctx.jobs),
        logits=logits_by_class(logit, reference),
        seconds=time.monotonic() - started,
    ).model_dump(mode="json")


def explain_stage(ctx: StageContext) -> Summary:
    """Measure the loss of F1 when each group of bands is hidden from the networks of a run.

    It changes no model and no score. The first network of each fold answers, with one look at a
    tile.
    """
    started = time.monotonic()
    hardware = choose(ctx.device, ctx.config.unet.precision, ctx.jobs)
    folds, dataset = load_folds(ctx.input("scenes")), open_store(ctx.input("data/train"))
    model = UNetModel.load(ctx.input("unet"))
    ids = np.sort(folds.fit_ids).astype(np.int64)
    landslide = dataset["mask"].any(("y", "x")).values[positions_of(dataset, ids)]
    chosen = ids[draw_tiles(landslide, EXPLAINED_TILES, ctx.config.seed)]
    found = occlusion(
        load(dataset, positions_of(dataset, chosen)).to(hardware.device),
        folds.of(chosen, "fold"),
        [Predictor(m.networks_[:1], m.normalisation_, hardware) for m in model.folds],
        float(read_json(ctx.input("unet") / "summary.json")["oof"]["threshold"]),
        folds.of(chosen, "block"),
        seed=ctx.config.seed,
    )
    seconds = time.monotonic() - started
    return summary.ExplainSummary(occlusion=found, seconds=seconds).model_dump(mode="json")
