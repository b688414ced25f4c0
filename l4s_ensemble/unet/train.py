"""The stage that trains one U-Net a fold, and scores every tile with the one that never saw it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.run.files import atomic_path, read_json, write_json
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.unet.engine import FoldTrainer
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.infer import Predictor, to_dataset
from l4s_ensemble.unet.inputs import TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel, fold_file
from l4s_ensemble.unet.network import count_parameters

log = logging.getLogger("l4s_ensemble")


def stage(ctx: StageContext) -> Summary:
    """Train, score out of fold, summarise.

    Writes ``fold_<k>.safetensors``, ``fold_<k>.progress.json`` (rewritten every epoch),
    ``model.json``, ``oof.zarr``, ``tiles.npz``. A killed run goes on after the last whole epoch.
    The schedule is fixed: held-out tiles choose nothing about the network that scores them.

    Raises
    ------
    ConfigError
        If the device cannot be had or the network's settings are not usable.
    DataError
        If there are no masks, or a fold has no tile or no landslide to train on.
    LeakError
        If a tile to train on is also held out, by id or by content.
    """
    from l4s_ensemble.data.store import hashes_of, open_store, positions_of, sensor_of
    from l4s_ensemble.scenes.folds import load_folds
    from l4s_ensemble.scenes.registration import load_shifts, training_masks

    started = time.monotonic()
    hardware = choose(ctx.device, ctx.config.unet.precision, ctx.jobs)
    log.info("unet: %s, %s (%s)", hardware.device, hardware.precision, hardware.reason)
    dataset = open_store(ctx.input("data/train"))
    folds = load_folds(ctx.input("scenes"))
    hashes = hashes_of(dataset)
    for k in range(folds.n_folds):
        folds.check(k, folds.train_ids(k), hashes)
    ids = np.sort(folds.patch[folds.role == "fit"]).astype(np.int64)
    tiles = load(dataset, positions_of(dataset, ids)).to(hardware.device)
    learnt = tiles
    if ctx.config.data.align_masks:  # scores are still taken against the masks as they are
        moved = training_masks(dataset, folds, ids, load_shifts(ctx.input("scenes")))
        learnt = replace(tiles, mask=torch.from_numpy(moved).to(hardware.device))
    fold = folds.of(ids, "fold").astype(np.int64)
    logit = np.empty((len(tiles), *tiles.counts.shape[-2:]), np.float32)
    done = []
    for k in range(folds.n_folds):
        held = np.flatnonzero(fold == k)
        train = np.searchsorted(ids, np.sort(folds.train_ids(k)))
        job = FoldJob(ctx, hardware, learnt, k, train, held)
        model, progress, logit[held] = job.run(buffer_tiles=len(folds.buffer_ids(k)))
        done.append((model, progress))
    model_all = UNetModel(ctx.out, sensor_of(dataset), tuple(m for m, _ in done), ctx.config.seed)
    model_all.save()
    oof = to_dataset(logit, ids, seed=ctx.config.seed, fold=fold)
    oof.to_zarr(ctx.out / "oof.zarr", mode="w", consolidated=False)
    scores = histograms(ids, logit, tiles, ctx.config.stack.bins)
    scores.save(ctx.out / "tiles.npz")
    for k in range(folds.n_folds):
        _remove_scratch(ctx, k)
    whole = summarise(
        scores, folds.of(ids, "block"), resamples=ctx.config.stack.resamples, seed=ctx.config.seed
    )
    pooled = scores.pooled()
    return {
        "network": ctx.config.unet.network,
        "parameters": count_parameters(done[0][0].network),
        "precision": hardware.precision,
        "channels_last": hardware.channels_last,
        "device": str(hardware.device),
        "hardware": hardware.reason,
        "bands": list(tiles.sensor.band_names),
        "folds": [
            {**progress, **fold_scores(scores, fold, progress["fold"], whole["threshold"])}
            for _, progress in done
        ],
        "oof": whole,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "seconds": time.monotonic() - started,
    }


@dataclass(frozen=True)
class FoldJob:
    """Training and scoring of one fold, or what an earlier process left of it.

    Attributes
    ----------
    ctx : StageContext
    hardware : Hardware
    tiles : TileSet
        All tiles of role ``fit``, on the device.
    fold : int
    train, held : int array
        Positions in `tiles`.
    """

    ctx: StageContext
    hardware: Hardware
    tiles: TileSet
    fold: int
    train: NDArray[np.int64]
    held: NDArray[np.int64]

    def run(self, *, buffer_tiles: int) -> tuple[FoldModel, dict[str, Any], NDArray[np.float32]]:
        """Train and score.

        Returns
        -------
        model : FoldModel
        progress : dict
            As in ``fold_<k>.progress.json``.
        logit : float32 array, shape (held tile, y, x)
        """
        out, k = self.ctx.out, self.fold
        note = out / f"fold_{k}.progress.json"
        parts = (note, out / fold_file(k), out / scratch_files(k)[1])
        if all(p.is_file() for p in parts):
            progress = read_json(note)
            if progress["finished"]:
                log.info("unet fold %d: finished already", k)
                return FoldModel.load(parts[1]), progress, np.load(parts[2], allow_pickle=False)
        self._require_landslides()
        progress = {
            "fold": k,
            "train_tiles": len(self.train),
            "held_tiles": len(self.held),
            "buffer_tiles": buffer_tiles,
            "epochs_planned": self.ctx.config.unet.epochs,
            "finished": False,
            "epochs": [],
            "seconds": 0.0,
        }
        model = self._train(progress)
        model.save(parts[1])
        started = time.monotonic()
        predictor = Predictor(model, self.hardware, tta=self.ctx.config.unet.tta)
        logit = predictor(self.tiles, self.held)
        seconds_score = time.monotonic() - started
        with atomic_path(parts[2]) as partial, partial.open("wb") as file:
            np.save(file, logit)
        progress |= {
            "finished": True,
            "seconds_score": seconds_score,
            "scored_patches_per_s": len(self.held) / seconds_score if len(self.held) else None,
            "seconds": progress["seconds"] + seconds_score,
        }
        write_json(note, progress)
        (out / scratch_files(k)[0]).unlink(missing_ok=True)
        log.info("unet fold %d: %.0f s in all", k, progress["seconds"])
        return model, progress, logit

    def _train(self, progress: dict[str, Any]) -> FoldModel:
        out, k, config = self.ctx.out, self.fold, self.ctx.config.unet
        trainer = FoldTrainer(
            self.tiles, self.train, config, seed=self.ctx.config.seed, fold=k,
            hardware=self.hardware,
        )  # fmt: skip
        checkpoint = out / scratch_files(k)[0]
        if trainer.resume(checkpoint):
            log.info("unet fold %d: going on after epoch %d", k, len(trainer.epochs))

        def after_epoch(at: FoldTrainer) -> None:
            at.save(checkpoint)
            progress["epochs"] = at.epochs
            progress["seconds"] = sum(e["seconds"] for e in at.epochs)
            write_json(out / f"fold_{k}.progress.json", progress)
            last = at.epochs[-1]
            log.info(
                "unet fold %d: epoch %d/%d, loss %.4f, %.1f patches/s",
                k, len(at.epochs), config.epochs, last["loss"], last["patches_per_s"],
            )  # fmt: skip

        model = trainer.run(after_epoch)
        progress["epochs"] = trainer.epochs
        progress["seconds"] = sum(e["seconds"] for e in trainer.epochs)
        return model

    def _require_landslides(self) -> None:
        mask = self.tiles.mask
        if not len(self.train) or mask is None or not bool(mask[self.train].any()):
            raise DataError(
                "a fold has no landslide to train on", where=f"fold {self.fold}",
                found=f"{len(self.train)} training tiles",
                fix="use fewer folds or smaller blocks (scenes.folds, scenes.block_tiles), or "
                "add tiles with landslides",
            )  # fmt: skip


def histograms(
    ids: NDArray[np.int64], logit: NDArray[np.float32], tiles: TileSet, bins: int
) -> TileHistograms:
    """Histogram of probability by class of every tile."""
    if tiles.mask is None:
        raise ValueError("scores need masks")
    mask = tiles.mask.cpu().numpy()
    out = TileHistograms.empty(ids, bins)
    for i in range(len(ids)):
        out.add(i, sigmoid(logit[i]), mask[i])
    return out


def scratch_files(fold: int) -> tuple[str, str]:
    """Names of a fold's checkpoint and out-of-fold logits: gone when the stage is whole."""
    return f"fold_{fold}.checkpoint.pt", f"fold_{fold}.oof.npy"


def _remove_scratch(ctx: StageContext, fold: int) -> None:
    for name in scratch_files(fold):
        (ctx.out / name).unlink(missing_ok=True)
