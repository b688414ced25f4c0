"""The kept blocks of a map as one: threshold, landslides over seams, tiles one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.maps.blocks import Block, read_part
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.metrics.histogram import bin_index
from l4s_ensemble.run.progress import track
from l4s_ensemble.scenes.landslides import Outlines, find_outlines
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.threshold import SceneThreshold

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MapResult:
    """What was predicted, by block and tile.

    Attributes
    ----------
    grid : Grid
    blocks : sequence of Block
    folder : Path
        Of their files.
    stack : Stack
    left_out : list of int
        Numbers of landslides that are no part of the map.
    """

    grid: Grid
    blocks: Sequence[Block]
    folder: Path
    stack: Stack
    left_out: list[int] = field(default_factory=list)

    @cached_property
    def tiles(self) -> list[tuple[Block, int, int]]:
        """Block, row and column of the tiles where something was predicted, block by block."""
        every = [(block, *tile) for block in self.blocks for tile in block.tiles()]
        return [tile for tile in every if np.isfinite(self.raster("probability", tile)).any()]

    def part(self, block: Block) -> dict[str, Floats]:
        """Rasters of a block by name, see `blocks.PARTS`."""
        return read_part(self.folder, block)

    def raster(self, name: str, tile: tuple[Block, int, int]) -> Floats:
        """A raster of a tile, (y, x), see `blocks.PARTS`."""
        block, row, column = tile
        edge = self.grid.edge
        y, x = (row - block.row) * edge, (column - block.column) * edge
        return self.part(block)[name][y : y + edge, x : x + edge]

    @cached_property
    def histogram(self) -> NDArray[np.int64]:
        """Pixels by bin of probability."""
        bins = self.stack.reference_.bins
        total = np.zeros(bins, np.int64)
        for block in track(self.blocks, "map: reading blocks", len(self.blocks)):
            p = self.part(block)["probability"]
            total += np.bincount(bin_index(p[np.isfinite(p)], bins), minlength=bins)
        return total

    @cached_property
    def moved(self) -> SceneThreshold | None:
        """Threshold of the scene; None where it is that of training."""
        return self.stack.scene_threshold(self.histogram)

    @property
    def threshold(self) -> float:
        """A pixel is landslide from this probability on."""
        return float(self.stack.threshold_) if self.moved is None else self.moved.threshold

    @cached_property
    def expected(self) -> tuple[float, float]:
        """Sum of all probabilities, and of those from the threshold on.

        Not that of `histogram`: the middle of its first bin is more than most of a scene has.
        """
        whole = mapped = 0.0
        for block in self.blocks:
            p = np.nan_to_num(self.part(block)["probability"])
            whole += float(p.sum(dtype=np.float64))
            mapped += float(p[p >= np.float32(self.threshold)].sum(dtype=np.float64))
        return whole, mapped

    @cached_property
    def place(self) -> tuple[NDArray[np.int32], ...]:
        """Scene (0), row and column of `tiles`."""
        row, column = np.array([t[1:] for t in self.tiles], np.int32).reshape(-1, 2).T
        return np.zeros(len(row), np.int32), row, column

    @property
    def patch(self) -> NDArray[np.int64]:
        """Numbers of `tiles`."""
        _, row, column = self.place
        return row.astype(np.int64) * self.grid.columns + column

    @cached_property
    def outlines(self) -> Outlines:
        """Landslides, joined over tiles; also those below the least size."""
        limit = np.float32(self.threshold)

        def read(i: int) -> NDArray[np.uint8]:
            return (self.raster("probability", self.tiles[i]) >= limit).astype(np.uint8)

        return find_outlines(read, len(self.tiles), self.place)

    @cached_property
    def kept(self) -> int:
        """Landslides of at least the least size; they come first."""
        return int((self.outlines.pixels >= self.stack.smallest_px_).sum())

    def labels(self, i: int) -> NDArray[np.int64]:
        """Number of the landslide of each pixel of tile `i`, 0 elsewhere."""
        found = self.outlines.labels(i)
        return np.where((found <= self.kept) & ~np.isin(found, self.left_out), found, 0)

    def mask(self, block: Block) -> NDArray[np.uint8]:
        """Mask of a block, (y, x): 1 = landslide, 255 = not predicted."""
        edge = self.grid.edge
        out = np.where(np.isnan(self.part(block)["probability"]), 255, 0)
        out = out.astype(np.uint8)
        for i in self._of_block[block]:
            y, x = (n * edge for n in np.subtract(self.tiles[i][1:], (block.row, block.column)))
            out[y : y + edge, x : x + edge][self.labels(i) > 0] = 1
        return out

    @cached_property
    def _of_block(self) -> dict[Block, list[int]]:
        found: dict[Block, list[int]] = {block: [] for block in self.blocks}
        for i, (block, *_) in enumerate(self.tiles):
            found[block].append(i)
        return found
