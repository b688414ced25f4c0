"""The stage ``features``: chooses features, measures scenes, samples rows and describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.store import STORE, landslide_pixels, open_store, positions_of, sensor_of
from l4s_ensemble.features.registry import FEATURES_FILE, select
from l4s_ensemble.features.sample import Rows, sample, share_out
from l4s_ensemble.features.source import (
    STATISTICS_FILE,
    FeatureSource,
    measure_scenes,
    save_statistics,
)
from l4s_ensemble.features.summary import (
    FeaturesSummary,
    SampleSize,
    describe,
    places_of,
)
from l4s_ensemble.run.files import digest_of, write_arrays, write_json
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import Folds, load_folds
from l4s_ensemble.scenes.neighbourhood import NEIGHBOURHOOD_FILE, measure_neighbourhood

FILES = (FEATURES_FILE, NEIGHBOURHOOD_FILE, STATISTICS_FILE)
"""What later stages read."""


def stage(ctx: StageContext) -> Summary:
    """Choose the features, sample them on fitting tiles, and describe each one.

    Writes ``features.json`` (the plan), ``neighbourhood.npz`` (neighbours, see
    `l4s_ensemble.scenes.neighbourhood.Neighbourhood`), ``scene_statistics.json`` (statistics of
    the scenes, where a feature reads them, from tiles to fit on) and ``sample.npz``: ``X`` float32
    (row, feature), ``y`` uint8, ``patch`` int64, ``pixel`` int32, ``fold`` int64, ``weight``
    float64 (pixels that a row stands for).

    Returns
    -------
    dict
        See `l4s_ensemble.features.summary.FeaturesSummary`.

    Raises
    ------
    DataError
        If the training patches have no masks, or none is left to fit.
    ConfigError
        If no feature is left.
    """
    settings, seed = ctx.config.features, ctx.config.seed
    store = ctx.input("data/train") / STORE
    dataset, folds = open_store(store), load_folds(ctx.input("scenes"))
    positions = positions_of(dataset, folds.fit_ids)
    for name in FILES:
        (ctx.out / name).unlink(missing_ok=True)
    plan = select(sensor_of(dataset), settings)
    write_json(ctx.out / FEATURES_FILE, plan.as_dict())
    measure_neighbourhood(
        dataset, folds, cross=settings.neighbours, drop_share=settings.drop_neighbours, seed=seed
    ).save(ctx.out / NEIGHBOURHOOD_FILE)
    if plan.scene_fields:
        scenes = measure_scenes(FeatureSource.beside(ctx.out, store), positions, ctx.jobs)
        save_statistics(ctx.out / STATISTICS_FILE, scenes)

    size = dataset.sizes["y"] * dataset.sizes["x"]
    quota = share_out(landslide_pixels(dataset)[positions], size, settings.sample_pixels, seed)
    rows = sample(FeatureSource.beside(ctx.out, store), positions, quota, seed, ctx.jobs)
    weight = np.where(rows.reference > 0, quota.weight_landslide, quota.weight_other)
    _save_sample(ctx.out / "sample.npz", rows, weight, folds, plan.names)
    places = places_of(folds, rows.patch)
    return FeaturesSummary(
        digest=digest_of(*(p for n in FILES if (p := ctx.out / n).is_file())),
        version=plan.version,
        sensor=plan.sensor,
        features=describe(plan.features, rows.values, rows.reference, weight, places),
        places=places.summary(rows.reference),
        left_out=plan.left_out,
        sample=SampleSize(pixels=len(rows.reference), positives=int(rows.reference.sum())),
    ).model_dump(mode="json")


def _save_sample(
    path: Path, rows: Rows, weight: NDArray[np.float64], folds: Folds, names: tuple[str, ...]
) -> None:
    fold = folds.of(rows.patch, "fold").astype(np.int64)
    arrays: dict[str, Any] = {"X": rows.values, "y": rows.reference, "patch": rows.patch}
    arrays |= {"pixel": rows.pixel, "fold": fold, "weight": weight, "names": np.array(names)}
    write_arrays(path, arrays)
