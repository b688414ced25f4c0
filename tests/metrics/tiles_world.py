"""A store of small tiles and scores of them, as a run would hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import xarray as xr

from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.run.scores import ScoreFile

TILES, SIZE = 9, 32


def save(dataset: xr.Dataset, folder: Path) -> None:
    """Write tiles as the data stage would, in place of those that are there."""
    path = folder / "data/train/patches.zarr"
    shutil.rmtree(path, ignore_errors=True)
    # zarr has no fixed-length text.
    text = {name: dataset[name].astype(object) for name in ("band", "content_hash")}
    dataset.assign_coords(text).to_zarr(path, consolidated=False)


def world(folder: Path, seed: int = 0) -> tuple[Path, Path, xr.Dataset, np.ndarray]:
    """Tiles with slope and elevation, blots of landslide, and scores that are often right."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    sensor = Sensor(
        name="mini",
        patch_pixels=SIZE,
        bands=(
            SensorBand(name="B2"),
            SensorBand(name="B3"),
            SensorBand(name="B4"),
            SensorBand(name="slope", unit="degree"),
            SensorBand(name="dem", unit="metre"),
        ),
    )
    image = rng.integers(300, 900, (TILES, 5, SIZE, SIZE)).astype(np.uint16)
    image[:, 3] = rng.integers(0, 60, (TILES, SIZE, SIZE))
    noise = gaussian_filter(rng.normal(size=(TILES, SIZE, SIZE)), (0, 2, 2))
    mask = (noise > 0.12).astype(np.uint8)
    mask[4] = 0
    dataset = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), image), "mask": (("patch", "y", "x"), mask)},
        coords={
            "patch": np.arange(1, TILES + 1),
            "band": list(sensor.band_names),
            "content_hash": ("patch", [f"{i:016d}" for i in range(TILES)]),
            "degenerate": ("patch", np.zeros(TILES, bool)),
            "scene": ("patch", np.ones(TILES, np.int32)),
            "row": ("patch", np.zeros(TILES, np.int32)),
            "col": ("patch", np.arange(TILES, dtype=np.int32)),
        },
        attrs={
            "sensor": sensor.model_dump_json(),
            "split": "train",
            "root": "synthetic",
            "format": FORMAT,
        },
    )
    save(dataset, folder)
    # A tile of the store that was not scored must not be counted.
    ids = np.arange(1, TILES)
    shown = gaussian_filter(noise + 0.1 * rng.normal(size=noise.shape), (0, 1, 1))[:-1]
    logit = (30 * (shown - 0.12)).astype(np.float32)
    write_scores(folder / "oof.zarr", ids, logit)
    return folder / "data/train/patches.zarr", folder / "oof.zarr", dataset, logit


def write_scores(
    path: Path, ids: np.ndarray, values: np.ndarray, *, name: str = "logit", seed: int = 0
) -> Path:
    """Out-of-fold scores of three folds."""
    size = values.shape[1:]
    scores = ScoreFile(path, ids, size, name=name, fold=ids % 3, attrs={"seed": seed})
    for block in scores.blocks():
        scores.write(block, values[block])
    return path
