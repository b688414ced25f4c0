"""The stage ``stack``: fit the stack to the base models' out-of-fold logits and score it."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from l4s_ensemble.data.store import STORE, hashes_of, open_store
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import check_stack, load_folds
from l4s_ensemble.stack.baselines import out_of_fold, read_sources
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.comparison import compare
from l4s_ensemble.stack.diagnostics import diagnose
from l4s_ensemble.stack.learners import BASE_MODELS
from l4s_ensemble.stack.summary import StackSummary

log = logging.getLogger("l4s_ensemble")

SCORES = "oof.zarr"


def stage(ctx: StageContext) -> Summary:
    """Fit the stack and compare it with the base models.

    Writes ``model.json``, ``oof.zarr`` (``probability (patch, y, x)``: calibrated; each tile
    scored by a learner that was fitted on other folds, none of whose tiles touches it),
    ``tiles_<model>.npz`` for the rows of the comparison, and ``tiles.npz`` (the stack's).
    """
    started = time.monotonic()
    store = open_store(ctx.input("data/train"))
    scores = {name: open_scores(ctx.input(name) / SCORES) for name in BASE_MODELS}
    folds = load_folds(ctx.input("scenes"))
    patch = scores["pixel"]["patch"].values
    fold, block = (folds.of(patch, name) for name in ("fold", "block"))
    allowed = {int(k): np.intersect1d(patch, folds.train_ids(int(k))) for k in np.unique(fold)}
    leaks = check_stack(folds, hashes_of(store), scores, allowed)

    tiles = scores["pixel"]["logit"], scores["unet"]["logit"], store["mask"].sel(patch=patch)
    stack = Stack(**ctx.config.stack.model_dump(), random_state=ctx.config.seed)
    stack.fit(*tiles, fold, blocks=block, allowed=allowed, tiles=patch)
    stack.save(ctx.out)
    for name, counted in stack.histograms_.items():
        counted.save(ctx.out / f"tiles_{name}.npz")
    stack.histograms_["stack"].save(ctx.out / "tiles.npz")
    pixel, unet, y = tiles
    size, attrs = (y.sizes["y"], y.sizes["x"]), {"learner": stack.learner_.kind}
    out = ScoreFile(ctx.out / SCORES, patch, size, name="probability", fold=fold, attrs=attrs)
    for at in out.blocks():
        out.write(at, stack.cross_predict_proba(pixel[at], unet[at], fold[at]))

    thresholds = {name: one.pooled().best().value for name, one in stack.histograms_.items()}
    final = open_scores(ctx.out / SCORES)["probability"]
    place = tuple(folds.of(patch, name) for name in ("scene", "row", "col"))
    objects, diagnostics = diagnose(
        *tiles, final, thresholds, place, smallest_px=stack.smallest_px_, jobs=ctx.jobs
    )
    compared = compare(
        stack.histograms_,
        block,
        objects=objects,
        seed=ctx.config.seed,
    )
    source = FeatureSource.beside(ctx.input("pixel"), ctx.input("data/train") / STORE)
    chosen_by = read_sources(ctx.input("pixel"), ctx.input("features"))
    baselines = out_of_fold(source, patch, *chosen_by, folds, ctx.config.seed, ctx.jobs)
    summary = StackSummary(
        **_chosen(stack),
        **compared,
        **diagnostics,
        folds=np.unique(fold).tolist(),
        leaks=leaks,
        baselines=tuple(baselines),
        seconds=round(time.monotonic() - started, 2),
    )
    f1, gain = summary.comparison[-1].f1, summary.gain
    words = "stack: %s, F1 %.3f out of fold, %+.3f over %s"
    log.info(words, summary.learner, f1, gain.value, gain.over)
    return summary.model_dump(mode="json", exclude_unset=True)


def _chosen(stack: Stack) -> dict[str, Any]:
    """What the stack chose, for its summary."""
    best = stack.reference_.best()
    return {
        "learner": stack.learner_.kind,
        "learners": stack.candidates_,
        "weight_pixel": stack.learner_.weight_pixel,
        "weight_pixel_of_fold": {k: one.weight_pixel for k, one in stack.of_fold_.items()},
        "threshold": stack.threshold_,
        "plateau": (best.plateau_low, best.plateau_high),
        "decision": {
            "calibration": stack.calibrations_,
            "adapt_threshold": stack.adapt_threshold,
            "postprocess": stack.removal_,
        },
        "histogram": stack.reference_.as_dict(),
        "reliability": stack.reference_.reliability(),
    }
