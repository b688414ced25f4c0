"""A small synthetic run folder with everything that the pixel classifier reads."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from l4s_ensemble.config import Config, build
from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext

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
    return xr.Dataset(
        {
            "image": (("patch", "band", "y", "x"), image.round().astype(np.uint16)),
            "mask": (("patch", "y", "x"), mask),
        },
        coords={
            "patch": np.arange(first_id, first_id + n),
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


def save(dataset: xr.Dataset, run: Path, stage: str = "data/train") -> None:
    """Write tiles as the data stage would leave them, in place of those that are there."""
    folder = put_stage(run, stage)
    shutil.rmtree(folder / "patches.zarr", ignore_errors=True)
    # zarr has no fixed-length text.
    text = {name: dataset[name].astype(object) for name in ("band", "content_hash")}
    dataset.assign_coords(text).to_zarr(folder / "patches.zarr", consolidated=False)


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


def put_stage(run: Path, name: str, summary: Mapping[str, Any] | None = None) -> Path:
    """Make a stage's folder count as finished."""
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "manifest.json", {"stage": name})
    write_json(folder / "summary.json", dict(summary or {}))
    return folder


def run_stage(
    run: Path,
    name: str,
    target: str,
    config: Config,
    needs: tuple[str, ...] = (),
    params: Mapping[str, Any] | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Run one stage in this process, as the executor would in its own."""
    module, _, function = target.partition(":")
    out = run / name
    out.mkdir(parents=True, exist_ok=True)
    ctx = StageContext(run, out, config, dict(params or {}), needs, jobs=jobs)
    summary: dict[str, Any] = getattr(importlib.import_module(module), function)(ctx)
    put_stage(run, name, summary)
    return summary


def run_pixel(run: Path, config: Config, jobs: int = 1) -> dict[str, Any]:
    needs = ("data/train", "scenes", "features")
    return run_stage(run, "pixel", "l4s_ensemble.pixel.stage:fit_stage", config, needs, jobs=jobs)


def prepare(run: Path, config: Config, dataset: xr.Dataset) -> Path:
    """Write the tiles, then scenes and features, each by its own stage."""
    save(dataset, run)
    run_stage(run, "scenes", "l4s_ensemble.scenes.stage:stage", config, ("data/train",))
    needs = ("data/train", "scenes")
    run_stage(run, "features", "l4s_ensemble.features.stage:stage", config, needs)
    return run
