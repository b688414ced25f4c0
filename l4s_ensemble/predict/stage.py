"""The stages of a prediction: the masks of a split, the landslides in them, and their scores."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.data.store import STORE, open_store, positions_of, sensor_of
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.source import FeatureSource, source_to_predict
from l4s_ensemble.pixel.landslides import PIXELS, draw_pixels, explain_landslides, found_by
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shap import Ground
from l4s_ensemble.predict.applicability import compare_with_training
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.landslides import landslides_of, tile_maps, write_landslides
from l4s_ensemble.predict.landslides_table import LANDSLIDES_CSV, LANDSLIDES_JSON, by_size
from l4s_ensemble.predict.patch_scores import Kept, Maps, masks_of, scene_thresholds
from l4s_ensemble.predict.score import (
    bootstrap_blocks,
    count_tiles,
    missed_landslides,
    score_split,
)
from l4s_ensemble.predict.submission import write_submission
from l4s_ensemble.predict.summary import (
    AdaptedThreshold,
    Applicability,
    LandslidesSummary,
    ResultSummary,
    ScoresSummary,
    Submission,
    ThresholdOfScene,
)
from l4s_ensemble.run.files import digest_of, read_json
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
from l4s_ensemble.scenes.landslides import Outlines, places_of, predicted_outlines
from l4s_ensemble.stack.baselines import on_split, read_sources
from l4s_ensemble.stack.comparison import thresholds_of
from l4s_ensemble.stack.learners import BASE_MODELS
from l4s_ensemble.stack.summary import Baseline
from l4s_ensemble.stack.threshold import SceneThreshold
from l4s_ensemble.stack.uncertainty import MEASURE

SHOWN = 20
"""Landslides in the summary, the largest ones."""

EXPLAINED = 500
"""Most landslides that get a reason, the largest ones."""


def stage(ctx: StageContext) -> Summary:
    """Predict a split with the ensemble of the run.

    Writes ``pixel.zarr`` and ``unet.zarr`` (``logit (fold_model, patch, y, x)``),
    ``probability.zarr`` and ``uncertainty.zarr`` (``probability (patch, y, x)``), ``tiles.csv``
    (dissimilarity index), ``kept/`` (see `Kept`), ``masks/mask_N.h5`` and ``submission.zip``. A
    killed run goes on with the patches that are missing.

    Raises
    ------
    ModelError
        If the patches are not of the sensor that the models were trained on.
    """
    started = time.monotonic()
    ensemble = Ensemble.load(ctx.run, device=ctx.device, jobs=ctx.jobs)
    if ctx.params.get("fast"):
        ensemble = ensemble.first_fold()
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
    place = ensemble.places_of(patches) if ctx.params["adapt"] else None
    ensemble.score(source, maps, place, Kept(ctx.out, ctx.config.seed))
    scene, fitted = _scenes(ctx, patches)
    histograms = maps.histograms(scene, ensemble.stack.reference_.bins)
    thresholds = scene_thresholds(ensemble.stack, histograms, fitted)
    reach = compare_with_training(patches, ensemble.applicability, ctx.out, trained=of_training)
    predicted = _write_masks(ctx.out / "masks", ensemble, maps, scene, thresholds, reach)
    return ResultSummary(
        split=split,
        patches=len(patch),
        learner=ensemble.stack.learner_.kind,
        threshold=ensemble.stack.threshold_,
        adapt_threshold=ensemble.stack.adapt_threshold,
        thresholds=[
            ThresholdOfScene(
                scene=s,
                threshold=ensemble.stack.threshold_ if t is None else t.threshold,
                adapted=None if t is None else AdaptedThreshold(**asdict(t)),
            )
            for s, t in thresholds.items()
        ],
        smallest_px=ensemble.stack.smallest_px_,
        uncertainty=MEASURE,
        predicted_pixels=int(predicted.sum()),
        predicted_share=float(
            predicted.sum() / (len(patch) * patches.sizes["y"] * patches.sizes["x"])
        ),
        landslide_patches=int((predicted > 0).sum()),
        fold_models=ensemble.n_folds,
        adapted_to=split if place is not None and place.any() else None,
        places=None if place is None else np.bincount(place)[1:].tolist(),
        histogram=np.sum(list(histograms.values()), axis=0).tolist(),
        applicability=reach,
        submission=Submission(**write_submission(ctx.out / "masks", ctx.out / "submission.zip")),
        seconds=round(time.monotonic() - started, 3),
    ).model_dump(mode="json")


def landslides_stage(ctx: StageContext) -> Summary:
    """Write ``landslides.json`` and ``landslides.csv``, see `l4s_ensemble.predict.landslides`."""
    started, result = time.monotonic(), _result(ctx)
    patch, place, outlines = predicted_outlines(ctx)
    data = patches_to_predict(ctx)
    pixel_m, folder = sensor_of(data).pixel_m, ctx.input(f"{ctx.params['folder']}/result")
    chosen = thresholds_of(ctx.input("stack"))
    maps = tile_maps(folder, data, patch)
    rows = landslides_of(outlines, maps, patch, place, chosen, pixel_m=pixel_m)
    numbers = range(1, min(len(rows), EXPLAINED) + 1)
    reasons = _reasons(ctx, folder, outlines, numbers, patch, result.fold_models)
    for row in rows[: len(numbers)]:
        if row["id"] in reasons:
            reasons[row["id"]] |= found_by(row, chosen)
    note = (
        f"the {len(reasons)} largest of {len(rows)} landslides have a reason, from at most "
        f"{PIXELS} pixels each"
    )
    write_landslides(
        ctx.out,
        rows,
        reasons,
        _outside(result),
        split=ctx.params["split"],
        pixel_m=pixel_m,
        thresholds={name: chosen[name] for name in BASE_MODELS},
        uncertainty=result.uncertainty,
        note=note,
    )
    return LandslidesSummary(
        split=ctx.params["split"],
        landslides=len(rows),
        area_m2=float(outlines.pixels.sum()) * pixel_m**2,
        explained=len(reasons),
        cut_by_edge=int(outlines.cut.sum()),
        over_seams=int((outlines.tiles > 1).sum()),
        uncertainty=result.uncertainty,
        by_size=by_size(outlines.pixels, pixel_m),
        largest=rows[:SHOWN],
        note=note,
        seconds=round(time.monotonic() - started, 3),
        digest=digest_of(ctx.out / LANDSLIDES_JSON, ctx.out / LANDSLIDES_CSV),
    ).model_dump(mode="json")


def _reasons(
    ctx: StageContext,
    folder: Path,
    outlines: Outlines,
    numbers: Sequence[int],
    patch: NDArray[np.int64],
    folds: int,
) -> dict[int, dict[str, Any]]:
    """Explain landslides by the pixels that the prediction in `folder` kept the features of."""
    model, kept = PixelModel.load(ctx.input("pixel")), Kept(folder, ctx.config.seed).read()
    at = {int(n): np.flatnonzero(kept["patch"] == n) for n in np.unique(kept["patch"])}
    known = {number: kept["pixel"][rows] for number, rows in at.items()}
    drawn = draw_pixels(outlines, numbers, folds, patch, seed=ctx.config.seed, known=known)
    rows = [
        at[n][np.searchsorted(known[n], pixel)]
        for n, pixel in zip(patch[drawn[:, 1]].tolist(), drawn[:, 2], strict=True)
    ]
    values = kept["values"][np.array(rows, np.int64)]
    return explain_landslides(model, Ground.load(model.folder), drawn, values, jobs=ctx.jobs)


def scores_stage(ctx: StageContext) -> Summary:
    """Score a split. Writes ``tiles_<model>.npz`` and ``tiles.npz`` (the stack's).

    Raises
    ------
    DataError
        If the split has no masks.
    """
    data, result, seed = patches_to_predict(ctx), _result(ctx), ctx.config.seed
    if "mask" not in data:
        raise DataError(
            "this split has no masks to score against",
            where=data.attrs.get("root"),
            fix="predict without scoring, or add the masks to the split's folder",
        )
    thresholds = thresholds_of(ctx.input("stack"))
    folder = ctx.input(f"{ctx.params['folder']}/result")
    found = count_tiles(folder, data, thresholds)
    patch = found.tiles["stack"].patch
    data = data.sel(patch=patch)
    if ctx.params["holdout"]:
        block, kind = load_folds(ctx.input("scenes")).of(patch, "block"), "spatial"
    else:
        block, kind = bootstrap_blocks(data, ctx.config.scenes.bootstrap_tiles)
    place = places_of(ctx, data)
    scores = score_split(
        found,
        thresholds,
        block,
        place,
        _outside(result),
        adapted_to=result.adapted_to,
        seed=seed,
    )
    for name, scored in found.tiles.items():
        scored.save(ctx.out / f"tiles_{name}.npz")
    found.tiles["stack"].save(ctx.out / "tiles.npz")
    masks = data["mask"]
    return ScoresSummary(
        split=ctx.params["split"],
        patches=len(patch),
        block_kind=kind,
        adapted_to=result.adapted_to,
        **scores,
        baselines=_baselines(ctx, folder, patch, block),
        missed=missed_landslides(found.objects, patch, place, lambda i: masks[i].values),
    ).model_dump(mode="json")


def _baselines(
    ctx: StageContext, folder: Path, patch: NDArray[np.int64], block: NDArray[Any]
) -> list[Baseline]:
    """Score simple rules that were chosen on training tiles."""
    source = FeatureSource.beside(ctx.input("pixel"), ctx.input(ctx.params["data"]) / STORE, folder)
    chosen_by = read_sources(ctx.input("pixel"), ctx.input("features"))
    return on_split(source, patch, *chosen_by, block, ctx.config.seed, ctx.jobs)


def _result(ctx: StageContext) -> ResultSummary:
    path = ctx.input(f"{ctx.params['folder']}/result") / "summary.json"
    return ResultSummary.model_validate(read_json(path))


def _outside(result: ResultSummary) -> set[int] | None:
    return result.applicability.tiles_outside() if result.applicability else None


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
    reach: Applicability | None,
) -> NDArray[np.int64]:
    """Write ``mask_N.h5`` of every patch; give the landslide pixels of each, shape (patch,).

    Attributes of a mask: ``dissimilarity`` and ``inside_applicability`` (0 or 1) of its tile.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pixels: list[int] = []
    for at in maps.probability.blocks():
        masks = masks_of(ensemble.stack, maps.probability.read(at), scene[at], thresholds)
        for number, mask in zip(maps.probability.patch[at], masks, strict=True):
            said = {} if reach is None else reach.of_tile(int(number))
            write_mask(folder / f"mask_{int(number)}.h5", mask, attrs=said)
            pixels.append(int(mask.sum()))
    return np.array(pixels)
