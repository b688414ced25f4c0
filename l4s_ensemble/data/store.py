"""The lossless store of a split: opened in an instant, read in units.

`l4s_ensemble.data.build` writes it; everything later in a run reads patches through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.counts import is_degenerate, to_units
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError, RunError

STORE = "patches.zarr"
"""Name of the store in its stage's folder."""

FORMAT = "l4s-ensemble patches 2"

COORDINATES = ("patch", "band", "content_hash", "degenerate", "scene", "row", "col")
"""What every store says of its patches, beside ``landslide_pixels`` where there are masks."""

TASK_TILES = 64
"""Tiles that one task of a process counts."""

BLOCK_TILES = 4
"""Tiles in memory at once, in a pass over all of them."""


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store; arrays are read when they are indexed.

    Parameters
    ----------
    path : str or Path
        The zarr folder, or the stage's folder that holds ``patches.zarr``.

    Returns
    -------
    xarray.Dataset
        ``image (patch, band, y, x)`` counts and, where there are masks, ``mask (patch, y, x)``
        uint8. Coordinates ``patch``, ``band``, ``content_hash``, ``degenerate``, ``scene``,
        ``row``, ``col`` (-1 = unknown) and ``landslide_pixels`` where there are masks. Attributes
        ``sensor`` (JSON), ``split``, ``root``, ``format``.

    Raises
    ------
    RunError
        If there is no store, it is damaged or of another version.
    """
    path = Path(path)
    if path.name != STORE and (path / STORE).is_dir():
        path = path / STORE
    fix = "build the store again: delete the folder and run the data stage"
    if not (path / "zarr.json").is_file():
        raise RunError("no store of patches", where=path, fix=fix)
    try:
        dataset: xr.Dataset = xr.open_zarr(path, chunks=None, consolidated=False)
        if dataset.attrs.get("format") != FORMAT:
            raise RunError(
                "a store of another version",
                where=path,
                found=dataset.attrs.get("format", "unfinished"),
                allowed=FORMAT,
                fix=fix,
            )
        lost = {"image", *COORDINATES} - set(dataset.variables)
        if lost:
            raise ValueError(f"it lacks {', '.join(sorted(lost))}")
        for name in ("image", "mask"):
            if name in dataset:
                dataset[name] = _mapped(path, dataset[name].variable, name)
        # zarr gives variable-length strings; everything else here expects numpy's.
        bands, hashes = (
            np.array(dataset[name].values.tolist(), str) for name in ("band", "content_hash")
        )
        # What zarr does not find it takes for zeros and empty words.
        if len(np.unique(dataset["patch"].values)) < len(hashes) or not hashes.all():
            raise ValueError("ids or content hashes are lost")
        return dataset.assign_coords(band=bands, content_hash=("patch", hashes))
    except (ValueError, TypeError, KeyError, OSError, RuntimeError) as error:
        raise RunError("the store is damaged", where=path, found=error, fix=fix) from None


def chunk_file(out: Path, name: str, dimensions: int) -> Path:
    """File of an array's only chunk: its bytes as they lie in memory."""
    return out.joinpath(name, "c", *["0"] * dimensions)


def _mapped(path: Path, array: xr.Variable, name: str) -> xr.Variable:
    """Map the file of an array into memory; one that another program has written stays as it is."""
    form = array.encoding
    if form.get("chunks") != array.shape or form.get("shards") or form.get("compressors"):
        return array
    file = chunk_file(path, name, array.ndim)
    if file.stat().st_size != array.nbytes:
        raise ValueError(f"{file} has {file.stat().st_size} bytes, allowed {array.nbytes}")
    kind = array.dtype.newbyteorder("<")
    return xr.Variable(array.dims, np.memmap(file, kind, mode="r", shape=array.shape))


def sensor_of(dataset: xr.Dataset) -> Sensor:
    """Return the sensor that a dataset of patches was read with.

    Raises
    ------
    DataError
        If the dataset does not say.
    """
    text = dataset.attrs.get("sensor")
    if not isinstance(text, str):
        raise DataError(
            "the dataset does not say which sensor it is of",
            found=f"attributes {dataset.attrs}",
            allowed="an attribute 'sensor' with the sensor's JSON",
            fix="open it with open_store or open_patches",
        )
    return Sensor.model_validate_json(text)


def units(dataset: xr.Dataset, positions: slice | ArrayLike | None = None) -> NDArray[np.float32]:
    """Read patches in units: float32, shape (patch, band, y, x).

    Parameters
    ----------
    dataset : xarray.Dataset
        From `open_store` (counts) or ``open_patches`` (units already).
    positions : slice or array_like of int, optional
        Positions along ``patch``, not ids; see `positions_of`. All without it. Slices along the
        order of the store are fastest.

    Notes
    -----
    Tiles of a relative sensor are normalised to a common median, as
    `l4s_ensemble.data.counts.to_units` says.
    """
    image = dataset["image"]
    if positions is not None:
        image = image.isel(
            patch=positions if isinstance(positions, slice) else np.asarray(positions)
        )
    values: NDArray[np.generic] = image.values
    if dataset.attrs.get("values") == "unit":
        return values.astype(np.float32, copy=False)
    return to_units(values, sensor_of(dataset))


def in_memory(dataset: xr.Dataset, sensor: Sensor | None = None) -> xr.Dataset:
    """Give patches in memory the coordinates that a store has, as far as they lack them.

    Parameters
    ----------
    dataset : xarray.Dataset
        ``image (patch, band, y, x)``: counts, or units where the attribute ``values`` is ``unit``.
        With coordinates ``scene``, ``row`` and ``col`` along ``patch`` features read across the
        edges of a patch.
    sensor : Sensor, optional
        Where the attribute ``sensor`` does not say it.

    Returns
    -------
    xarray.Dataset
        The same arrays with ``patch`` (0, 1 … if there are no ids), ``band``, ``scene``, ``row``,
        ``col`` (-1 = unknown), ``degenerate`` and the attribute ``sensor``.

    Raises
    ------
    DataError
        If the image is not of these dimensions or of the sensor's bands, or an id or a place is
        there twice.
    """
    known = sensor or sensor_of(dataset)
    dims = ("patch", "band", "y", "x")
    image = dataset.get("image")
    if image is None or image.dims != dims or image.sizes["band"] != len(known.bands):
        raise DataError(
            "these are not patches of the sensor",
            where=f"sensor {known.name}",
            found="no image" if image is None else dict(image.sizes),
            allowed=f"image with dimensions {', '.join(dims)} and {len(known.bands)} bands",
        )
    n = dataset.sizes["patch"]
    found = dataset.assign_attrs(sensor=known.model_dump_json())
    lacking: dict[str, Any] = {
        "patch": np.arange(n),
        "band": list(known.band_names),
        **{name: ("patch", np.full(n, -1, np.int32)) for name in ("scene", "row", "col")},
    }
    found = found.assign_coords({k: v for k, v in lacking.items() if k not in dataset.coords})
    if "degenerate" not in dataset.coords:
        flat = [is_degenerate(one.values, known) for one in image.variable]
        found = found.assign_coords(degenerate=("patch", np.array(flat, bool)))
    places = np.stack([found[name].values for name in ("scene", "row", "col")], axis=1)
    places = places[places[:, 0] >= 0]
    for what, values in (("id", found["patch"].values), ("place", places)):
        if len(np.unique(values, axis=0)) < len(values):
            raise DataError(f"two patches have the same {what}", fix=f"give each {what} once")
    return found


def positions_of(dataset: xr.Dataset, ids: ArrayLike) -> NDArray[np.int64]:
    """Positions of patch ids along ``patch``, in the order of the ids.

    Raises
    ------
    DataError
        If an id is not there.
    """
    wanted = np.asarray(ids, dtype=np.int64).ravel()
    known = {int(patch): n for n, patch in enumerate(dataset["patch"].values)}
    found = np.array([known.get(int(i), -1) for i in wanted], dtype=np.int64)
    if (found < 0).any():
        missing = wanted[found < 0]
        raise DataError("no patch of these ids", found=some([str(i) for i in missing]))
    return found


def tasks_of(ids: ArrayLike) -> list[NDArray[np.int64]]:
    """Ids of each task, at most `TASK_TILES` of them."""
    of_all = np.asarray(ids, dtype=np.int64)
    return [of_all[i : i + TASK_TILES] for i in range(0, len(of_all), TASK_TILES)]


def hashes_of(dataset: xr.Dataset) -> dict[int, str]:
    """Content hash of each patch id."""
    pairs = zip(dataset["patch"].values, dataset["content_hash"].values, strict=True)
    return {int(patch): str(text) for patch, text in pairs}


def landslide_pixels(dataset: xr.Dataset) -> NDArray[np.int64]:
    """Landslide pixels of each patch, shape (patch,).

    Raises
    ------
    DataError
        If the dataset has no masks.
    """
    if "mask" not in dataset:
        raise DataError(
            "the patches have no masks",
            where=dataset.attrs.get("root"),
            found=f"split {dataset.attrs.get('split')!r} without masks",
            fix="put mask_N.h5 into the mask folder",
        )
    if "landslide_pixels" in dataset.coords:
        return dataset["landslide_pixels"].values.astype(np.int64)
    return dataset["mask"].sum(dim=("y", "x"), dtype=np.int64).values


def some(names: Sequence[str], most: int = 5) -> str:
    """Join names for a message; of more than `most` the first ones."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
