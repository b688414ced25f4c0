"""The stages ``data/…``: the store of a split from its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from l4s_ensemble.data.build import build_store
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.places import SYNTHETIC, read_manifest
from l4s_ensemble.data.sensor import Sensor, load_sensor
from l4s_ensemble.data.store import COORDINATES, STORE, open_store
from l4s_ensemble.data.summary import DataSummary
from l4s_ensemble.run import fingerprint
from l4s_ensemble.run.stage import StageContext, Summary

_HASHED_TILES = 256
"""Masks that are read at once to be hashed."""


def stage(ctx: StageContext) -> Summary:
    """Build ``patches.zarr`` of one split.

    ``ctx.params`` names ``root``, ``split``, ``sensor``. Files that were copied or touched give the
    same digest: nothing after this stage is done again for them.

    Returns
    -------
    dict
        See `l4s_ensemble.data.summary.DataSummary`.
    """
    root, split = Path(str(ctx.params["root"])), str(ctx.params["split"])
    described = ctx.params["sensor"]
    sensor = (
        Sensor.model_validate(described) if isinstance(described, dict) else load_sensor(described)
    )
    files = find_patches(root, split, sensor)
    out, places = ctx.out / STORE, read_manifest(root, split)
    found = build_store(files, sensor, out, ctx.jobs, split=split, root=root, places=places)
    synthetic = (root / SYNTHETIC).is_file()
    digest = fingerprint.digest([content_digest(open_store(out)), synthetic])
    summary = DataSummary(**dict(found), synthetic=synthetic, digest=digest)
    return summary.model_dump(mode="json")


def content_digest(dataset: xr.Dataset) -> str:
    """Hash the content of the patches, independent of paths and times.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `open_store`. Its content hashes stand for the images.

    Returns
    -------
    str
        16 hex digits.
    """
    total = hashlib.blake2b(digest_size=8)
    for name in ("sensor", "split", "format"):
        total.update(f"{name}\0{dataset.attrs.get(name)}\n".encode())
    for name in sorted({*COORDINATES, "landslide_pixels"} & set(dataset.variables)):
        total.update(f"{name}\0{dataset[name].values.tolist()}\n".encode())
    if "mask" in dataset:
        for start in range(0, dataset.sizes["patch"], _HASHED_TILES):
            part = dataset["mask"][start : start + _HASHED_TILES].values
            total.update(np.ascontiguousarray(part).tobytes())
    return total.hexdigest()
