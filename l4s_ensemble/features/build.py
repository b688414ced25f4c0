"""The features stage: chooses features, measures scenes, samples rows and describes them."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from l4s_ensemble.features.registry import FEATURES_FILE, select
from l4s_ensemble.features.summary import describe, places_of
from l4s_ensemble.run.files import atomic_path, digest_of, write_json
from l4s_ensemble.run.stage import StageContext, Summary


def stage(ctx: StageContext) -> Summary:
    """Choose the features, sample them on fitting tiles, and describe each one.

    Writes ``features.json`` (the plan), ``surroundings.npz`` (neighbours, see
    `l4s_ensemble.scenes.surroundings.Surroundings`), ``scene_statistics.json`` (statistics of
    the scenes, where a feature reads them, from tiles to fit on) and ``sample.npz``: ``X`` float32
    (row, feature), ``y`` uint8, ``patch`` int64, ``pixel`` int32, ``fold`` int64, ``weight``
    float64 (pixels that a row stands for).

    Raises
    ------
    DataError
        If the training patches have no masks, or none is left to fit.
    ConfigError
        If no feature is left.
    """
    from l4s_ensemble.data.store import (
        STORE,
        landslide_pixels,
        open_store,
        positions_of,
        sensor_of,
    )  # fmt: skip
    from l4s_ensemble.features.sample import sample, share_out
    from l4s_ensemble.features.source import (
        STATISTICS_FILE,
        FeatureSource,
        measure_scenes,
        save_statistics,
    )
    from l4s_ensemble.scenes.folds import load_folds
    from l4s_ensemble.scenes.surroundings import SURROUNDINGS_FILE, measure_surroundings

    settings = ctx.config.features
    store = ctx.input("data/train") / STORE
    dataset = open_store(store)
    folds = load_folds(ctx.input("scenes"))
    plan = select(sensor_of(dataset), settings)
    write_json(ctx.out / FEATURES_FILE, plan.as_dict())
    surroundings = measure_surroundings(
        dataset, folds, cross=settings.neighbours, drop_share=settings.drop_neighbours,
        seed=ctx.config.seed,
    )  # fmt: skip
    surroundings.save(ctx.out / SURROUNDINGS_FILE)
    (ctx.out / STATISTICS_FILE).unlink(missing_ok=True)
    source = FeatureSource.beside(ctx.out, store)

    positions = positions_of(dataset, folds.fit_ids)
    scenes = {}
    if plan.scene_fields:
        scenes = measure_scenes(source, positions, ctx.jobs)
        save_statistics(ctx.out / STATISTICS_FILE, scenes)
        source = FeatureSource.beside(ctx.out, store)
    size = dataset.sizes["y"] * dataset.sizes["x"]
    quota = share_out(
        landslide_pixels(dataset)[positions], size, settings.sample_pixels, ctx.config.seed
    )
    started = time.perf_counter()
    rows = sample(source, positions, quota, ctx.config.seed, ctx.jobs)
    seconds = time.perf_counter() - started

    weight = np.where(rows.truth > 0, quota.weight_landslide, quota.weight_other)
    with atomic_path(ctx.out / "sample.npz") as partial, partial.open("wb") as file:
        np.savez(
            file, X=rows.values, y=rows.truth, patch=rows.patch, pixel=rows.pixel,
            fold=folds.of(rows.patch, "fold").astype(np.int64), weight=weight,
            names=np.array(plan.names),
        )  # fmt: skip

    places = places_of(folds, rows.patch)
    written = (FEATURES_FILE, SURROUNDINGS_FILE, STATISTICS_FILE)
    with_neighbours = sum(bool(surroundings.neighbours(int(t))) for t in positions)
    patches = int(np.count_nonzero(quota.landslide + quota.other))
    return {
        "digest": digest_of(*(p for n in written if (p := ctx.out / n).is_file())),
        "version": plan.version,
        "sensor": plan.sensor,
        "support_px": plan.support_px,
        "features": describe(plan.features, rows.values, rows.truth, weight, places),
        "places": places.as_dict(rows.truth),
        "left_out": [asdict(item) for item in plan.left_out],
        "sample": {"pixels": len(rows.truth), "positives": int(rows.truth.sum())},
        "patches": patches,
        "with_neighbours": with_neighbours,
        "scenes_measured": {str(n): found.tiles for n, found in scenes.items()},
        "seconds": round(seconds, 3),
        "patches_per_s": round(patches / seconds, 2) if seconds > 0 else None,
    }
