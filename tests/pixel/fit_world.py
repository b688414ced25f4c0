"""Tiles on a grid with features made of their masks: what the fit of a fold reads, no store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from pixel_world import SENSOR

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.fit import FitJob
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan, plan_pixels
from l4s_ensemble.scenes.folds import Folds

EDGE = 12
SIZE = 24
NAMES = ("bare", "steep", "noise")


def folds_of(masks: NDArray[np.uint8], folds: int = 3) -> Folds:
    """Folds of four columns of tiles, blocks of 2 x 2 tiles, one scene."""
    n = len(masks)
    row, col = (a.ravel().astype(np.int32) for a in np.divmod(np.arange(n), EDGE))
    return Folds(
        patch=np.arange(100, 100 + n),
        scene=np.ones(n, np.int32),
        row=row,
        col=col,
        role=np.full(n, "fit"),
        fold=(col * folds // EDGE).astype(np.int32),
        block=(row // 2 * (EDGE // 2) + col // 2).astype(np.int32),
        landslide_pixels=masks.reshape(n, -1).sum(axis=1, dtype=np.int64),
        content_hash=np.array([f"{i:016x}" for i in range(n)]),
        n_folds=folds,
        grid="manifest",
        block_tiles=4,
    )


def ground(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Masks (tile, y, x) and features (tile, feature, y, x).

    A landslide is bare and steep. One tile in seven is as bare all over, and flat.
    """
    rng = np.random.default_rng(seed)
    n = EDGE * EDGE
    y, x = np.mgrid[:SIZE, :SIZE]
    masks = np.zeros((n, SIZE, SIZE), np.uint8)
    for i in range(0, n, 2):
        cy, cx, r = (*rng.uniform(4, SIZE - 4, 2), rng.uniform(2, 5))
        masks[i] = (y - cy) ** 2 + (x - cx) ** 2 <= r**2
    image = rng.normal(size=(n, len(NAMES), SIZE, SIZE)).astype(np.float32)
    image[:, 0] += 2.5 * masks
    image[:, 1] += 1.5 * masks
    image[3::7, 0] += 2.5
    return masks, image


def job_of(folder: Path, seed: int = 0, plan_seed: int = 0, **pixel: Any) -> FitJob:
    """Write ``rows.npy`` and give the job of fitting; small and quick settings."""
    values = {
        "trees": 30, "leaves": 8, "learning_rate": 0.15, "min_child_samples": 20,
        "positives_max": 1200, "negatives_per_positive": 2, "rim_share": 0.2, **pixel,
    }  # fmt: skip
    config = PixelConfig(**values)
    masks, image = ground(seed)
    folds = folds_of(masks)
    plan = plan_pixels(folds.patch, masks, config, plan_seed)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "rows.npy", features_of(plan, image))
    model = PixelModel(folder, NAMES, ("a", "a", "b"), SENSOR, folds.n_folds, 0, 7)
    return FitJob(folds, plan, folder / "rows.npy", model, config, (1, 1, 0))


def features_of(plan: PixelPlan, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of the planned rows, float32 (row, feature)."""
    flat = image.reshape(*image.shape[:2], -1)
    return np.ascontiguousarray(flat[plan.patch - 100, :, plan.pixel])


def text_of(job: FitJob, k: int) -> list[str]:
    """A fold's boosters, without the parameters that their texts end with."""
    files = sorted(job.model.folder.glob(f"fold_{k}*.txt"), key=lambda p: (len(p.name), p.name))
    return [path.read_text().split("parameters:")[0] for path in files]


def boosters_of(job: FitJob, k: int) -> list[lgb.Booster]:
    """A fold's boosters as LightGBM reads them."""
    return [lgb.Booster(model_str=text) for text in text_of(job, k)]
