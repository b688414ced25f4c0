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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.counts import (
    content_hash,
    is_degenerate,
    out_of_bounds,
    restore_counts,
    to_units,
)
from l4s_ensemble.data.patches import PatchFiles, read_image, read_mask
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.statistics import (
    SIZE_EDGES,
    band_rows,
    ndvi,
    pixels_per_patch,
    sample_pixels,
    slide_sizes,
)
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.stage import Summary
from l4s_ensemble.run.tasks import in_processes

log = logging.getLogger("l4s_ensemble")

FORMAT = "l4s-ensemble patches 2"
BATCH_BYTES = 8 << 20
_SERIAL_PATCHES = 64  # starting worker processes costs as much as reading this many patches
_LISTED = 20


@dataclass(frozen=True)
class _Patch:
    """What a worker tells about one patch; the arrays themselves are on disk already."""

    position: int
    fault: str | None = None
    hash: str = ""
    degenerate: bool = False
    exact: int = 0
    values: int = 0
    is_exact: bool = True
    is_uint16: bool = True
    landslide_pixels: int = 0
    notes: tuple[str, ...] = ()
    sample: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    low: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    high: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def build_store(
    files: Sequence[PatchFiles],
    sensor: Sensor,
    out: str | Path,
    jobs: int = 1,
    *,
    split: str = "train",
    root: str | Path = "",
    places: Mapping[int, tuple[int, int, int]] | None = None,
) -> Summary:
    """Build the store of a split from its files.

    Parameters
    ----------
    files : sequence of PatchFiles
        In the order in which they shall stand. All with masks, or none, as `find_patches` gives
        them.
    sensor : Sensor
    out : str or Path
        The zarr folder to write; one that is there already is replaced.
    jobs : int
        Worker processes.
    split, root : str
        Noted in the store.
    places : mapping of int to tuple, optional
        Scene, row and column of patch ids, where known.

    Returns
    -------
    dict
        ``split, sensor, root, patches, masks, landslide_patches, landslide_pixels, prevalence,
        degenerate, inexact, exact_share, dtype, bands, ndvi, slide_sizes_px, bytes``.

    Raises
    ------
    DataError
        If there is no file, or files are damaged (they are listed).
    """
    out = Path(out)
    if not files:
        raise DataError("no patch to store")
    masks = files[0].mask is not None
    dtype: np.dtype[Any] = np.dtype(np.uint16)
    done = _pass(files, sensor, out, jobs, dtype, masks, split)
    if not all(p.is_uint16 for p in done):
        dtype = np.dtype(np.float32)
        log.warning(
            "data %s: %d files are not whole numbers in 0 … 65535 after restoring the units: %s. "
            "The store keeps float32; these are not released files of sensor %s",
            split, sum(not p.is_uint16 for p in done),
            some([str(files[p.position].image) for p in done if not p.is_uint16]), sensor.name,
        )  # fmt: skip
        done = _pass(files, sensor, out, jobs, dtype, masks, split)
    for patch in done:
        for note in patch.notes:
            log.warning("data %s: %s", split, note)
    _write_coordinates(out, files, sensor, done, split, root, masks, places or {})
    return _summary(files, sensor, done, split, root, masks, dtype, out)


def _pass(
    files: Sequence[PatchFiles],
    sensor: Sensor,
    out: Path,
    jobs: int,
    dtype: np.dtype[Any],
    masks: bool,
    split: str,
) -> list[_Patch]:
    """Read all files and write their counts; results in the order of the files."""
    batch = _create(out, len(files), sensor, dtype, masks)
    starts = range(0, len(files), batch)
    keep = pixels_per_patch(len(files), sensor.patch_pixels**2)
    batches = [(s, list(files[s : s + batch]), sensor, out, dtype, masks, keep) for s in starts]
    results = in_processes(_store_batch, batches, jobs if len(files) > _SERIAL_PATCHES else 1)
    flat = (patch for told in results for patch in told)
    done = list(track(flat, f"data {split}: patches", len(files)))
    faults = [p.fault for p in done if p.fault]
    if faults:
        raise DataError(
            f"{len(faults)} of {len(files)} patches cannot be used",
            found="\n" + "\n".join(faults[:_LISTED]) + ("\n…" if len(faults) > _LISTED else ""),
            fix="l4s-ensemble data check lists every fault of the folder",
        )  # fmt: skip
    return done


def _create(out: Path, patches: int, sensor: Sensor, dtype: np.dtype[Any], masks: bool) -> int:
    """Make the empty arrays; return the number of patches in a batch."""
    if out.exists():
        shutil.rmtree(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    edge, bands = sensor.patch_pixels, len(sensor.bands)
    _create_array(out, "image", (patches, bands, edge, edge), dtype)
    if masks:
        _create_array(out, "mask", (patches, edge, edge), np.dtype(np.uint8))
    fitting = BATCH_BYTES // (bands * edge * edge * 2)
    return max(1, min(patches, 64, fitting))


def chunk_file(out: Path, name: str, dimensions: int) -> Path:
    """File of an array's only chunk: its bytes as they lie in memory."""
    return out.joinpath(name, "c", *["0"] * dimensions)


def _create_array(out: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Make an array of zeros."""
    import zarr

    # Plain: lz4 would halve the images, and reading would take many times as long.
    zarr.open_group(out, mode="a", zarr_format=3).create_array(
        name, shape=shape, chunks=shape, dtype=dtype, filters=None, compressors=None,
        dimension_names=("patch", "band", "y", "x") if len(shape) == 4 else ("patch", "y", "x"),
    )  # fmt: skip
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


def _store_batch(
    start: int,
    files: list[PatchFiles],
    sensor: Sensor,
    out: Path,
    dtype: np.dtype[Any],
    masks: bool,
    keep: int,
) -> list[_Patch]:
    """Read one batch of files and write its region; runs in a worker process."""
    edge, bands = sensor.patch_pixels, len(sensor.bands)
    images = np.zeros((len(files), bands, edge, edge), dtype)
    truth = np.zeros((len(files), edge, edge), np.uint8)
    told = []
    for n, file in enumerate(files):
        try:
            told.append(_store_one(start + n, file, sensor, images[n], truth[n], keep))
        except DataError as error:
            told.append(_Patch(start + n, fault=str(error)))
    _write_patches(out, "image", start, images)
    if masks:
        _write_patches(out, "mask", start, truth)
    return told


def _store_one(
    position: int,
    file: PatchFiles,
    sensor: Sensor,
    image: NDArray[Any],
    truth: NDArray[np.uint8],
    keep: int,
) -> _Patch:
    """Put one patch into its place of the arrays, and describe it."""
    restored = restore_counts(read_image(file.image, sensor), sensor)
    if restored.not_finite:
        raise DataError(
            "values are NaN or infinite", where=file.image, found=f"{restored.not_finite} values"
        )
    counts = restored.values
    is_uint16 = counts.dtype == np.uint16
    notes = []
    for outside in out_of_bounds(counts, sensor):
        text = (
            f"{outside.values} values of {outside.band} lie in {outside.lowest:g} … "
            f"{outside.highest:g} {outside.unit}"
        )
        if outside.wrong_units:
            raise DataError(
                "a band is in other units than the sensor says",
                where=f"{file.image}, band {outside.band}", found=text,
                allowed=f"{outside.low:g} … {outside.high:g} {outside.unit}",
                fix="use files as released, or describe them in a sensor YAML",
            )  # fmt: skip
        notes.append(f"{file.image}: {text}, allowed {outside.low:g} … {outside.high:g}")
    if is_uint16 or image.dtype != np.uint16:
        image[:] = counts
    if file.mask is not None:
        truth[:] = read_mask(file.mask, sensor)
    in_units = to_units(counts[np.newaxis], sensor)[0]
    return _Patch(
        position,
        hash=content_hash(counts),
        degenerate=is_degenerate(counts, sensor),
        exact=int(restored.exact.sum()),
        values=counts.size,
        is_exact=restored.is_exact,
        is_uint16=is_uint16,
        landslide_pixels=int(truth.sum()),
        notes=tuple(notes),
        sample=sample_pixels(in_units, keep, file.id),
        low=in_units.min(axis=(1, 2)),
        high=in_units.max(axis=(1, 2)),
        sizes=slide_sizes(truth),
    )


def _write_coordinates(
    out: Path,
    files: Sequence[PatchFiles],
    sensor: Sensor,
    done: Sequence[_Patch],
    split: str,
    root: str | Path,
    masks: bool,
    places: Mapping[int, tuple[int, int, int]],
) -> None:
    """Write the coordinates last: their attributes are the mark of a finished store."""
    where = np.array([places.get(f.id, (-1, -1, -1)) for f in files], np.int32)
    coords: dict[str, Any] = {
        "patch": np.array([f.id for f in files], np.int64),
        # As objects they become zarr's own string type; numpy's fixed width is not in its standard.
        "band": np.array(sensor.band_names, dtype=object),
        "content_hash": ("patch", np.array([p.hash for p in done], dtype=object)),
        "degenerate": ("patch", np.array([p.degenerate for p in done], bool)),
        "scene": ("patch", where[:, 0]),
        "row": ("patch", where[:, 1]),
        "col": ("patch", where[:, 2]),
    }
    if masks:
        pixels = np.array([p.landslide_pixels for p in done], np.int32)
        coords["landslide_pixels"] = ("patch", pixels)
    attrs = {
        "format": FORMAT, "sensor": sensor.model_dump_json(), "split": split, "root": str(root),
    }  # fmt: skip
    xr.Dataset(coords=coords, attrs=attrs).to_zarr(out, mode="a", zarr_format=3, consolidated=False)


def _summary(
    files: Sequence[PatchFiles],
    sensor: Sensor,
    done: Sequence[_Patch],
    split: str,
    root: str | Path,
    masks: bool,
    dtype: np.dtype[Any],
    out: Path,
) -> Summary:
    kept = np.concatenate([p.sample for p in done], axis=1)
    low = np.min([p.low for p in done], axis=0)
    high = np.max([p.high for p in done], axis=0)
    sizes = np.sum([p.sizes for p in done], axis=0)
    pixels = sum(p.landslide_pixels for p in done)
    return {
        "split": split,
        "sensor": sensor.name,
        "level": sensor.level,
        "root": str(root),
        "patches": len(files),
        "masks": masks,
        "landslide_patches": sum(p.landslide_pixels > 0 for p in done) if masks else None,
        "landslide_pixels": pixels if masks else None,
        "prevalence": pixels / (len(files) * sensor.patch_pixels**2) if masks else None,
        "degenerate": [files[p.position].id for p in done if p.degenerate],
        "inexact": [str(files[p.position].image) for p in done if not p.is_exact],
        "exact_share": sum(p.exact for p in done) / sum(p.values for p in done),
        "dtype": dtype.name,
        "bands": band_rows(sensor, kept, low, high),
        "ndvi": ndvi(sensor, kept),
        "slide_sizes_px": {"edges": list(SIZE_EDGES), "counts": sizes.tolist()} if masks else None,
        "bytes": sum(p.stat().st_size for p in out.rglob("*") if p.is_file()),
    }


def some(names: Sequence[str], most: int = 5) -> str:
    """Join names for a message; of more than `most` the first ones."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
