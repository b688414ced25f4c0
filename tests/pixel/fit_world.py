"""Tiles on a grid with features made of their masks: what the fit of a fold reads, no store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.sampling import PixelPlan, plan_pixels
from l4s_ensemble.scenes.folds import Folds

EDGE = 12
SIZE = 24
NAMES = ("bare", "steep", "noise")


class World(NamedTuple):
    """What the fits of all folds read."""

    classifier: PixelClassifier
    rows: Path
    pixels: PixelPlan
    folds: Folds


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


def world(folder: Path, **settings: Any) -> World:
    """Write ``rows.npy`` of sampled pixels; small and quick settings of the classifier."""
    quick = {"trees": 30, "leaves": 8, "learning_rate": 0.15, "min_child_samples": 20}
    config = PixelConfig(positives_max=1200, negatives_per_positive=2, boundary_share=0.2)
    masks, image = ground()
    folds = folds_of(masks)
    pixels = plan_pixels(folds.patch, masks, config, 0)
    folder.mkdir(parents=True, exist_ok=True)
    flat = image.reshape(*image.shape[:2], -1)
    np.save(folder / "rows.npy", flat[pixels.patch - 100, :, pixels.pixel])
    classifier = PixelClassifier(**quick | settings, expected=(1, 1, 0), random_state=7)
    return World(classifier, folder / "rows.npy", pixels, folds)
