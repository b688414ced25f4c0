"""Images and masks of a store, each in one plain file, read by mapping it into memory.

On disk it is a zarr array with a single shard whose inner chunks, one a patch, stand uncompressed
in order: any zarr reader opens it, and the first bytes of the file are the array as it lies in
memory. So a slice of patches is a view of the file and costs nothing before it is used, one patch
is read without its neighbours, a dataset travels to a worker process as a path, and a file that
was cut short is known before it is read.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    import zarr


class MappedArray(BackendArray):
    """Read-only array over the file; indexed lazily by xarray.

    Parameters
    ----------
    file : Path
    shape : tuple of int
        Patches first.
    dtype : dtype
    """

    def __init__(self, file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.file = file
        self.shape = shape
        self.dtype = dtype

    @cached_property
    def _mapped(self) -> NDArray[Any]:
        return np.memmap(self.file, self.dtype, mode="r", shape=self.shape)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        # BASIC: xarray asks for slices, views that cost nothing, and picks single patches of them.
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        return np.asarray(self._mapped[key])

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "shape": self.shape, "dtype": self.dtype}


def create_array(
    group: zarr.Group, folder: Path, name: str, dims: tuple[str, ...], shape: tuple[int, ...],
    dtype: Any,
) -> None:  # fmt: skip
    """Make an array of zeros in a zarr group that lies in `folder`; its first axis is the patch."""
    from zarr.codecs import BytesCodec, ShardingCodec

    one = (1, *shape[1:])
    group.create_array(
        name, shape=shape, chunks=shape, dtype=dtype, filters=None, compressors=None,
        serializer=ShardingCodec(
            chunk_shape=one, codecs=[BytesCodec()], index_codecs=[BytesCodec()]
        ),
        dimension_names=dims,
    )  # fmt: skip
    file = _file(folder, name, len(shape))
    file.parent.mkdir(parents=True)
    with file.open("wb") as made:
        made.truncate(_bytes(shape, dtype))
        made.seek(0, 2)
        made.write(_index(shape, dtype))


def write_patches(folder: Path, name: str, start: int, values: NDArray[Any]) -> None:
    """Write patches from position `start` on; other processes may write other patches meanwhile."""
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    with _file(folder, name, values.ndim).open("r+b") as file:
        file.seek(start * _bytes(values.shape[1:], values.dtype))
        file.write(plain.data)


def open_array(folder: Path, name: str) -> xr.Variable | None:
    """Open an array of the store in `folder`; None if it is not kept in one plain file.

    Raises
    ------
    OSError
        If the file is missing.
    ValueError
        If it is cut short.
    """
    about = json.loads((folder / name / "zarr.json").read_text(encoding="utf-8"))
    shape = tuple(about["shape"])
    if len(about["codecs"]) != 1 or about["codecs"][0]["name"] != "sharding_indexed":
        return None
    dtype = np.dtype(about["data_type"]).newbyteorder("<")
    file, index = _file(folder, name, len(shape)), _index(shape, dtype)
    allowed = _bytes(shape, dtype) + len(index)
    found = file.stat().st_size
    if found < allowed:
        raise ValueError(f"{file} has {found} bytes, allowed {allowed}")
    with file.open("rb") as opened:
        opened.seek(-len(index), 2)
        # Another program may have written the patches anew, in another order.
        if found > allowed or opened.read() != index:
            return None
    lazy = indexing.LazilyIndexedArray(MappedArray(file, shape, dtype))
    return xr.Variable(tuple(about["dimension_names"]), lazy)


def _file(folder: Path, name: str, dimensions: int) -> Path:
    """The only shard of an array."""
    return folder / name / "c" / Path(*["0"] * dimensions)


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return math.prod(shape) * int(np.dtype(dtype).itemsize)


def _index(shape: tuple[int, ...], dtype: Any) -> bytes:
    """Offset and length of each patch, as the zarr standard puts them at the end of a shard."""
    size = _bytes((1, *shape[1:]), dtype)
    rows = np.stack([np.arange(shape[0]) * size, np.full(shape[0], size)], axis=1)
    return rows.astype("<u8").tobytes()
