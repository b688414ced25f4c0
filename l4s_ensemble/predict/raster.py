"""A raster as adjoining patches of one scene, and the patches' results as a raster again."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.window import continue_band

HALO_PX = 32
"""Neighbourhood that the U-Net sees around each patch, so that its edges do not show."""


def valid_pixels(data: xr.Dataset) -> NDArray[np.bool_]:
    """Pixels of a raster that were observed, bool (y, x).

    Parameters
    ----------
    data : xarray.Dataset
        ``image (band, y, x)`` and optionally ``valid (y, x)``.

    Raises
    ------
    DataError
        If there is none, or ``valid`` is not over (y, x).
    """
    valid: NDArray[np.bool_] = np.isfinite(data["image"].values).all(axis=0)
    if "valid" in data:
        if data["valid"].dims != ("y", "x"):
            raise DataError("valid pixels are not over (y, x)", found=data["valid"].dims)
        valid &= data["valid"].values.astype(bool)
    if not valid.any():
        raise DataError("no pixel of the raster is valid", fix="check its nodata and its mask")
    return valid


def cut_into_patches(
    data: xr.Dataset, valid: NDArray[np.bool_], sensor: Sensor, halo_px: int = 0
) -> xr.Dataset:
    """Cut a raster into patches on a grid that starts at its first pixel.

    Pixels that are not valid have the value of the nearest valid one, so that nothing of them is
    read as surface. Beyond its edges the raster goes on as `continue_band` says. Patches without a
    valid pixel are left out.

    Parameters
    ----------
    data : xarray.Dataset
        ``image (band, y, x)`` in the units of the sensor.
    valid : bool array, shape (y, x)
    sensor : Sensor
    halo_px : int
        Pixels of the neighbourhood on each side of every patch; they make patches overlap.

    Returns
    -------
    xarray.Dataset
        ``image (patch, band, y, x)``, with coordinates ``scene`` (0), ``row`` and ``col``.

    Raises
    ------
    DataError
        If the bands are not those of the sensor.
    """
    image = np.asarray(data["image"].values, np.float32)
    names = tuple(map(str, data["band"].values)) if "band" in data.coords else sensor.band_names
    if names != sensor.band_names or len(image) != len(names):
        raise DataError(
            "the raster has other bands than the sensor",
            where=f"sensor {sensor.name}",
            found=", ".join(names),
            allowed=", ".join(sensor.band_names),
        )
    edge, (height, width) = sensor.patch_pixels, valid.shape
    if not valid.all():
        y, x = distance_transform_edt(~valid, return_distances=False, return_indices=True)
        image = image[:, y, x]
    beyond = edge + halo_px
    wide = np.stack(
        [continue_band(one, b.unit, beyond) for one, b in zip(image, sensor.bands, strict=True)]
    )
    rows, columns = -(-height // edge), -(-width // edge)
    places = [
        (r, c)
        for r in range(rows)
        for c in range(columns)
        if valid[r * edge : (r + 1) * edge, c * edge : (c + 1) * edge].any()
    ]
    size = edge + 2 * halo_px
    cut = np.empty((len(places), len(image), size, size), np.float32)
    for target, (r, c) in zip(cut, places, strict=True):
        y, x = (n * edge + beyond - halo_px for n in (r, c))
        target[...] = wide[:, y : y + size, x : x + size]
    row, col = np.array(places, np.int32).T
    return xr.Dataset(
        {"image": (("patch", "band", "y", "x"), cut)},
        coords={
            "patch": row.astype(np.int64) * columns + col,
            "band": list(names),
            "scene": ("patch", np.zeros(len(places), np.int32)),
            "row": ("patch", row),
            "col": ("patch", col),
        },
        attrs={"sensor": sensor.model_dump_json(), "values": "unit"},
    )


def joined(found: xr.Dataset, data: xr.Dataset, valid: NDArray[np.bool_]) -> xr.Dataset:
    """Join the results of `cut_into_patches` without a halo to rasters on the grid of `data`.

    Values of one patch stand at all of its pixels. Pixels that are not valid are 0 in integer
    rasters and NaN in others.
    """
    edge = found.sizes["y"]
    height, width = valid.shape
    made = xr.Dataset(
        coords={n: c for n, c in data.coords.items() if set(c.dims) <= {"y", "x"}},
        attrs=found.attrs,
    )
    for name, array in found.data_vars.items():
        lead = tuple(d for d in array.dims if d not in ("patch", "y", "x"))
        whole = array.dtype.kind in "iu"
        out = np.full(
            (*(array.sizes[d] for d in lead), height, width), 0 if whole else np.nan, array.dtype
        )
        for i in range(found.sizes["patch"]):
            y, x = (int(found[n].values[i]) * edge for n in ("row", "col"))
            target = out[..., y : y + edge, x : x + edge]
            one = array.isel(patch=i).values
            target[...] = one[..., : target.shape[-2], : target.shape[-1]] if one.ndim else one
        out[..., ~valid] = 0 if whole else np.nan
        made[name] = (*lead, "y", "x"), out
    return made
