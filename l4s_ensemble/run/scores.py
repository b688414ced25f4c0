"""Scores of tiles, written block by block, so that a killed run resumes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import RunError

if TYPE_CHECKING:
    import xarray as xr

CHUNK_TILES = 4
"""Tiles in a chunk. A block of work is one chunk, so that no chunk is written twice."""


class ScoreArray:
    """Scores of tiles in memory, written block by block, rounded as a file of `dtype` would.

    Unwritten pixels are NaN.

    Parameters
    ----------
    patch : array_like of int, shape (tile,)
        Ids, in the order of the axis.
    size : tuple of int
        Height and width of a tile, pixels.
    models : int, optional
        With it there is a first axis ``fold_model`` of that length.
    dtype : {'float32', 'float16'}
    """

    def __init__(
        self,
        patch: ArrayLike,
        size: tuple[int, int],
        *,
        models: int | None = None,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        self.patch = np.asarray(patch, dtype=np.int64)
        self._shape = (*(() if models is None else (models,)), len(self.patch), *size)
        self._most = float(np.finfo(dtype).max)
        self._array = self._made(dtype)

    def _made(self, dtype: str) -> Any:
        return np.full(self._shape, np.nan, dtype)

    def blocks(self) -> list[slice]:
        """All blocks of tiles, in order."""
        n = len(self.patch)
        return [slice(i, min(i + CHUNK_TILES, n)) for i in range(0, n, CHUNK_TILES)]

    def missing(self) -> list[slice]:
        """Blocks that still hold an unwritten pixel."""
        return [b for b in self.blocks() if not np.isfinite(self.read(b)).all()]

    def read(self, block: slice) -> NDArray[np.float32]:
        """Scores of a block, float32 ([fold_model,] tile, y, x)."""
        return np.asarray(self._array[..., block, :, :], dtype=np.float32)

    def write(self, block: slice, scores: ArrayLike) -> None:
        """Store the scores of a block."""
        values = np.asarray(scores, dtype=np.float32)
        # A score beyond float16 would be infinite, and count as missing.
        self._array[..., block, :, :] = values.clip(-self._most, self._most)


class ScoreFile(ScoreArray):
    """The same as a zarr group with one array; `open_scores` reads it as float32.

    Chunks are replaced whole: a kill leaves a chunk old or new. What a file of the same tiles, size
    and type holds is kept.

    Parameters
    ----------
    path : Path
    patch, size, models
        See `ScoreArray`.
    name : str
        Name of the array: ``logit`` or ``probability``.
    fold : array_like of int, shape (tile,), optional
        Fold of each tile; its model is the one that scored the tile.
    attrs : mapping, optional
        JSON values kept with the group, for example ``seed``.
    dtype : {'float32', 'float16'}
        Type on disk. Logits lose nothing that counts as float16: a probability moves by 1e-4.
    """

    def __init__(
        self,
        path: Path,
        patch: ArrayLike,
        size: tuple[int, int],
        *,
        name: str = "logit",
        models: int | None = None,
        fold: ArrayLike | None = None,
        attrs: Mapping[str, Any] | None = None,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        self.path = path
        self.name = name
        self._fold = fold
        self._attrs = dict(attrs or {})
        super().__init__(patch, size, models=models, dtype=dtype)

    def _made(self, dtype: str) -> Any:
        import zarr

        path, shape = self.path, self._shape
        if self._usable(dtype):
            return zarr.open_array(path / self.name, mode="r+")
        shutil.rmtree(path, ignore_errors=True)
        group = zarr.create_group(path, attributes=self._attrs)
        one = {"patch": self.patch}
        if self._fold is not None:
            one["fold"] = np.asarray(self._fold, dtype=np.int64)
        for key, value in one.items():
            array = group.create_array(
                key, shape=value.shape, dtype=value.dtype, dimension_names=("patch",)
            )
            array[...] = value
        lead = shape[:-3]
        return group.create_array(
            self.name,
            shape=shape,
            dtype=dtype,
            chunks=(*lead, CHUNK_TILES, *shape[-2:]),
            fill_value=float("nan"),
            dimension_names=(*(("fold_model",) if lead else ()), "patch", "y", "x"),
        )

    def _usable(self, dtype: str) -> bool:
        import zarr

        # The scores are created last: where they stand, the rest stands too.
        if not (self.path / self.name / "zarr.json").is_file():
            return False
        known = np.asarray(zarr.open_array(self.path / "patch", mode="r")[...])
        there = zarr.open_array(self.path / self.name, mode="r")
        same = there.shape == self._shape and there.dtype == np.dtype(dtype)
        return bool(same and np.array_equal(known, self.patch))


def open_scores(path: Path) -> xr.Dataset:
    """Open what a `ScoreFile` holds, lazily; ``patch`` and ``fold`` are coordinates.

    Scores are float32, whatever their type on disk.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    import xarray as xr

    try:
        found: xr.Dataset = xr.open_zarr(path, chunks=None, consolidated=False)
        if "patch" not in found or not {"logit", "probability"} & set(found.data_vars):
            raise ValueError(f"it holds {', '.join(map(str, found)) or 'nothing'}")
        for array in found.data_vars.values():
            if array.dtype == np.float16:
                # xarray's only lazy way to another type; the factor's own type decides.
                array.attrs["scale_factor"] = np.float32(1)
        found = xr.decode_cf(found)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise RunError(
            "scores of the run cannot be read",
            where=path,
            found=error,
            fix="delete the folder they stand in and run the command again",
        ) from None
    return found.set_coords([n for n in ("patch", "fold") if n in found])
