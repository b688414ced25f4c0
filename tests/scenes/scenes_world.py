"""Layouts, folds and tiles of smooth ground for the tests of scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from l4s_ensemble.config import ScenesConfig
from l4s_ensemble.scenes.assignment import make_folds
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.layout import Layout

SPECTRAL = np.array([True, True, True, False])


def places(*sizes: tuple[int, int]) -> NDArray[np.int32]:
    """Scene (from 1), row and column of the tiles of scenes in raster order."""
    found = [
        (s, r, c)
        for s, (rows, cols) in enumerate(sizes, 1)
        for r in range(rows)
        for c in range(cols)
    ]
    return np.array(found, np.int32)


def raster(*sizes: tuple[int, int], keep: Any = slice(None)) -> Layout:
    """Scenes of rows x columns tiles, or some tiles of them; ids from 1."""
    place = places(*sizes)
    return Layout("manifest", np.arange(1, len(place) + 1)[keep], *place[keep].T)


def nowhere(tiles: int) -> Layout:
    """Tiles whose places nobody knows."""
    return Layout("none", np.arange(1, tiles + 1), *np.full((3, tiles), -1, np.int32))


def hashes(n: int) -> NDArray[np.str_]:
    return np.array([f"{i:016x}" for i in range(n)])


def make(
    layout: Layout,
    pixels: Any = 300,
    *,
    content: NDArray[np.str_] | None = None,
    degenerate: Any = False,
    **kwargs: Any,
) -> Folds:
    """Folds; settings of `ScenesConfig` and arguments of `make_folds` by their names."""
    n = len(layout)
    names = set(kwargs) & set(ScenesConfig.model_fields)
    return make_folds(
        layout,
        np.broadcast_to(pixels, n).copy(),
        hashes(n) if content is None else content,
        np.broadcast_to(degenerate, n),
        ScenesConfig(**{name: kwargs.pop(name) for name in names}),
        **kwargs,
    )


def table(folds: Folds) -> dict[int, str]:
    """Content hash of each id."""
    return dict(zip(folds.patch.tolist(), folds.content_hash.tolist(), strict=True))


def make_scene(
    rows: int, cols: int, seed: int, side: int = 48, noise: float = 12.0
) -> NDArray[np.uint16]:
    """Tiles (rows * cols, 4, y, x) in raster order: three spectral bands and elevation."""
    rng = np.random.default_rng([seed, 3])
    shape = (rows * side, cols * side)

    def field(*scales: float) -> Any:
        parts = [gaussian_filter(rng.standard_normal(shape), s) * s for s in scales]
        return sum(parts) / np.std(sum(parts))

    shared = field(2, 6, 20)
    bands = [900 * np.exp(0.3 * shared + 0.2 * field(1.5, 5)) for _ in range(3)]
    bands = [b + noise * rng.standard_normal(shape) for b in bands]
    bands.append(1000 + 200 * field(8, 30))
    tiles = np.stack(bands).clip(1).reshape(4, rows, side, cols, side)
    return np.rint(tiles).astype(np.uint16).transpose(1, 3, 0, 2, 4).reshape(-1, 4, side, side)
