"""Small synthetic tiles and a run folder for the tests of the U-Net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from l4s_ensemble.config import Config, UNetConfig, build
from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext
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
    return xr.Dataset(
        {
            "image": (("patch", "band", "y", "x"), image.round().clip(0).astype(np.uint16)),
            "mask": (("patch", "y", "x"), mask),
        },
        coords={
            "patch": np.arange(1, n + 1),
            "band": list(SENSOR.band_names),
            "content_hash": ("patch", [f"{seed:04d}{i:012d}" for i in range(n)]),
            "degenerate": ("patch", np.zeros(n, bool)),
            "scene": ("patch", np.ones(n, np.int32)),
            "row": ("patch", np.repeat(np.arange(rows), cols).astype(np.int32)),
            "col": ("patch", np.tile(np.arange(cols), rows).astype(np.int32)),
        },
        attrs={
            "sensor": SENSOR.model_dump_json(),
            "split": "train",
            "root": "synthetic",
            "format": FORMAT,
        },
    )


class Killed(Exception):
    """Stands for a kill of the process."""


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def tiny(**values: Any) -> UNetConfig:
    """Settings of the smallest network that still learns."""
    small = {"width": 4, "depth": 2, "epochs": 2, "batch": 4, "precision": "float32", "tta": False}
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


def put_stage(run: Path, name: str, summary: Mapping[str, Any] | None = None) -> Path:
    """Make a stage's folder count as finished."""
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "manifest.json", {"stage": name})
    write_json(folder / "summary.json", dict(summary or {}))
    return folder


def context(
    run: Path,
    name: str,
    config: Config,
    needs: tuple[str, ...] = NEEDS,
    params: Mapping[str, Any] | None = None,
) -> StageContext:
    out = run / name
    out.mkdir(parents=True, exist_ok=True)
    return StageContext(run, out, config, dict(params or {}), needs, jobs=1, device="cpu")


def prepare(run: Path, config: Config) -> Path:
    """Tiles and folds, as the stages before the U-Net leave them."""
    from l4s_ensemble.scenes import stage as scenes

    synthetic().to_zarr(put_stage(run, "data/train") / "patches.zarr", consolidated=False)
    scenes.stage(context(run, "scenes", config, ("data/train",)))
    put_stage(run, "scenes")
    return run
