"""Logits on disk, written block by block; a killed run goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK_TILES = 4
"""Tiles in a chunk. A block of work is one chunk, so that no chunk is written twice."""


class ScoreFile:
    """A zarr group with ``logit`` over tiles, readable with ``xarray.open_zarr``.

    Unwritten pixels are NaN. Chunks are replaced whole: a kill leaves a chunk old or new.

    Parameters
    ----------
    path : Path
    patch : array_like of int, shape (tile,)
        Ids, in the order of the axis.
    size : tuple of int
        Height and width of a tile, pixels.
    models : int, optional
        With it there is a first axis ``fold_model`` of that length.
    fold : array_like of int, shape (tile,), optional
        Fold of each tile; its model is the one that scored the tile.
    attrs : mapping, optional
        JSON values kept with the group, for example ``seed``.
    """

    def __init__(
        self,
        path: Path,
        patch: ArrayLike,
        size: tuple[int, int],
        *,
        models: int | None = None,
        fold: ArrayLike | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        import zarr

        self.path = path
        self.patch = np.asarray(patch, dtype=np.int64)
        lead = () if models is None else (models,)
        shape = (*lead, len(self.patch), *size)
        if self._usable(shape):
            self._logit = zarr.open_array(path / "logit", mode="r+")
            return
        shutil.rmtree(path, ignore_errors=True)
        group = zarr.create_group(path, attributes=dict(attrs or {}))
        one = {"patch": self.patch}
        if fold is not None:
            one["fold"] = np.asarray(fold, dtype=np.int64)
        for name, value in one.items():
            array = group.create_array(
                name, shape=value.shape, dtype=value.dtype, dimension_names=("patch",)
            )
            array[...] = value
        self._logit = group.create_array(
            "logit",
            shape=shape,
            dtype="float32",
            chunks=(*lead, CHUNK_TILES, *size),
            fill_value=float("nan"),
            dimension_names=(*(("fold_model",) if lead else ()), "patch", "y", "x"),
        )

    def _usable(self, shape: tuple[int, ...]) -> bool:
        import zarr

        # The logits are created last: where they stand, the rest stands too.
        if not (self.path / "logit" / "zarr.json").is_file():
            return False
        known = np.asarray(zarr.open_array(self.path / "patch", mode="r")[...])
        there = zarr.open_array(self.path / "logit", mode="r")
        return there.shape == shape and np.array_equal(known, self.patch)

    def blocks(self) -> list[slice]:
        """All blocks of tiles, in order."""
        n = len(self.patch)
        return [slice(i, min(i + CHUNK_TILES, n)) for i in range(0, n, CHUNK_TILES)]

    def missing(self) -> list[slice]:
        """Blocks that still hold an unwritten pixel."""
        return [b for b in self.blocks() if not np.isfinite(self.read(b)).all()]

    def read(self, block: slice) -> NDArray[np.float32]:
        """Logits of a block, float32 ([fold_model,] tile, y, x)."""
        return np.asarray(self._logit[..., block, :, :])

    def write(self, block: slice, logit: ArrayLike) -> None:
        """Store the logits of a block."""
        self._logit[..., block, :, :] = np.asarray(logit, dtype=np.float32)
