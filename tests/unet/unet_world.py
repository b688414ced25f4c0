"""Small synthetic tiles and a run folder for the tests of the U-Net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tiny_patches import context_of, dataset_of, put_stage, run_stage, save_store

from l4s_ensemble.config import Config, UNetConfig, build
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.stage import stage as make_scenes
from l4s_ensemble.unet.classifier import UNetClassifier
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.inputs.tileset import load
from l4s_ensemble.unet.training.engine import Trainer

SIZE = 32
SENSOR = Sensor(
    name="mini",
    bands=(
        SensorBand(name="B4"),
        SensorBand(name="B8", count_to_unit=0.5),
        SensorBand(name="B10"),
        SensorBand(name="dem", unit="metre"),
    ),
    patch_pixels=SIZE,
)
NEEDS = ("data/train", "scenes")


def synthetic(rows: int = 4, cols: int = 4, *, seed: int = 0) -> xr.Dataset:
    """Tiles of one scene: a landslide is bright in red, dark in near infrared."""
    rng = np.random.default_rng(seed)
    n = rows * cols
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((n, SIZE, SIZE), np.uint8)
    for i in range(n):
        cy, cx, r = (*rng.uniform(6, SIZE - 6, 2), rng.uniform(3, 8))
        mask[i] = (y - cy) ** 2 + (x - cx) ** 2 <= r**2
    image = rng.normal(
        [[[[500]], [[6000]], [[20]], [[1500]]]],
        [[[[60]], [[300]], [[5]], [[40]]]],
        (n, 4, SIZE, SIZE),
    )
    image[:, 0] += 500.0 * mask
    image[:, 1] -= 2500.0 * mask
    image[:, 3] += rng.uniform(0, 2000, n)[:, None, None]
    return dataset_of(image.round().clip(0), mask, SENSOR, cols, seed=seed)


class Killed(Exception):
    """Stands for a kill of the process."""


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def tiny(**values: Any) -> UNetConfig:
    """Settings of the smallest network that still learns."""
    small = {"width": 4, "depth": 2, "epochs": 2, "batch": 4, "precision": "float32"}
    return UNetConfig(**{**small, **values})


def cpu(precision: str = "float32") -> Hardware:
    return choose("cpu", precision, threads=1)


def model_of(config: UNetConfig | None = None, **values: Any) -> UNetClassifier:
    """The estimator with the smallest settings, or with these."""
    settings = (config or tiny()).model_dump()
    return UNetClassifier(**{**settings, "sensor": SENSOR, "device": "cpu", **values})


def trainer(
    config: UNetConfig, count: int = 16, hardware: Hardware | None = None, **more: Any
) -> Trainer:
    """A training on the first of the tiles."""
    tiles = load(synthetic()).at(range(count))
    return Trainer(tiles, config, (3, more.pop("fold", 0)), hardware or cpu(), **more)


def f1(logit: Any, mask: Any) -> float:
    predicted, reference = np.asarray(logit) > 0, np.asarray(mask) > 0
    return float(2 * (predicted & reference).sum() / (predicted.sum() + reference.sum()))


def config_of(**unet: Any) -> Config:
    return build(
        {
            "seed": 3,
            "scenes": {"folds": 2, "block_tiles": 2},
            "data": {"holdout": {"ids": [16]}, "holdout_guard": False},
            "unet": tiny(**unet).model_dump(),
        }
    )


def context(
    run: Path,
    name: str,
    config: Config,
    needs: tuple[str, ...] = NEEDS,
    params: Mapping[str, Any] | None = None,
) -> StageContext:
    return context_of(run, name, config, needs, params)


def prepare(run: Path, config: Config) -> Path:
    """Tiles and folds, as the stages before the U-Net leave them."""
    save_store(synthetic(), put_stage(run, "data/train"))
    run_stage(run, "scenes", make_scenes, config, ("data/train",))
    return run
