"""All networks of one fold: trained one after the other, or what a killed process left of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.run.files import atomic_path, read_json, write_json
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.unet.adapt import STATE, Target, adapted
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet
from l4s_ensemble.unet.model import FoldModel, fold_file, fold_name
from l4s_ensemble.unet.training.engine import FoldTrainer
from l4s_ensemble.unet.training.progress import write_progress
from l4s_ensemble.unet.training.watch import Inner

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

_STREAM = 0x1BEE
"""Keeps the draw of inner blocks apart from other draws with the same seed."""


@dataclass(frozen=True)
class FoldResult:
    """What a fold gives.

    Attributes
    ----------
    models : tuple of FoldModel
        By number.
    progress : dict
        As in ``fold_<k>.progress.json``, see `FoldJob`.
    logit : float32 array, shape (held tile, y, x)
        Mean over the networks.
    target : tuple of FoldModel
        The same networks as they score the split that was adapted to; empty without one.
    """

    models: tuple[FoldModel, ...]
    progress: dict[str, Any]
    logit: NDArray[np.float32]
    target: tuple[FoldModel, ...] = ()


@dataclass(frozen=True)
class FoldJob:
    """Training and scoring of one fold.

    ``fold_<k>.progress.json`` holds ``fold``, the numbers of ``train_tiles, held_tiles,
    buffer_tiles, inner_tiles``, ``epochs_planned``, ``finished``, ``epochs`` (of the first network,
    see `FoldTrainer`), ``networks`` (of each ``number, file, finished, best_epoch, seconds,
    epochs``), ``inner`` (``f1,
    threshold, plateau_low, plateau_high`` of all networks together on the inner block, scored as
    held tiles are; None without one) and ``seconds``.

    Attributes
    ----------
    ctx : StageContext
    hardware : Hardware
    tiles : TileSet
        All tiles of role ``fit``, on the device, with the masks to learn from; ids ascend.
    mask : uint8 Tensor, shape (tile, y, x), or None
        The masks to score against.
    folds : Folds
    fold : int
    target : Target, optional
        Tiles to adapt to.
    """

    ctx: StageContext
    hardware: Hardware
    tiles: TileSet
    mask: torch.Tensor | None
    folds: Folds
    fold: int
    target: Target | None = None

    @cached_property
    def held(self) -> NDArray[np.int64]:
        """Positions of the tiles that the fold scores and never sees."""
        return self._at(self.folds.held_ids(self.fold))

    def run(self) -> FoldResult:
        """Train and score, going on from what an earlier process left.

        Raises
        ------
        DataError
            If there is no landslide to train on.
        """
        progress, scores = self._left(), self.ctx.out / scores_file(self.fold)
        if progress["finished"] and scores.is_file():
            log.info("unet fold %d: finished already", self.fold)
            models, of_target = self._saved(progress), self._adapted(progress)
            return FoldResult(models, progress, np.load(scores, allow_pickle=False), of_target)
        train, inner = self._parts()
        progress |= {
            "finished": False,
            "train_tiles": len(train),
            "inner_tiles": 0 if inner is None else len(inner.positions),
        }
        models = self._saved(progress)
        for number in range(len(models), self.ctx.config.unet.seeds):
            models = (*models, self._train(progress, train, inner, number))
        of_target: tuple[FoldModel, ...] = ()
        if self.target is not None:
            of_target = adapted(models, self.target, self.ctx.config.unet.batch, self.hardware)
            for model in of_target:
                model.save(self.ctx.out / model.file)
        started = time.monotonic()
        logit = self._score(models, self.held)
        seconds = time.monotonic() - started
        if inner is not None:
            progress["inner"] = self._threshold(models, inner)
        with atomic_path(scores) as partial, partial.open("wb") as file:
            np.save(file, logit)
        progress |= {
            "finished": True,
            "seconds_score": seconds,
            "scored_patches_per_s": len(self.held) / seconds if len(self.held) else None,
            "seconds": progress["seconds"] + time.monotonic() - started,
        }
        self._note(progress)
        log.info("unet fold %d: %.0f s in all", self.fold, progress["seconds"])
        return FoldResult(models, progress, logit, of_target)

    def _left(self) -> dict[str, Any]:
        """Progress so far: that of a killed process as far as its files are whole."""
        try:
            progress: dict[str, Any] = read_json(self._note_path)
            networks = progress["networks"]
        except (RunError, KeyError, TypeError):
            progress, networks = {"finished": False}, []
        whole = [
            n for i, n in enumerate(networks)
            if n["finished"] and n["number"] == i and (self.ctx.out / n["file"]).is_file()
        ]  # fmt: skip
        if progress["finished"] and len(whole) == self.ctx.config.unet.seeds:
            return progress
        return {
            "fold": self.fold,
            "train_tiles": 0,
            "held_tiles": len(self.held),
            "buffer_tiles": len(self.folds.buffer_ids(self.fold)),
            "inner_tiles": 0,
            "epochs_planned": 0,
            "finished": False,
            "epochs": whole[0]["epochs"] if whole else [],
            "networks": whole,
            "inner": None,
            "seconds": sum(n["seconds"] for n in whole),
        }

    def _parts(self) -> tuple[NDArray[np.int64], Inner | None]:
        """Positions to train on, and the inner block where one is asked for and can be had."""
        from l4s_ensemble.scenes.inner import watched

        ids = self.folds.train_ids(self.fold)
        if not self._landslide(ids):
            raise DataError(
                "a fold has no landslide to train on", where=f"fold {self.fold}",
                found=f"{len(ids)} training tiles",
                fix="use fewer folds or smaller blocks (scenes.folds, scenes.block_tiles), or "
                "add tiles with landslides",
            )  # fmt: skip
        if self.ctx.config.unet.checkpoint != "inner":
            return self._at(ids), None
        rng = np.random.default_rng([self.ctx.config.seed, _STREAM, self.fold])
        rest, aside = watched(self.folds, ids, rng)
        if not (self._landslide(rest) and self._landslide(aside)):
            log.warning(
                "unet fold %d: too few blocks to set one aside; the last state is kept", self.fold
            )
            return self._at(ids), None
        return self._at(rest), Inner(self._at(aside), self.mask)

    def _train(
        self, progress: dict[str, Any], train: NDArray[np.int64], inner: Inner | None, number: int
    ) -> FoldModel:
        out, k = self.ctx.out, self.fold
        trainer = FoldTrainer(
            self.tiles, train, self.ctx.config.unet, seed=self.ctx.config.seed, fold=k,
            hardware=self.hardware, number=number, inner=inner,
        )  # fmt: skip
        name = f"fold {k}" + (f", network {number}" if number else "")
        checkpoint = out / checkpoint_file(k, number)
        if trainer.resume(checkpoint):
            log.info("unet %s: going on after epoch %d", name, len(trainer.epochs))
        earlier = progress["seconds"]
        note: dict[str, Any] = {"number": number, "file": fold_file(k, number), "finished": False}
        progress["networks"].append(note)

        def tell(at: FoldTrainer) -> None:
            seconds = sum(e["seconds"] for e in at.epochs)
            note.update(best_epoch=at.best_epoch, seconds=seconds, epochs=at.epochs)
            progress["epochs_planned"] = at.epochs_planned
            progress["epochs"] = progress["networks"][0]["epochs"]
            progress["seconds"] = earlier + seconds
            self._note(progress)

        def after_epoch(at: FoldTrainer) -> None:
            at.save(checkpoint)
            tell(at)
            last = at.epochs[-1]
            seen = "" if last["inner_f1"] is None else f", inner F1 {last['inner_f1']:.3f}"
            log.info(
                "unet %s: epoch %d/%d, loss %.4f%s, %.1f patches/s",
                name, len(at.epochs), at.epochs_planned, last["loss"], seen, last["patches_per_s"],
            )  # fmt: skip

        model = trainer.run(after_epoch)
        model.save(out / note["file"])
        note["finished"] = True
        tell(trainer)
        checkpoint.unlink(missing_ok=True)
        return model

    def _saved(self, progress: dict[str, Any]) -> tuple[FoldModel, ...]:
        return tuple(FoldModel.load(self.ctx.out / n["file"]) for n in progress["networks"])

    def _adapted(self, progress: dict[str, Any]) -> tuple[FoldModel, ...]:
        files = (fold_file(self.fold, n["number"], STATE) for n in progress["networks"])
        paths = (self.ctx.out / name for name in files)
        return tuple(FoldModel.load(p) for p in paths if self.target and p.is_file())

    def _score(
        self, models: Sequence[FoldModel], positions: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Mean logit of the networks, by the path that predictions take."""
        config = self.ctx.config.unet
        predictor = Predictor(models, self.hardware, tta=config.tta, halo_px=config.halo_px)
        return predictor(self.tiles, positions)

    def _threshold(self, models: Sequence[FoldModel], inner: Inner) -> dict[str, float]:
        """Best threshold on the inner block."""
        if inner.mask is None:
            raise ValueError("scores need masks")
        histogram = ScoreHistogram.empty()
        index = torch.from_numpy(inner.positions).to(inner.mask.device)
        logit = self._score(models, inner.positions)
        histogram.add(sigmoid(logit), inner.mask[index].cpu().numpy())
        best = histogram.best()
        return {
            "f1": best.f1,
            "threshold": best.value,
            "plateau_low": best.plateau_low,
            "plateau_high": best.plateau_high,
        }

    def _landslide(self, ids: NDArray[np.int64]) -> bool:
        mask = self.tiles.mask
        return mask is not None and len(ids) > 0 and bool(mask[self._at(ids)].any())

    def _at(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.tiles.patch, np.sort(ids))

    @property
    def _note_path(self) -> Path:
        return self.ctx.out / f"{fold_name(self.fold)}.progress.json"

    def _note(self, progress: dict[str, Any]) -> None:
        write_json(self._note_path, progress)
        write_progress(self.ctx.out)


def checkpoint_file(fold: int, number: int = 0) -> str:
    """Name of the checkpoint of a network that is being trained."""
    return f"{fold_name(fold, number)}.checkpoint.pt"


def scores_file(fold: int) -> str:
    """Name of the logits of held tiles; gone when the stage is whole."""
    return f"{fold_name(fold)}.oof.npy"


def remove_scratch(ctx: StageContext, fold: int) -> None:
    """Remove what only a killed run needs."""
    stray = [checkpoint_file(fold, s) for s in range(ctx.config.unet.seeds)]
    for name in (scores_file(fold), *stray):
        (ctx.out / name).unlink(missing_ok=True)
