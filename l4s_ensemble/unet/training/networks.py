"""Training of the networks of a run, each an independent job, on one device or on several."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.unet.hardware import Hardware, choose, devices_of
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.model import FoldModel, fold_file, fold_name
from l4s_ensemble.unet.training.engine import FoldTrainer

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

Job = tuple[int, int]
"""Fold, and number of the network in it."""


@dataclass(frozen=True)
class Inputs:
    """What every network is trained from.

    Attributes
    ----------
    hardware : Hardware
    folds : Folds
    tiles : TileSet
        All tiles of role ``fit``, on the device, with masks; ids ascend.
    """

    hardware: Hardware
    folds: Folds
    tiles: TileSet

    @classmethod
    def read(cls, ctx: StageContext, device: str, threads: int) -> Inputs:
        """Read the training tiles of a run onto a device."""
        from l4s_ensemble.data.store import open_store, positions_of
        from l4s_ensemble.scenes.folds import load_folds

        hardware = choose(device, ctx.config.unet.precision, threads)
        dataset = open_store(ctx.input("data/train"))
        folds = load_folds(ctx.input("scenes"))
        ids = np.sort(folds.fit_ids).astype(np.int64)
        tiles = load(dataset, positions_of(dataset, ids)).to(hardware.device)
        return cls(hardware, folds, tiles)

    def at(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Positions of some tiles."""
        return np.searchsorted(self.tiles.patch, np.sort(ids)).astype(np.int64)

    def require_landslides(self) -> None:
        """Refuse folds that have nothing to learn from.

        Raises
        ------
        DataError
        """
        for k in range(self.folds.n_folds):
            at, mask = self.at(self.folds.train_ids(k)), self.tiles.mask
            if mask is None or not len(at) or not bool(mask[at].any()):
                raise DataError(
                    "a fold has no landslide to train on", where=f"fold {k}",
                    found=f"{len(at)} training tiles",
                    fix="use fewer folds or smaller blocks (scenes.folds, scenes.block_tiles), or "
                    "add tiles with landslides",
                )  # fmt: skip


def train_all(ctx: StageContext) -> Inputs:
    """Train the networks of all folds and seeds; those that are finished already stay.

    Each leaves its weights and ``<network>.progress.json`` (see `progress_of`). With several
    devices each has a process of its own, which trains every so many-th network; the result is that
    of one device.

    Returns
    -------
    Inputs
        On the first device.

    Raises
    ------
    DataError
        If a fold has no landslide to train on.
    """
    devices = devices_of(ctx.device)
    threads = max(1, ctx.jobs // len(devices))
    inputs = Inputs.read(ctx, devices[0], ctx.jobs)
    inputs.require_landslides()
    hardware = inputs.hardware
    log.info("unet: %s, %s (%s)", ctx.device, hardware.precision, hardware.reason)
    seeds = range(ctx.config.unet.seeds)
    jobs = [(k, number) for k in range(inputs.folds.n_folds) for number in seeds]
    if len(devices) == 1:
        for job in jobs:
            _train(ctx, inputs, job)
        return inputs
    parts = [(device, jobs[i :: len(devices)]) for i, device in enumerate(devices)]
    tasks = [(ctx, device, threads, part, log.getEffectiveLevel()) for device, part in parts]
    for _ in in_processes(_train_some, tasks, len(tasks)):
        pass
    return inputs


def _train_some(
    ctx: StageContext, device: str, threads: int, jobs: Sequence[Job], level: int
) -> None:
    """What one of several processes trains."""
    start_logging(level)
    inputs = Inputs.read(ctx, device, threads)
    for job in jobs:
        _train(ctx, inputs, job)


def _train(ctx: StageContext, inputs: Inputs, job: Job) -> None:
    """Train one network, going on from what an earlier process left."""
    fold, number = job
    name, out = fold_name(fold, number), ctx.out
    weights, unfinished = out / fold_file(fold, number), out / f"{name}.checkpoint.pt"
    if progress_of(ctx, job)["finished"] and weights.is_file():
        log.info("unet %s: finished already", name)
        return
    trainer = FoldTrainer(
        inputs.tiles, inputs.at(inputs.folds.train_ids(fold)), ctx.config.unet,
        seed=ctx.config.seed, fold=fold, hardware=inputs.hardware, number=number,
        held=inputs.at(inputs.folds.held_ids(fold)),
    )  # fmt: skip
    if trainer.resume(unfinished):
        log.info("unet %s: going on after epoch %d", name, len(trainer.epochs))

    def after_epoch(at: FoldTrainer) -> None:
        at.save(unfinished)
        _note(ctx, at, finished=False)
        last = at.epochs[-1]
        log.info(
            "unet %s: epoch %d/%d, loss %.4f, %.1f patches/s",
            name, len(at.epochs), at.epochs_planned, last["loss"], last["patches_per_s"],
        )  # fmt: skip

    trainer.run(after_epoch).save(weights)
    _note(ctx, trainer, finished=True)
    unfinished.unlink(missing_ok=True)


def progress_of(ctx: StageContext, job: Job) -> dict[str, Any]:
    """Progress of a network: ``fold, number, file, finished, epochs_planned, seconds, captured``.

    And ``epochs``, see `FoldTrainer`. Of a network that has not begun, only ``finished``.
    """
    try:
        progress: dict[str, Any] = read_json(ctx.out / f"{fold_name(*job)}.progress.json")
    except RunError:
        return {"finished": False}
    return progress


def saved_networks(ctx: StageContext, fold: int) -> tuple[FoldModel, ...]:
    """The trained networks of a fold."""
    files = (fold_file(fold, number) for number in range(ctx.config.unet.seeds))
    return tuple(FoldModel.load(ctx.out / name) for name in files)


def _note(ctx: StageContext, at: FoldTrainer, *, finished: bool) -> None:
    name = fold_name(at.fold, at.number)
    progress = {
        "fold": at.fold,
        "number": at.number,
        "file": fold_file(at.fold, at.number),
        "finished": finished,
        "epochs_planned": at.epochs_planned,
        "seconds": sum(e["seconds"] for e in at.epochs),
        "captured": at.captured,
        "epochs": at.epochs,
    }
    write_json(ctx.out / f"{name}.progress.json", progress)
