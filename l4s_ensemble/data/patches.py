"""Patch files: pair them, read and write them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.layout import HUGGING_FACE, OFFICIAL, list_split
from l4s_ensemble.data.sensor import Sensor, load_sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_path

if TYPE_CHECKING:
    import xarray as xr

MOST_CHUNK_BYTES = 64 << 20
"""Larger chunks are taken for damage: a patch of 14 bands in float64 has 1.8 MB."""


@dataclass(frozen=True)
class PatchFiles:
    """One patch: its integer id, its image and, where there is one, its mask."""

    id: int
    image: Path
    mask: Path | None = None


def find_patches(root: str | Path, split: str, sensor: Sensor) -> list[PatchFiles]:
    """Find the patches of one split, paired by integer id, in numeric order.

    Parameters
    ----------
    root : str or Path
        Folder in the official or the Hugging Face layout, or one that holds ``img/`` itself.
    sensor : Sensor
        Only for messages here; the files are opened later.

    Raises
    ------
    DataError
        If the folder or the split is not there, holds no patch, two files have the same id, or an
        image lacks its mask while others have one (all such images are listed).
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(
            "no such data folder",
            where=root,
            fix="give the folder of the patches with --data, L4S_DATA or data.root",
        )
    listing = list_split(root, split)
    if listing is None:
        raise DataError(
            f"the data folder has no split {split!r}",
            where=root,
            found=", ".join(sorted(p.name for p in root.iterdir())[:12]) or "an empty folder",
            allowed=f"{OFFICIAL[split]}/img, images/{HUGGING_FACE[split]} or img",
            fix="give the folder that holds one of these",
        )
    if not listing.images:
        raise DataError(
            f"no patch of sensor {sensor.name} in the folder",
            where=listing.image_folder,
            found=", ".join(p.name for p in listing.strays[:5]) or "no file",
            allowed="image_N.h5 with an integer N",
        )
    if listing.doubles:
        raise DataError(
            "two files have the same id",
            where=listing.image_folder.parent,
            found="; ".join(f"{a.name} and {b.name}" for a, b in listing.doubles),
            fix="keep one of each",
        )
    if listing.without_mask:
        lacking = listing.without_mask
        raise DataError(
            f"{len(lacking)} of {len(listing.images)} images have no mask, the others do",
            where=listing.mask_folder,
            found="no " + ", ".join(f"mask_{i}.h5" for i in lacking),
            allowed="a mask for each image, or no mask at all",
            fix="add the masks, or move these images away",
        )
    masks = listing.masks
    return [PatchFiles(i, path, masks.get(i)) for i, path in listing.images.items()]


def read_image(path: str | Path, sensor: Sensor) -> NDArray[Any]:
    """Read an image as it is stored, shape (y, x, band), in the file's own dtype.

    Raises
    ------
    DataError
        If the file is missing, is not HDF5, is cut short, lacks the dataset, or has another shape
        or a dtype that is not a number. The message names the file, what was found and what is
        allowed.
    """
    edge = sensor.patch_pixels
    return _read(Path(path), sensor.image_key, (edge, edge, len(sensor.bands)), "fiu", "a number")


def read_mask(path: str | Path, sensor: Sensor) -> NDArray[np.uint8]:
    """Read a mask, shape (y, x), 1 = landslide.

    Raises
    ------
    DataError
        As `read_image`, and if a value is neither 0 nor 1.
    """
    edge = sensor.patch_pixels
    mask = _read(Path(path), sensor.mask_key, (edge, edge), "biu", "an integer")
    if mask.dtype.kind == "b":
        mask = mask.view(np.uint8)  # a damaged byte of a boolean may be any number
    if mask.max() > 1 or mask.min() < 0:
        values = np.unique(mask)
        raise DataError(
            "a mask holds other values than 0 and 1",
            where=path,
            found=", ".join(str(v) for v in values[:8]) + (", …" if len(values) > 8 else ""),
            allowed="0 (no landslide), 1 (landslide)",
        )
    return mask.astype(np.uint8, copy=False)


def write_patch(path: str | Path, stored: ArrayLike, sensor: Sensor) -> None:
    """Write an image in the official form.

    Parameters
    ----------
    path : str or Path
        ``…/image_N.h5``; written atomically.
    stored : array_like, shape (y, x, band)
        Stored values: counts divided by the sensor's ``stored_to_count``. Kept in their dtype.

    Raises
    ------
    DataError
        If the shape is not the sensor's.
    """
    values = np.asarray(stored)
    allowed = (sensor.patch_pixels, sensor.patch_pixels, len(sensor.bands))
    if values.shape != allowed:
        raise DataError("wrong shape to write", where=path, found=values.shape, allowed=allowed)
    _write(Path(path), sensor.image_key, values)


def write_mask(path: str | Path, mask: ArrayLike, attrs: Mapping[str, float] | None = None) -> None:
    """Write a mask in the official form: dataset ``mask``, uint8, values 0 and 1, shape (y, x).

    `attrs` become attributes of the dataset.

    Raises
    ------
    DataError
        If it is not two-dimensional or holds another value.
    """
    values = np.asarray(mask)
    if values.ndim != 2 or not np.isin(values, (0, 1)).all():
        raise DataError(
            "not a mask",
            where=path,
            found=f"shape {values.shape}, dtype {values.dtype}",
            allowed="two dimensions, values 0 and 1",
        )
    _write(Path(path), "mask", values.astype(np.uint8), attrs)


def open_patches(
    root: str | Path,
    split: str = "train",
    sensor: str | Sensor = "l4s",
    *,
    ids: Sequence[int] | None = None,
) -> xr.Dataset:
    """Read patches into memory, in units: what a notebook starts with.

    Parameters
    ----------
    root : str or Path
        As in `find_patches`.
    sensor : str or Sensor
        Name, YAML path or sensor.
    ids : sequence of int, optional
        Only these patches. All 3,799 training patches take 3.5 GB.

    Returns
    -------
    xarray.Dataset
        ``image (patch, band, y, x)`` float32 in the sensor's units and, where there are masks,
        ``mask (patch, y, x)`` uint8. Coordinates ``patch`` and ``band``. The attribute ``values``
        is ``unit``.
    """
    import xarray as xr  # takes long; whoever only lists files needs none

    from l4s_ensemble.data.counts import restore_counts, to_units

    described = sensor if isinstance(sensor, Sensor) else load_sensor(sensor)
    files = find_patches(root, split, described)
    if ids is not None:
        by_id = {f.id: f for f in files}
        if missing := [str(i) for i in ids if i not in by_id]:
            raise DataError(
                "no patch of these ids",
                found=", ".join(missing[:20]),
                allowed=f"{len(by_id)} ids from {min(by_id)} to {max(by_id)}",
            )
        files = [by_id[i] for i in ids]
    edge = described.patch_pixels
    image = np.empty((len(files), len(described.bands), edge, edge), np.float32)
    masks = np.empty((len(files), edge, edge), np.uint8) if files and files[0].mask else None
    for n, file in enumerate(files):
        counts = restore_counts(read_image(file.image, described), described).values
        image[n] = to_units(counts[np.newaxis], described)[0]
        if masks is not None and file.mask is not None:
            masks[n] = read_mask(file.mask, described)
    dataset = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), image)},
        coords={"patch": [f.id for f in files], "band": list(described.band_names)},
        attrs={
            "sensor": described.model_dump_json(),
            "split": split,
            "root": str(root),
            "values": "unit",
        },
    )
    if masks is not None:
        dataset["mask"] = (("patch", "y", "x"), masks)
    return dataset


def _read(path: Path, key: str, shape: tuple[int, ...], kinds: str, wanted: str) -> NDArray[Any]:
    """Read one dataset, having compared what is there with what is allowed."""
    if not path.is_file():
        raise DataError("a patch file is missing", where=path)
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            node = file.get(key)
            if not isinstance(node, h5py.Dataset):
                raise DataError(
                    f"the file has no dataset {key!r}",
                    where=path,
                    found=", ".join(file.keys()) or "an empty file",
                    allowed=key,
                    fix="name the dataset in the sensor's YAML (image_key, mask_key)",
                )
            if node.shape != shape:
                raise DataError(
                    "wrong shape", where=f"{path}, dataset {key}", found=node.shape, allowed=shape
                )
            if node.dtype.kind not in kinds:
                raise DataError(
                    "wrong dtype", where=f"{path}, dataset {key}", found=node.dtype, allowed=wanted
                )
            _check_storage(node, size)
            values: NDArray[Any] = node[()]
    except DataError:
        raise
    except Exception as error:  # a damaged file makes h5py raise nearly anything
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(
            "not a readable HDF5 file: damaged, cut short, or another format",
            where=path,
            found=f"{size} bytes; {reason}",
            fix="download or copy the file again",
        ) from None
    return values


def _check_storage(node: h5py.Dataset, file_bytes: int) -> None:
    """Compare where a dataset's values are said to lie with what the file can hold.

    The HDF5 library trusts these numbers: it fills in zeros for what is not there, allocates what
    a chunk claims to need, and reads beyond the end of one that is shorter.

    Raises
    ------
    ValueError
        If they cannot be right.
    """
    if node.is_virtual or node.external:
        raise ValueError("the values lie in other files")
    if node.chunks is None:
        if node.id.get_storage_size() != node.nbytes:
            raise ValueError("the values were not written, or not all of them")
        return
    chunk_bytes = math.prod(node.chunks) * node.dtype.itemsize
    plain = node.id.get_create_plist().get_nfilters() == 0
    if chunk_bytes > MOST_CHUNK_BYTES:
        raise ValueError(f"a chunk of {chunk_bytes} bytes")
    ranges = [range(0, n, step) for n, step in zip(node.shape, node.chunks, strict=True)]
    missing = set(itertools.product(*ranges))
    for n in range(node.id.get_num_chunks()):
        info = node.id.get_chunk_info(n)
        fits = info.size == chunk_bytes if plain else 0 < info.size <= 2 * chunk_bytes + 64
        if not fits or info.byte_offset + info.size > file_bytes:
            raise ValueError(f"chunk {info.chunk_offset} has {info.size} bytes")
        missing.discard(info.chunk_offset)
    if missing:
        raise ValueError(f"{len(missing)} chunks were not written")


def _write(
    path: Path, key: str, values: NDArray[Any], attrs: Mapping[str, float] | None = None
) -> None:
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file.create_dataset(key, data=values).attrs.update(attrs or {})
