"""From both models' logits to masks, probabilities and a submission of one split."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches

from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics.histogram import bin_index
from l4s_ensemble.predict.submission import read_mask, write_submission
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.learners import BATCH_TILES
from l4s_ensemble.stack.uncertainty import MEASURE


def stage(ctx: StageContext) -> Summary:
    """Apply the meta-learner to each fold's pair of logits, average, and decide.

    It was fitted on the logits of one model, not on an average's. Writes ``probability.zarr``
    (``probability (patch, y, x)`` float32: final, as the threshold wants it), ``uncertainty.zarr``
    (``probability (patch, y, x)``: uncertainty), ``masks/mask_N.h5`` and ``submission.zip``.
    Where the threshold follows the place, it does so scene by scene, from scores alone.
    """
    started = time.monotonic()
    stack = Stack.load(ctx.input("stack"))
    pixel, unet = (open_logits(ctx, name) for name in ("pixel", "unet"))
    if not np.array_equal(pixel["patch"].values, unet["patch"].values):
        raise RunError("the two models predicted other tiles", fix="run the prediction again")
    patch = pixel["patch"].values
    data = patches_to_predict(ctx)
    folds, _, y, x = pixel["logit"].shape
    scene = (
        load_folds(ctx.input("scenes")).of(patch, "scene") if ctx.params["holdout"]
        else data["scene"].sel(patch=patch).values
    )  # fmt: skip
    bins = stack.reference_.bins
    by_scene = {int(s): np.zeros(bins, np.int64) for s in np.unique(scene)}

    kind = stack.learner_.kind
    attrs = {"threshold": stack.threshold_, "learner": kind}
    kept = ScoreFile(ctx.out / "probability.zarr", patch, (y, x), name="probability", attrs=attrs)
    unsure = ScoreFile(
        ctx.out / "uncertainty.zarr", patch, (y, x), name="probability", dtype="float16",
        attrs={"measure": MEASURE},
    )  # fmt: skip
    blocks = list(gen_batches(len(patch), BATCH_TILES))
    for at in track(blocks, "predict: stacking", len(blocks)):
        p, u = pixel["logit"][:, at].values, unet["logit"][:, at].values
        final = stack.predict_proba(p, u, fold_axis=0)
        kept.write(at, final)
        unsure.write(at, stack.uncertainty(final))
        for one, where in zip(final, scene[at], strict=True):
            by_scene[int(where)] += np.bincount(bin_index(one.ravel(), bins), minlength=bins)
    seen = _scenes_of_the_fit(ctx)
    followed = {s: stack.scene_threshold(h, seen=s in seen) for s, h in by_scene.items()}
    threshold = {s: stack.threshold_ if f is None else f.threshold for s, f in followed.items()}
    masks = ctx.out / "masks"
    shutil.rmtree(masks, ignore_errors=True)
    masks.mkdir(parents=True)
    predicted = with_landslide = 0
    for at in track(blocks, "predict: masks", len(blocks)):
        for i, one, where in zip(patch[at], kept.read(at), scene[at], strict=True):
            mask = stack.predict(one, threshold[int(where)])
            write_mask(masks / f"mask_{int(i)}.h5", mask)
            predicted += int(mask.sum())
            with_landslide += bool(mask.any())
    return {
        "split": ctx.params["split"],
        "patches": len(patch),
        "learner": kind,
        "threshold": stack.threshold_,
        "follow": None if stack.follow == "none" else stack.follow,
        "thresholds": [
            {"scene": s, "threshold": threshold[s], "followed": None if f is None else asdict(f)}
            for s, f in followed.items()
        ],
        "smallest_px": stack.smallest_px_,
        "uncertainty": MEASURE,
        "predicted_pixels": predicted,
        "predicted_share": predicted / (len(patch) * y * x),
        "landslide_patches": with_landslide,
        "fold_models": folds,
        "histogram": sum(by_scene.values(), np.zeros(bins, np.int64)).tolist(),
        "submission": write_submission(masks, ctx.out / "submission.zip"),
        "seconds": round(time.monotonic() - started, 3),
    }


def _scenes_of_the_fit(ctx: StageContext) -> set[int]:
    """Scenes to predict that the models know: only the tiles set aside lie in such."""
    if not ctx.params["holdout"]:
        return set()
    folds = load_folds(ctx.input("scenes"))
    return {int(s) for s in np.unique(folds.of(folds.fit_ids, "scene"))}


def open_logits(ctx: StageContext, model: str) -> xr.Dataset:
    """Logits that one base wrote for this prediction: ``logit (fold_model, patch, y, x)``."""
    folder = ctx.params["folder"]
    return open_scores(ctx.input(f"{folder}/{model}") / "logit.zarr")


def open_probability(folder: Path) -> xr.Dataset:
    """Probabilities that `stage` wrote, ``probability (patch, y, x)``."""
    return open_scores(folder / "probability.zarr")


def open_uncertainty(folder: Path) -> xr.Dataset:
    """Uncertainty that `stage` wrote, ``probability (patch, y, x)``, 0 (sure) to 1."""
    return open_scores(folder / "uncertainty.zarr")


def open_masks(folder: Path, patch: ArrayLike) -> NDArray[np.uint8]:
    """Masks that `stage` wrote, uint8 (patch, y, x), 1 = landslide.

    Parameters
    ----------
    folder : Path
        Of the result.
    patch : array_like of int, shape (patch,)
        Ids, in order.
    """
    return np.stack([read_mask(folder / "masks" / f"mask_{int(i)}.h5") for i in np.asarray(patch)])
