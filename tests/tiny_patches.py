"""Synthetic tiles for fixtures and scenes of the tests, and stages that were run on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from l4s_ensemble.config import Config
from l4s_ensemble.data.bands import L4S_BANDS
from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext


def tiny_patch(seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """One synthetic tile: counts uint16 (14, 128, 128) and mask uint8 (128, 128)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128].astype(float)
    dem = 900 + 4 * y + 60 * np.sin(x / 17 + rng.uniform(0, 6)) + 30 * np.sin(y / 9)
    gy, gx = np.gradient(dem, 10.0)
    slope = np.degrees(np.arctan(np.hypot(gx, gy)))
    mask = np.zeros((128, 128), np.uint8)
    for _ in range(2):
        cy, cx = rng.integers(20, 108, 2)
        mask |= (((y - cy) / 14) ** 2 + ((x - cx) / 6) ** 2 < 1).astype(np.uint8)
    slope = slope + 12 * mask
    plant = {"B1": 1000, "B2": 900, "B3": 850, "B4": 650, "B5": 1000, "B6": 2200, "B7": 2700}
    plant |= {"B8": 2800, "B9": 900, "B10": 12, "B11": 1700, "B12": 900}
    bare = {"B1": 1200, "B2": 1250, "B3": 1350, "B4": 1500, "B5": 1700, "B6": 1900, "B7": 2000}
    bare |= {"B8": 2050, "B9": 800, "B10": 13, "B11": 2300, "B12": 1800}
    counts = np.empty((14, 128, 128))
    for n, band in enumerate(L4S_BANDS):
        if band.name == "slope":
            counts[n] = slope
        elif band.name == "dem":
            counts[n] = dem
        else:
            clean = np.where(mask, bare[band.name], plant[band.name])
            counts[n] = clean * rng.lognormal(0, 0.08, clean.shape)
    return np.rint(counts).clip(0, 60000).astype(np.uint16), mask


def dataset_of(
    image: np.ndarray,
    mask: np.ndarray | None,
    sensor: Sensor,
    cols: int,
    *,
    first_id: int = 1,
    seed: int = 0,
) -> xr.Dataset:
    """Tiles (patch, band, y, x) of one scene in raster order, as a store gives them."""
    n = len(image)
    row, col = np.divmod(np.arange(n, dtype=np.int32), np.int32(cols))
    found = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), image.astype(np.uint16))},
        coords={
            "patch": np.arange(first_id, first_id + n),
            "band": list(sensor.band_names),
            "content_hash": ("patch", [f"{seed:04d}{i:012d}" for i in range(n)]),
            "degenerate": ("patch", np.zeros(n, bool)),
            "scene": ("patch", np.ones(n, np.int32)),
            "row": ("patch", row),
            "col": ("patch", col),
        },
        attrs={
            "sensor": sensor.model_dump_json(),
            "split": "train",
            "root": "synthetic",
            "format": FORMAT,
        },
    )
    return found if mask is None else found.assign(mask=(("patch", "y", "x"), mask))


def save_store(dataset: xr.Dataset, folder: Path) -> Path:
    """Write tiles as the data stage leaves them, in place of those that are there."""
    path = folder / "patches.zarr"
    shutil.rmtree(path, ignore_errors=True)
    # zarr has no fixed-length text.
    text = {name: dataset[name].astype(object) for name in ("band", "content_hash")}
    dataset.assign_coords(text).to_zarr(path, consolidated=False)
    return path


def put_stage(run: Path, name: str, summary: Mapping[str, Any] | None = None) -> Path:
    """Make a stage's folder count as finished."""
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "manifest.json", {"stage": name})
    write_json(folder / "summary.json", dict(summary or {}))
    return folder


def context_of(
    run: Path,
    name: str,
    config: Config,
    needs: tuple[str, ...] = (),
    params: Mapping[str, Any] | None = None,
    jobs: int = 1,
) -> StageContext:
    """What a stage is given, as the executor makes it."""
    out = run / name
    out.mkdir(parents=True, exist_ok=True)
    return StageContext(run, out, config, dict(params or {}), needs, jobs=jobs, device="cpu")


def run_stage(
    run: Path, name: str, stage: Callable[[StageContext], dict[str, Any]], *given: Any, **more: Any
) -> dict[str, Any]:
    """Run one stage in this process; arguments as for `context_of`."""
    summary = stage(context_of(run, name, *given, **more))
    put_stage(run, name, summary)
    return summary
