"""What the tile browser reads beyond a fabricated run: kept values of tiles, and doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fabricated_run import FEATURES

from l4s_ensemble.pixel.tile_values import STRIDE_PX, TILE_VALUES_FILE
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.scores import open_scores

KEPT = 6
"""Tiles whose values are kept."""


def enrich_tiles(run: Path) -> None:
    """Keep features of a few training tiles, and say what the stack's doubt is made of."""
    keep_values(run / "pixel", open_scores(run / "pixel" / "oof.zarr")["patch"].values[:KEPT])
    threshold = read_json(run / "stack" / "summary.json")["threshold"]
    write_json(
        run / "stack" / "uncertainty.json",
        {"measure": "expected_error", "threshold": threshold, "model": None},
    )


def keep_values(folder: Path, patch: np.ndarray) -> None:
    """Write ``tile_values.npz``: feature f has value f + its step, and adds f - 4.5 everywhere."""
    n, f = len(patch), len(FEATURES)
    h = -(-128 // STRIDE_PX)
    steps = np.arange(n * f * h * h).reshape(n, f, h, h) % 256
    low = np.tile(np.arange(f, dtype=np.float32), (n, 1))
    added = np.broadcast_to((np.arange(f) - 4.5)[None, :, None, None], steps.shape)
    np.savez_compressed(
        folder / TILE_VALUES_FILE, patch=patch, fold=np.zeros(n, np.int64),
        why=np.array(["most wrong"] * n), stride_px=np.array(STRIDE_PX),
        names=np.array([name for name, *_ in FEATURES]),
        groups=np.array([group for _, group, *_ in FEATURES]), values=steps.astype(np.uint8),
        low=low, high=low + 1, added=added.astype(np.float16),
        expected=np.full(n, -2.0, np.float32),
    )  # fmt: skip
