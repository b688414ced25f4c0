"""A store of small tiles and scores of them, as a run would hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from tiny_patches import dataset_of, save_store

from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.run.scores import ScoreFile

TILES, SIZE = 9, 32


def world(folder: Path, seed: int = 0) -> tuple[Path, Path, xr.Dataset, np.ndarray]:
    """Tiles with slope and elevation, blots of landslide, and scores that are often right."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    bands = [SensorBand(name=name) for name in ("B2", "B3", "B4")]
    bands += [SensorBand(name="slope", unit="degree"), SensorBand(name="dem", unit="metre")]
    sensor = Sensor(name="mini", patch_pixels=SIZE, bands=tuple(bands))
    image = rng.integers(300, 900, (TILES, 5, SIZE, SIZE)).astype(np.uint16)
    image[:, 3] = rng.integers(0, 60, (TILES, SIZE, SIZE))
    noise = gaussian_filter(rng.normal(size=(TILES, SIZE, SIZE)), (0, 2, 2))
    mask = (noise > 0.12).astype(np.uint8)
    mask[4] = 0
    dataset = dataset_of(image, mask, sensor, TILES)
    # A tile of the store that was not scored must not be counted.
    ids = np.arange(1, TILES)
    shown = gaussian_filter(noise + 0.1 * rng.normal(size=noise.shape), (0, 1, 1))[:-1]
    logit = (30 * (shown - 0.12)).astype(np.float32)
    scores = ScoreFile(folder / "oof.zarr", ids, (SIZE, SIZE), fold=ids % 3, attrs={"seed": seed})
    scores.write(slice(0, len(ids)), logit)
    return save_store(dataset, folder), scores.path, dataset, logit
