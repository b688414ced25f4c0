"""A small synthetic run folder with everything that the pixel classifier reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tiny_patches import dataset_of, put_stage, run_stage, save_store

from l4s_ensemble.config import Config, build
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.features.stage import stage as make_features
from l4s_ensemble.pixel.stage import fit_stage
from l4s_ensemble.scenes.stage import stage as make_scenes

SIZE = 32
SENSOR = Sensor(
    name="mini",
    bands=tuple(SensorBand(name=n) for n in ("B2", "B3", "B4", "B8")),
    patch_pixels=SIZE,
)


def synthetic(rows: int = 4, cols: int = 6, *, seed: int = 0, first_id: int = 1) -> xr.Dataset:
    """Tiles of one scene in which a landslide is red and bare: one feature tells it apart."""
    rng = np.random.default_rng(seed)
    n = rows * cols
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((n, SIZE, SIZE), np.uint8)
    for i in range(n):
        if i % 4:
            cy, cx, r = (*rng.uniform(6, SIZE - 6, 2), rng.uniform(2, 7))
            mask[i] = (y - cy) ** 2 + (x - cx) ** 2 <= r**2
    image = rng.normal([[[[400]], [[600]], [[500]], [[3000]]]], 60, (n, 4, SIZE, SIZE))
    image[:, 2] += 900.0 * mask
    image[:, 3] -= 1200.0 * mask
    return dataset_of(image.round(), mask, SENSOR, cols, first_id=first_id, seed=seed)


def save(dataset: xr.Dataset, run: Path, stage: str = "data/train") -> None:
    """Write tiles as the data stage would leave them, in place of those that are there."""
    save_store(dataset, put_stage(run, stage))


def config_of(**pixel: Any) -> Config:
    """Settings small enough for a test."""
    values = {
        "trees": 30,
        "leaves": 8,
        "learning_rate": 0.2,
        "min_child_samples": 20,
        "positives_max": 1500,
        **pixel,
    }
    return build(
        {
            "seed": 3,
            "scenes": {"folds": 3, "block_tiles": 2},
            "features": {"groups": ["indices"], "sample_pixels": 2000},
            "pixel": values,
            "data": {"holdout": {"ids": [6]}},
        }
    )


def run_pixel(run: Path, config: Config, jobs: int = 1) -> dict[str, Any]:
    needs = ("data/train", "scenes", "features")
    return run_stage(run, "pixel", fit_stage, config, needs, jobs=jobs)


def prepare(run: Path, config: Config, dataset: xr.Dataset) -> Path:
    """Write the tiles, then scenes and features, each by its own stage."""
    save(dataset, run)
    run_stage(run, "scenes", make_scenes, config, ("data/train",))
    run_stage(run, "features", make_features, config, ("data/train", "scenes"))
    return run
