"""From both models' logits to masks, probabilities and a submission of one split."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import xarray as xr

from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.errors import RunError
from l4s_ensemble.predict.submission import write_submission
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.stack.model import LogisticStack


def stage(ctx: StageContext) -> Summary:
    """Apply the meta-learner to each fold's pair of logits and average the probabilities.

    It was fitted on one model's logits, not on an average's. Writes ``masks/mask_N.h5``,
    ``probability.zarr`` (``probability (patch, y, x)`` float32) and ``submission.zip``.
    """
    started = time.monotonic()
    model = LogisticStack.load(ctx.input("stack") / "model.json")
    pixel, unet = (open_logits(ctx, name) for name in ("pixel", "unet"))
    if not np.array_equal(pixel["patch"].values, unet["patch"].values):
        raise RunError("the two models predicted other tiles", fix="run the prediction again")
    patch = pixel["patch"].values
    folds, _, y, x = pixel["logit"].shape

    masks = ctx.out / "masks"
    shutil.rmtree(masks, ignore_errors=True)
    masks.mkdir(parents=True)
    attrs = {"threshold": model.threshold}
    kept = ScoreFile(ctx.out / "probability.zarr", patch, (y, x), name="probability", attrs=attrs)
    predicted = with_landslide = 0
    for i in track(range(len(patch)), "predict: stacking", len(patch)):
        p, u = pixel["logit"][:, i].values, unet["logit"][:, i].values
        probability = np.mean([model.probability(p[k], u[k]) for k in range(folds)], axis=0)
        kept.write(slice(i, i + 1), probability[np.newaxis])
        mask = (probability >= model.threshold).astype(np.uint8)
        write_mask(masks / f"mask_{int(patch[i])}.h5", mask)
        predicted += int(mask.sum())
        with_landslide += bool(mask.any())
    return {
        "split": ctx.params["split"],
        "patches": len(patch),
        "threshold": model.threshold,
        "predicted_pixels": predicted,
        "predicted_share": predicted / (len(patch) * y * x),
        "landslide_patches": with_landslide,
        "fold_models": folds,
        "submission": write_submission(masks, ctx.out / "submission.zip"),
        "seconds": round(time.monotonic() - started, 3),
    }


def open_logits(ctx: StageContext, model: str) -> xr.Dataset:
    """Logits that one base wrote for this prediction: ``logit (fold_model, patch, y, x)``."""
    folder = ctx.params["folder"]
    return open_scores(ctx.input(f"{folder}/{model}") / "logit.zarr")


def open_probability(folder: Path) -> xr.Dataset:
    """Probabilities that `stage` wrote, ``probability (patch, y, x)``."""
    return open_scores(folder / "probability.zarr")
