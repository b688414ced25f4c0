"""Build the lossless store of a split from its files, once, in parallel.

Counts are kept as uint16 in zarr, a quarter of the bytes of the float64 files, in one chunk without
compression: its file can be mapped into memory, so that a slice of patches costs nothing before it
is used. A split in which some file is not exact integers is kept as float32 counts, and a warning
names the file. Patches stand in numeric order of their ids. Parallel workers write a batch of
patches each, and never to the same bytes.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.counts import to_units
from l4s_ensemble.data.inspection import PatchRecord, inspect
from l4s_ensemble.data.patches import PatchFiles
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import FORMAT, chunk_file, some
from l4s_ensemble.data.summary import (
    SIZE_EDGES,
    SizeHistogram,
    StoreSummary,
    band_summaries,
    landslide_sizes,
    ndvi_summary,
    pixels_per_patch,
    sample_pixels,
)
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

log = logging.getLogger("l4s_ensemble")

BATCH_BYTES = 8 << 20
_SERIAL_PATCHES = 64  # starting worker processes costs as much as reading this many patches
_LISTED = 20


@dataclass(frozen=True)
class _Store:
    """Description of the store for worker processes."""

    out: Path
    sensor: Sensor
    masks: bool
    keep: int  # pixels of each patch that its statistics are made of
    dtype: np.dtype[Any]

    def shape(self, patches: int, bands: tuple[int, ...] = ()) -> tuple[int, ...]:
        return patches, *bands, self.sensor.patch_pixels, self.sensor.patch_pixels


@dataclass(frozen=True)
class _Patch:
    """Summary of one patch from a worker, which has written the arrays.

    Attributes
    ----------
    values : tuple of array, or None
        Pixels kept (band, pixel), lowest and highest value (band,), landslides by size (bin,);
        None for a patch that cannot be used.
    """

    record: PatchRecord
    is_uint16: bool = True
    values: tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]] | None = None


def build_store(
    files: Sequence[PatchFiles],
    sensor: Sensor,
    out: str | Path,
    jobs: int = 1,
    *,
    split: str = "train",
    root: str | Path = "",
    places: Mapping[int, tuple[int, int, int]] | None = None,
) -> StoreSummary:
    """Build the store of a split from its files.

    Parameters
    ----------
    files : sequence of PatchFiles
        In the order in which they shall stand. All with masks, or none, as `find_patches` gives
        them.
    out : str or Path
        The zarr folder to write; one that is there already is replaced.
    jobs : int
        Worker processes.
    split, root : str
        Noted in the store.
    places : mapping of int to tuple, optional
        Scene, row and column of patch ids, where known.

    Raises
    ------
    DataError
        If there is no file, or files are damaged (they are listed).
    """
    if not files:
        raise DataError("no patch to store")
    keep = pixels_per_patch(len(files), sensor.patch_pixels**2)
    store = _Store(Path(out), sensor, files[0].mask is not None, keep, np.dtype(np.uint16))
    done = _write(store, files, jobs, split)
    if other := [str(f.image) for f, p in zip(files, done, strict=True) if not p.is_uint16]:
        log.warning(
            "data %s: %d files are not whole numbers in 0 … 65535 after restoring the units: %s. "
            "The store keeps float32; these are not released files of sensor %s",
            split,
            len(other),
            some(other),
            sensor.name,
        )
        store = replace(store, dtype=np.dtype(np.float32))
        done = _write(store, files, jobs, split)
    for fault in (f for p in done for f in p.record.faults if f.code == "bounds"):
        log.warning("data %s: %s: %s", split, fault.where, fault.message)
    _write_coordinates(store, files, done, split, root, places or {})
    return _summary(store, files, done, split, root)


def _write(store: _Store, files: Sequence[PatchFiles], jobs: int, split: str) -> list[_Patch]:
    """Read all files and write their counts; results in the order of the files."""
    shutil.rmtree(store.out, ignore_errors=True)
    store.out.parent.mkdir(parents=True, exist_ok=True)
    image = store.shape(len(files), (len(store.sensor.bands),))
    _create_array(store.out, "image", image, store.dtype)
    if store.masks:
        _create_array(store.out, "mask", store.shape(len(files)), np.dtype(np.uint8))
    batch = max(1, min(len(files), 64, BATCH_BYTES // (math.prod(image[1:]) * 2)))
    tasks = [(store, n, list(files[n : n + batch])) for n in range(0, len(files), batch)]
    made = in_processes(_write_batch, tasks, jobs if len(files) > _SERIAL_PATCHES else 1)
    flat = (patch for part in made for patch in part)
    done = list(track(flat, f"data {split}: patches", len(files)))
    wrong = [[f for f in p.record.faults if f.level == "error"] for p in done]
    if any(wrong):
        lines = [f"{f.where}: {f.message}" for part in wrong for f in part]
        raise DataError(
            f"{sum(map(bool, wrong))} of {len(files)} patches cannot be used",
            found="\n".join(["", *lines[:_LISTED], *(["…"] if len(lines) > _LISTED else [])]),
            fix="l4s-ensemble data check lists every fault of the folder",
        )
    return done


def _create_array(out: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Make an array of zeros."""
    import zarr

    # Plain: lz4 would halve the images, and reading would take many times as long.
    zarr.open_group(out, mode="a", zarr_format=3).create_array(
        name,
        shape=shape,
        chunks=shape,
        dtype=dtype,
        filters=None,
        compressors=None,
        dimension_names=("patch", "band", "y", "x") if len(shape) == 4 else ("patch", "y", "x"),
    )
    file = chunk_file(out, name, len(shape))
    file.parent.mkdir(parents=True)
    with file.open("wb") as made:
        made.truncate(math.prod(shape) * dtype.itemsize)


def _write_patches(out: Path, name: str, start: int, values: NDArray[Any]) -> None:
    """Write patches from position `start` on; other processes may write others meanwhile.

    The file is written, not mapped: on a full disk a mapped one ends the process without an error.
    """
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    with chunk_file(out, name, values.ndim).open("r+b") as file:
        file.seek(start * plain[0].nbytes)
        file.write(plain.data)


def _write_batch(store: _Store, start: int, files: list[PatchFiles]) -> list[_Patch]:
    """Read one batch of files and write its part of the arrays; runs in a worker process."""
    sensor = store.sensor
    images = np.zeros(store.shape(len(files), (len(sensor.bands),)), store.dtype)
    masks = np.zeros(store.shape(len(files)), np.uint8)
    done = []
    for file, image, mask in zip(files, images, masks, strict=True):
        record, counts, pixels = inspect(file.image, file.mask, sensor)
        if counts is None or any(f.level == "error" for f in record.faults):
            done.append(_Patch(record))
            continue
        is_uint16 = counts.dtype == np.uint16
        if is_uint16 or store.dtype != np.uint16:
            image[:] = counts
        if pixels is not None:
            mask[:] = pixels
        in_units = to_units(counts[np.newaxis], sensor)[0]
        sample = sample_pixels(in_units, store.keep, file.id)
        low, high = in_units.min(axis=(1, 2)), in_units.max(axis=(1, 2))
        done.append(_Patch(record, is_uint16, (sample, low, high, landslide_sizes(mask))))
    _write_patches(store.out, "image", start, images)
    if store.masks:
        _write_patches(store.out, "mask", start, masks)
    return done


def _write_coordinates(
    store: _Store,
    files: Sequence[PatchFiles],
    done: Sequence[_Patch],
    split: str,
    root: str | Path,
    places: Mapping[int, tuple[int, int, int]],
) -> None:
    """Write the coordinates last: their attributes are the mark of a finished store."""
    records = [p.record for p in done]
    where = np.array([places.get(f.id, (-1, -1, -1)) for f in files], np.int32)
    coords: dict[str, Any] = {
        "patch": np.array([f.id for f in files], np.int64),
        # As objects they become zarr's own string type; numpy's fixed width is not in its standard.
        "band": np.array(store.sensor.band_names, dtype=object),
        "content_hash": ("patch", np.array([r.hash for r in records], dtype=object)),
        "degenerate": ("patch", np.array([r.degenerate for r in records], bool)),
        "scene": ("patch", where[:, 0]),
        "row": ("patch", where[:, 1]),
        "col": ("patch", where[:, 2]),
    }
    if store.masks:
        pixels = np.array([r.landslide_pixels for r in records], np.int32)
        coords["landslide_pixels"] = ("patch", pixels)
    attrs = {
        "format": FORMAT,
        "sensor": store.sensor.model_dump_json(),
        "split": split,
        "root": str(root),
    }
    dataset = xr.Dataset(coords=coords, attrs=attrs)
    dataset.to_zarr(store.out, mode="a", zarr_format=3, consolidated=False)


def _summary(
    store: _Store, files: Sequence[PatchFiles], done: Sequence[_Patch], split: str, root: str | Path
) -> StoreSummary:
    sensor, records = store.sensor, [p.record for p in done]
    kept, low, high, sizes = zip(*(p.values for p in done if p.values is not None), strict=True)
    pixels, counts = np.concatenate(kept, axis=1), tuple(np.sum(sizes, axis=0).tolist())
    landslides = [r.landslide_pixels or 0 for r in records]
    area = len(files) * sensor.patch_pixels**2
    masks = store.masks
    return StoreSummary(
        split=split,
        sensor=sensor.name,
        radiometry=sensor.radiometry,
        root=str(root),
        patches=len(files),
        masks=masks,
        landslide_patches=sum(n > 0 for n in landslides) if masks else None,
        landslide_pixels=sum(landslides) if masks else None,
        prevalence=sum(landslides) / area if masks else None,
        degenerate=tuple(f.id for f, r in zip(files, records, strict=True) if r.degenerate),
        inexact=tuple(
            str(f.image) for f, r in zip(files, records, strict=True) if r.exact < r.values
        ),
        exact_share=sum(r.exact for r in records) / sum(r.values for r in records),
        dtype=store.dtype.name,
        bands=band_summaries(sensor, pixels, np.min(low, axis=0), np.max(high, axis=0)),
        ndvi=ndvi_summary(sensor, pixels),
        landslide_sizes_px=SizeHistogram(edges=SIZE_EDGES, counts=counts) if masks else None,
    )
