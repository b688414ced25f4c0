"""Fit the U-Nets of a run's folds."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.store import open_store, positions_of
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.run.tasks import cluster_threads, in_processes
from l4s_ensemble.scenes.folds import Folds, load_folds
from l4s_ensemble.unet.classifier import MODEL_FILE, UNetClassifier
from l4s_ensemble.unet.hardware import devices_of
from l4s_ensemble.unet.inputs.tileset import TileSet, load

log = logging.getLogger("l4s_ensemble")


def fit_folds(ctx: StageContext, folds: Folds) -> None:
    """Fit and save the model of every fold; those that are whole already stay.

    With several devices each has a process of its own, which fits every so many-th fold; on a dask
    cluster each fold is a task, on a device of its worker. The result is that of one device.
    """
    saved = [(ctx.out / f"fold_{k}" / MODEL_FILE).is_file() for k in range(folds.n_folds)]
    todo = np.flatnonzero(~np.array(saved)).tolist()
    threads: int | None = None
    if cluster_threads() is None:
        devices = devices_of(ctx.device)
        threads = max(1, ctx.jobs // len(devices))
        parts = [(device, todo[i :: len(devices)]) for i, device in enumerate(devices)]
    else:
        parts = [(ctx.device, [k]) for k in todo]
    level = log.getEffectiveLevel() if len(parts) > 1 else None
    tasks = [(ctx, device, threads, part, level) for device, part in parts]
    for _ in in_processes(_fit_some, tasks, len(tasks)):
        pass


def _fit_some(
    ctx: StageContext, device: str, threads: int | None, todo: Sequence[int], level: int | None
) -> None:
    """Fit some folds on a device; with a level of its log in a process of its own."""
    if level is not None:
        start_logging(level)
    dataset, folds = open_store(ctx.input("data/train")), load_folds(ctx.input("scenes"))
    for k in todo:
        log.info("unet: fold %d on %s", k, device)
        train, held_out = (
            load(dataset, positions_of(dataset, np.sort(ids)))
            for ids in (folds.train_ids(k), folds.held_out_ids(k))
        )
        model = UNetClassifier(
            **ctx.config.unet.model_dump(),
            random_state=(ctx.config.seed, k),
            device=device,
            n_jobs=threads,
        )
        folder = ctx.out / f"fold_{k}"
        model.fit(train, validation=held_out, checkpoint=folder).save(folder)
        for state in folder.glob("*.checkpoint.pt"):
            state.unlink()


def out_of_fold(
    models: Sequence[UNetClassifier], tiles: TileSet, fold: NDArray[np.int64]
) -> tuple[NDArray[np.float32], list[float]]:
    """Logit of every tile by the model that did not see it, and the seconds of each fold."""
    logit = np.empty((len(tiles), *tiles.counts.shape[-2:]), np.float32)
    seconds = []
    for k, model in enumerate(models):
        started = time.monotonic()
        held_out = np.flatnonzero(fold == k)
        logit[held_out] = model.predict_logit(tiles.at(held_out))
        seconds.append(time.monotonic() - started)
    return logit, seconds
