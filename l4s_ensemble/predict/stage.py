"""The stage that applies the ensemble to a split: scores, masks and a submission."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.data.store import STORE, open_store, positions_of
from l4s_ensemble.features.source import source_to_predict
from l4s_ensemble.predict.applicability import compare_with_training
from l4s_ensemble.predict.ensemble import BASE_MODELS, Ensemble, Maps
from l4s_ensemble.predict.submission import write_submission
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
from l4s_ensemble.stack.threshold import SceneThreshold
from l4s_ensemble.stack.uncertainty import MEASURE


def stage(ctx: StageContext) -> Summary:
    """Predict a split with the ensemble of the run.

    Writes ``pixel.zarr`` and ``unet.zarr`` (``logit (fold_model, patch, y, x)``),
    ``probability.zarr`` and ``uncertainty.zarr`` (``probability (patch, y, x)``), ``tiles.csv``
    (dissimilarity index), ``masks/mask_N.h5`` and ``submission.zip``. A killed run goes on with
    the patches that are missing.

    Raises
    ------
    ModelError
        If the patches are not of the sensor that the models were trained on.
    """
    started = time.monotonic()
    ensemble = Ensemble.load(ctx.run, device=ctx.device, jobs=ctx.jobs)
    patches, store = patches_to_predict(ctx), ctx.input(ctx.params["data"]) / STORE
    patch, of_training = patches["patch"].values, ctx.params["data"] == "data/train"
    source = source_to_predict(
        store,
        ensemble.pixel.folder,
        ctx.out,
        positions_of(open_store(store), patch),
        is_training_store=of_training,
        jobs=ctx.jobs,
    )
    maps = _files(ctx, ensemble, patches)
    split = str(ctx.params["split"])
    own = ctx.params["folder"] == f"predict/{split}"  # else: of another folder than the fit's
    seconds = ensemble.score(source, maps, split=split if own else None)
    scene, fitted = _scenes(ctx, patches)
    histograms = ensemble.histograms(maps, scene)
    thresholds = ensemble.thresholds(histograms, fitted)
    predicted = _write_masks(ctx.out / "masks", ensemble, maps, scene, thresholds)
    reference = ensemble.applicability
    return {
        "split": split,
        "patches": len(patch),
        "learner": ensemble.stack.learner_.kind,
        "threshold": ensemble.stack.threshold_,
        "adapt_threshold": ensemble.stack.adapt_threshold,
        "thresholds": [
            {
                "scene": s,
                "threshold": ensemble.stack.threshold_ if t is None else t.threshold,
                "adapted": None if t is None else asdict(t),
            }
            for s, t in thresholds.items()
        ],
        "smallest_px": ensemble.stack.smallest_px_,
        "uncertainty": MEASURE,
        "predicted_pixels": int(predicted.sum()),
        "predicted_share": float(
            predicted.sum() / (len(patch) * patches.sizes["y"] * patches.sizes["x"])
        ),
        "landslide_patches": int((predicted > 0).sum()),
        "fold_models": ensemble.n_folds,
        "adapted_to": ensemble.unet.adapted_to,
        "histogram": np.sum(list(histograms.values()), axis=0).tolist(),
        "applicability": compare_with_training(patches, reference, ctx.out, trained=of_training),
        "submission": write_submission(ctx.out / "masks", ctx.out / "submission.zip"),
        "seconds_of": seconds,
        "seconds": round(time.monotonic() - started, 3),
    }


def _files(ctx: StageContext, ensemble: Ensemble, patches: xr.Dataset) -> Maps:
    size = patches.sizes["y"], patches.sizes["x"]

    def file(name: str, **options: Any) -> ScoreFile:
        array = "logit" if name in BASE_MODELS else "probability"
        attrs = {"seed": ctx.config.seed, "model": name}
        path = ctx.out / f"{name}.zarr"
        return ScoreFile(path, patches["patch"].values, size, name=array, attrs=attrs, **options)

    return Maps.make(file, ensemble.n_folds)


def _scenes(ctx: StageContext, patches: xr.Dataset) -> tuple[NDArray[np.int64], frozenset[int]]:
    """Scene of each patch, and the scenes that the models were fitted on parts of."""
    if not ctx.params["holdout"]:
        return patches["scene"].values, frozenset()
    folds = load_folds(ctx.input("scenes"))
    fitted = folds.of(folds.fit_ids, "scene").tolist()
    return folds.of(patches["patch"].values, "scene"), frozenset(map(int, fitted))


def _write_masks(
    folder: Path,
    ensemble: Ensemble,
    maps: Maps,
    scene: NDArray[np.int64],
    thresholds: dict[int, SceneThreshold | None],
) -> NDArray[np.int64]:
    """Write ``mask_N.h5`` of every patch; give the landslide pixels of each, shape (patch,)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pixels: list[int] = []
    for at in maps.probability.blocks():
        masks = ensemble.masks(maps.probability.read(at), scene[at], thresholds)
        for number, mask in zip(maps.probability.patch[at], masks, strict=True):
            write_mask(folder / f"mask_{int(number)}.h5", mask)
            pixels.append(int(mask.sum()))
    return np.array(pixels)
