"""Whole arrays of features on disk, for a notebook: ``features/full.zarr``.

A few patches at a time are computed and written, so memory is flat however many there are. An
interrupted run goes on where it stopped: what is written stands under a temporary name, which
becomes the name when all is there.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.build import plan_from_file
from l4s_ensemble.features.registry import FeaturePlan
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.run.files import digest_of, read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

if TYPE_CHECKING:
    import zarr

log = logging.getLogger("l4s_ensemble")

FULL = "full.zarr"

BLOCK_PATCHES = 4
"""Patches of one task and of one chunk, so that no chunk is written twice."""

CHUNK_FEATURES = 8
"""Features of one chunk: one feature of all patches is read without the others."""

LARGEST = float(np.finfo(np.float16).max)
"""65504. What is beyond it, up or down, is written as this."""

_PROGRESS = "progress.json"


def write_full(run: Path, jobs: int) -> Path:
    """Write the features of all training patches of a run, after its features stage.

    Parameters
    ----------
    run : Path
        The run folder.
    jobs : int

    Returns
    -------
    Path
        ``features/full.zarr``: ``features (patch, feature, y, x)`` float16, coordinates ``patch``,
        ``feature``, ``group``, ``unit``; read it with ``xarray.open_zarr``. Patches whose
        neighbours are known are computed with them. Nothing is done where it is there already: a
        features stage that runs again replaces its whole folder.

    Raises
    ------
    RunError
        If the features stage has not been run.
    """
    import zarr

    from l4s_ensemble.data.store import STORE

    folder = run / "features"
    final, partial = folder / FULL, folder / f".{FULL}.partial"
    if final.is_dir():
        log.info("%s: there already", final)
        return final
    source = FeatureSource.beside(folder, run / "data" / "train" / STORE)
    plan = plan_from_file(source.plan)
    inputs = [p for p in (source.plan, source.surroundings, source.facts) if p is not None]
    patches = source.dataset()["patch"].values
    about = {"inputs": digest_of(*inputs), "patches": patches.tolist()}
    done = _resume(partial, about)
    if done is None:
        done = 0
        _create(partial, source, plan)
    starts = range(done, len(patches), BLOCK_PATCHES)
    tasks = [(source, partial, start) for start in starts]
    clipped = 0 if not done else int(read_json(partial / _PROGRESS)["clipped"])
    made = track(in_processes(_write_block, tasks, jobs), "features: whole arrays", len(tasks))
    for start, beyond in zip(starts, made, strict=True):
        clipped += beyond
        progress = {"done": start + BLOCK_PATCHES, "clipped": clipped}
        write_json(partial / _PROGRESS, about | progress)
    _array(partial).attrs["clipped_values"] = clipped
    (partial / _PROGRESS).unlink()
    with warnings.catch_warnings():
        # zarr says that its own format 3 does not speak of this; xarray warns without it.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(partial)
    partial.rename(final)
    return final


def _resume(partial: Path, about: dict[str, Any]) -> int | None:
    """Patches that an interrupted run has written; None if it wrote other ones, or none."""
    if not (partial / _PROGRESS).is_file():
        return None
    kept = read_json(partial / _PROGRESS)
    if any(kept.get(name) != value for name, value in about.items()):
        return None
    log.info("features: whole arrays go on after %d patches", kept["done"])
    return int(kept["done"])


def _create(partial: Path, source: FeatureSource, plan: FeaturePlan) -> None:
    """Make the group with its coordinates, and the array without values."""
    import xarray as xr
    import zarr
    from zarr.codecs import BloscCodec

    shutil.rmtree(partial, ignore_errors=True)
    dataset = source.dataset()
    words = {
        "feature": list(plan.names),
        "group": [f.group for f in plan.features],
        "unit": [f.unit for f in plan.features],
    }
    coords: dict[str, Any] = {"patch": dataset["patch"].values.astype(np.int64)}
    coords |= {name: ("feature", np.array(text, object)) for name, text in words.items()}
    attrs = {"version": plan.version, "sensor": plan.sensor, "support_px": plan.support_px}
    xr.Dataset(coords=coords, attrs=attrs).to_zarr(partial, consolidated=False)
    shape = (
        dataset.sizes["patch"], len(plan.features), dataset.sizes["y"], dataset.sizes["x"],
    )  # fmt: skip
    zarr.open_group(partial, mode="r+").create_array(
        "features",
        shape=shape,
        dtype="float16",
        chunks=(min(BLOCK_PATCHES, shape[0]), min(CHUNK_FEATURES, shape[1]), *shape[2:]),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        fill_value=float("nan"),
        dimension_names=("patch", "feature", "y", "x"),
        attributes={
            "precision": "float16: 11 bits, so a value is right to 0.05 %",
            "largest": LARGEST,
            "note": "values beyond ±65504 are clipped to it; clipped_values says how many",
        },
    )


def _array(partial: Path) -> zarr.Array[Any]:
    import zarr

    return zarr.open_array(partial / "features", mode="r+")


def _write_block(source: FeatureSource, partial: Path, start: int) -> int:
    """Compute and write some patches; return how many values were clipped."""
    array = _array(partial)
    stop = min(start + BLOCK_PATCHES, array.shape[0])
    made = [to_float16(tile) for tile in source.each(np.arange(start, stop))]
    array[start:stop] = np.stack([halves for halves, _ in made])
    return sum(beyond for _, beyond in made)


def to_float16(values: NDArray[np.float32]) -> tuple[NDArray[np.float16], int]:
    """Round to float16, clipped to ±65504; and how many values were clipped.

    Parameters
    ----------
    values : float32 array
        Finite.
    """
    beyond = int(np.count_nonzero(np.abs(values) > LARGEST))
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16), beyond
