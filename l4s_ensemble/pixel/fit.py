"""The fits of all folds of a run, side by side as far as memory allows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.base import clone

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import hashes_of, landslide_pixels, positions_of
from l4s_ensemble.features.registry import FeaturePlan
from l4s_ensemble.pixel.boosters import CLASSIFIER_FILE
from l4s_ensemble.pixel.classifier import SETTINGS, PixelClassifier
from l4s_ensemble.pixel.model import fold_folder
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

MEMORY_BYTES = 3 * 1024**3
"""What all fits side by side may hold; with the process that waits for them under 4 GiB."""

BYTES_PER_VALUE = 5
"""Held for each row and column at the peak of a fit: measured, bins twice and a sample of the
values, 4.5 bytes."""

_PROCESS_BYTES = 120 * 1024**2


def classifier_of(
    config: PixelConfig, plan: FeaturePlan, sensor: Sensor, seed: int
) -> PixelClassifier:
    """Make the unfitted classifier of a run: what physics knows of each feature comes with it."""
    return PixelClassifier(
        **config.model_dump(include=set(SETTINGS)),
        expected=tuple(f.expected for f in plan.features),
        relational=tuple(f.relational for f in plan.features),
        relative=sensor.radiometry == "relative",
        random_state=seed,
    )


def tiles_to_fit(dataset: xr.Dataset, folds: Folds) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Ids of the tiles of role ``fit``, ascending, and their masks, uint8 (tile, y, x).

    Raises
    ------
    DataError
        If the store has no masks.
    LeakError
        If a fold trains on a tile that it holds out, by id or by content.
    """
    landslide_pixels(dataset)  # refuses tiles without masks
    hashes = hashes_of(dataset)
    for k in range(folds.n_folds):
        folds.check(k, folds.train_ids(k), hashes)
    ids = np.sort(folds.patch[folds.role == "fit"]).astype(np.int64)
    positions = positions_of(dataset, ids)
    return ids, np.asarray(dataset["mask"].isel(patch=positions).values, dtype=np.uint8)


def fit_folds(
    classifier: PixelClassifier,
    rows: Path,
    pixels: PixelPlan,
    names: tuple[str, ...],
    folds: Folds,
    out: Path,
    jobs: int,
) -> list[dict[str, Any]]:
    """Fit the classifier of each fold on its training tiles and save it; see `fold_folder`.

    A process for each fold with few threads is much faster than one fold after the other with
    many, which wait for each other several times a leaf. Folds that an interrupted process had
    fitted are kept.

    Parameters
    ----------
    classifier : PixelClassifier
        Fold k is fitted with its ``random_state + k``.
    rows : Path
        ``.npy`` with the features of the sampled pixels, float32 (row, feature).
    pixels : PixelPlan
        What the rows are.
    names : tuple of str, shape (feature,)
    folds : Folds
    out : Path
        Folder of the run's classifiers.
    jobs : int

    Returns
    -------
    list of dict
        ``rows`` and ``positives`` of each fold. They stand in ``fold_<k>.json``, too, with
        ``trained`` (ids of tiles) and ``prevalence`` (of the weighted rows).
    """
    every = [fold_folder(out, k) for k in range(folds.n_folds)]
    todo = [k for k, folder in enumerate(every) if not (folder / CLASSIFIER_FILE).is_file()]
    if len(todo) < len(every):
        log.info("pixel: %d of %d folds fitted already", len(every) - len(todo), len(every))
    at_once = max(1, min(jobs, len(todo), at_most(rows)))
    threads, tasks = max(1, jobs // at_once), []
    for k in todo:
        ids = np.intersect1d(folds.train_ids(k), pixels.tile)
        own = for_fold(classifier, k, threads)
        tasks.append((own, rows, pixels, ids, names, every[k]))
    for _ in track(in_processes(fit_fold, tasks, at_once), "pixel: fitting folds", len(todo)):
        pass
    kept = ("rows", "positives")
    return [{name: read_json(_note(folder))[name] for name in kept} for folder in every]


def for_fold(classifier: PixelClassifier, k: int, threads: int) -> PixelClassifier:
    """Give an unfitted classifier for fold `k`, with a seed of its own."""
    own: PixelClassifier = clone(classifier)
    own.set_params(random_state=classifier.random_state + k, n_jobs=threads)
    return own


def at_most(rows: Path) -> int:
    """How many fits of such rows go side by side within `MEMORY_BYTES`; at least one."""
    values = int(np.load(rows, mmap_mode="r").size)
    return max(1, MEMORY_BYTES // (_PROCESS_BYTES + BYTES_PER_VALUE * values))


def fit_fold(
    classifier: PixelClassifier,
    rows: Path,
    pixels: PixelPlan,
    ids: NDArray[np.int64],
    names: tuple[str, ...],
    folder: Path,
) -> None:
    """Fit a classifier on the rows in the tiles `ids`, and save it; see `fit_folds`."""
    y, weight = pixels.landslide, pixels.weights_of(ids)
    # Rows of other tiles have weight 0, and choose nothing about the classifier.
    classifier.fit(np.load(rows, mmap_mode="r"), y, weight, feature_names=names)
    about = {
        "trained": ids,
        "rows": np.count_nonzero(weight),
        "positives": np.count_nonzero(weight[y == 1]),
        "prevalence": float(np.average(y, weights=weight)),
    }
    write_json(_note(folder), about)
    classifier.save(folder)


def _note(folder: Path) -> Path:
    return folder.with_suffix(".json")
