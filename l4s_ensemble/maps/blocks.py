"""A map block by block: each is read, predicted and kept by itself, in any process.

A block is some tiles of the grid. What was kept of a killed run is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.features.registry import reach_of
from l4s_ensemble.features.scene_statistics import SceneStatistics
from l4s_ensemble.maps.area import Area
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.maps.radiometry import EVERY_PX
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.raster import Raster, margin_px
from l4s_ensemble.predict.raster_scores import Samples, sample_fields, sample_images
from l4s_ensemble.run.files import write_arrays
from l4s_ensemble.stack.learners import BASE_MODELS

BLOCK_TILES = 12
"""Most tiles of a block each way: the tiles around it cost a third more, its memory is 1 GB."""

PARTS = ("probability", "pixel", "unet", "dissimilarity")
"""Rasters of a block that are kept: all else follows from them."""


@dataclass(frozen=True, order=True)
class Block:
    """Some tiles of a grid: from row and column, to before row and column."""

    row: int
    column: int
    row_end: int
    column_end: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.row}_{self.column}_{self.row_end}_{self.column_end}.npz"

    def pixels(self, edge: int) -> tuple[slice, slice]:
        """Rows and columns of its pixels in the grid."""
        return slice(self.row * edge, self.row_end * edge), slice(
            self.column * edge, self.column_end * edge
        )

    def tiles(self) -> list[tuple[int, int]]:
        """Rows and columns of its tiles."""
        columns = range(self.column, self.column_end)
        return [(r, c) for r in range(self.row, self.row_end) for c in columns]


def blocks_of(grid: Grid, window: tuple[slice, slice], size: int) -> list[Block]:
    """Cover a window of pixels with blocks of `size` tiles each way."""
    first = [s.start // grid.edge for s in window]
    last = [-(-s.stop // grid.edge) for s in window]
    rows, columns = (range(a, b, size) for a, b in zip(first, last, strict=True))
    return [
        Block(r, c, min(r + size, last[0]), min(c + size, last[1])) for r in rows for c in columns
    ]


def map_block(
    ensemble: Ensemble,
    reader: Reader,
    block: Block,
    statistics: SceneStatistics | None,
    area: Area,
    folder: Path,
) -> Block:
    """Predict a block and keep it in a file of `folder`.

    Parameters
    ----------
    ensemble : Ensemble
    reader : Reader
    block : Block
    statistics : SceneStatistics or None
        Of the scene.
    area : Area
        What is to be predicted.
    folder : Path
    """
    raster = read_block(ensemble, reader, block, area)
    made = {name: np.full(raster.shape, np.nan, np.float32) for name in PARTS}
    if raster.tiles():
        scored = ensemble.score_raster(raster, statistics)
        made["probability"] = scored["probability"].values
        for name in BASE_MODELS:
            logit = scored[f"logit_{name}"].values
            made[name] = sigmoid(logit).mean(axis=0)
        if "dissimilarity" in scored:
            made["dissimilarity"] = scored["dissimilarity"].values
    write_arrays(folder / block.name, made)
    return block


def read_block(ensemble: Ensemble, reader: Reader, block: Block, area: Area) -> Raster:
    """Read a block with as much of its neighbourhood as the models are shown."""
    margin = margin_px(reader.sensor, ensemble.pixel.plan.support_px)
    rows, columns = block.pixels(reader.grid.edge)
    image = reader.read(rows, columns, margin)
    return Raster(image, reader.sensor, margin, area.inside(reader.grid, rows, columns))


def read_part(folder: Path, block: Block) -> dict[str, NDArray[np.float32]]:
    """Rasters of a block that `map_block` kept.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    path = folder / block.name
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            "a block of the map is damaged",
            where=path,
            found=error,
            fix="delete this file and give the command again",
        ) from None


@lru_cache(maxsize=3)
def _read(path: Path, _changed_ns: int) -> dict[str, NDArray[np.float32]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in PARTS}


def sample_reflectance(reader: Reader, places: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Every 8th pixel of some tiles each way, float32 (band, pixel): what was observed."""
    parts = [np.zeros((len(reader.sensor.spectral), 0), np.float32)]
    edge = reader.grid.edge
    for r, c in places:
        image = reader.reflectance(*Block(r, c, r + 1, c + 1).pixels(edge))
        some = image[:, ::EVERY_PX, ::EVERY_PX].reshape(len(image), -1)
        parts.append(some[:, np.isfinite(some).all(axis=0)])
    return np.concatenate(parts, axis=1)


def sample_tiles(
    ensemble: Ensemble, reader: Reader, places: Sequence[tuple[int, int]]
) -> tuple[list[Samples], NDArray[np.float32], int, int]:
    """Sample some tiles for the statistics of the scene.

    Returns
    -------
    samples : list of dict
        See `sample_fields`.
    images : float32 array, shape (tile, band, y, x)
        See `sample_images`.
    observed, bare : int
        Pixels with reflectance, and those of them without terrain.
    """
    names = ensemble.scene_fields
    margin = reach_of(names)
    found: list[Samples] = []
    images: list[NDArray[np.float32]] = []
    observed = bare = 0
    spectral = np.isin(reader.sensor.band_names, reader.sensor.spectral)
    for r, c in places:
        window = Block(r, c, r + 1, c + 1).pixels(reader.grid.edge)
        raster = Raster(reader.read(*window, margin), reader.sensor, margin)
        centre = slice(margin, margin + raster.edge)
        known = np.isfinite(raster.image[:, centre, centre])
        seen = known[spectral].all(axis=0)
        observed += int(seen.sum())
        bare += int((seen & ~known.all(axis=0)).sum())
        images.append(sample_images(raster, [(0, 0)]))
        if names and raster.valid.any():
            found += sample_fields(raster, names, [(0, 0)])
    return found, np.concatenate(images), observed, bare
