"""Whole arrays of features on disk, for a notebook: ``features/full.zarr``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.run.files import atomic_folder
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

FULL = "full.zarr"

BLOCK_PATCHES, CHUNK_FEATURES = 4, 8
"""Patches of one task and one chunk, so that no chunk is written twice; features of one chunk."""


def write_full(run: Path, jobs: int) -> Path:
    """Write the features of all training patches of a run, after its features stage.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    Path
        ``features/full.zarr``: ``features (patch, feature, y, x)`` float16 (clipped to ±65504),
        coordinates ``patch``, ``feature``, ``group``, ``unit``; ``xarray.open_zarr`` reads it.
        Nothing is done where it is there already: the features stage replaces its whole folder.

    Raises
    ------
    RunError
        If the features stage has not been run.
    """
    import xarray as xr
    import zarr

    from l4s_ensemble.data.store import STORE

    final = run / "features" / FULL
    if final.is_dir():
        return final
    source = FeatureSource.beside(final.parent, run / "data" / "train" / STORE)
    plan, dataset = source.feature_plan(), source.dataset()
    coords: dict[str, Any] = {"patch": dataset["patch"].values, "feature": list(plan.names)}
    coords["group"] = ("feature", [f.group for f in plan.features])
    coords["unit"] = ("feature", [f.unit for f in plan.features])
    made = xr.Dataset(coords=coords, attrs={"version": plan.version, "sensor": plan.sensor})
    size = dataset.sizes
    with atomic_folder(final) as partial:
        made.to_zarr(partial, mode="w", consolidated=False)
        zarr.open_group(partial, mode="r+").create_array(
            "features",
            shape=(size["patch"], len(plan.features), size["y"], size["x"]),
            dtype="float16",
            chunks=(BLOCK_PATCHES, min(CHUNK_FEATURES, len(plan.features)), size["y"], size["x"]),
            dimension_names=("patch", "feature", "y", "x"),
        )
        tasks = [(source, partial, start) for start in range(0, size["patch"], BLOCK_PATCHES)]
        list(track(in_processes(_write, tasks, jobs), "features: whole arrays", len(tasks)))
    return final


def _write(source: FeatureSource, partial: Path, start: int) -> None:
    import zarr

    array = zarr.open_array(partial / "features", mode="r+")
    stop = min(start + BLOCK_PATCHES, array.shape[0])
    made = source.tiles(np.arange(start, stop))
    array[start:stop] = np.clip(made, -65504, 65504).astype(np.float16)
