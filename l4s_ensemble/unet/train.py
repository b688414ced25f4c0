"""The stage that trains the U-Nets of every fold, and scores each tile with those not shown it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.unet.adapt import Target, load_target
from l4s_ensemble.unet.explain import explain
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.infer import score_file
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.model import UNetModel
from l4s_ensemble.unet.networks.network import count_parameters
from l4s_ensemble.unet.training.fold import FoldJob, remove_scratch

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.scenes.folds import Folds
    from l4s_ensemble.scenes.surroundings import Surroundings

log = logging.getLogger("l4s_ensemble")


def stage(ctx: StageContext) -> Summary:
    """Train, score out of fold, summarise.

    Writes ``fold_<k>.safetensors`` (and ``fold_<k>_seed_<s>.safetensors`` where a fold has several
    networks; where `l4s_ensemble.unet.adapt` adapts them, ``.target.`` beside them),
    ``fold_<k>.progress.json`` (rewritten every epoch), ``model.json``, ``oof.zarr``, ``tiles.npz``,
    ``surroundings.npz`` where neighbours are read, and what `explain` adds. A killed run goes on
    after the last whole epoch. Held-out tiles choose nothing about the networks that score them:
    the schedule is fixed, and what is chosen is chosen on an inner block of the training tiles.

    Raises
    ------
    ConfigError
        If the device cannot be had or the settings do not fit each other.
    DataError
        If there are no masks, or a fold has no tile or no landslide to train on.
    LeakError
        If a tile to train on is also held out, by id or by content.
    """
    from l4s_ensemble.data.store import hashes_of, open_store, positions_of, sensor_of
    from l4s_ensemble.scenes.folds import load_folds

    started = time.monotonic()
    hardware = choose(ctx.device, ctx.config.unet.precision, ctx.jobs)
    log.info("unet: %s, %s (%s)", hardware.device, hardware.precision, hardware.reason)
    dataset = open_store(ctx.input("data/train"))
    folds = load_folds(ctx.input("scenes"))
    hashes = hashes_of(dataset)
    for k in range(folds.n_folds):
        folds.check(k, folds.train_ids(k), hashes)
    ids = np.sort(folds.fit_ids).astype(np.int64)
    around = _surroundings(ctx, dataset, folds)
    target = _target(ctx, folds, hashes, around is not None, hardware)
    tiles = load(dataset, positions_of(dataset, ids), surroundings=around).to(hardware.device)
    fold = folds.of(ids, "fold").astype(np.int64)
    logit = np.empty((len(tiles), *tiles.counts.shape[-2:]), np.float32)
    done = []
    for k in range(folds.n_folds):
        job = FoldJob(ctx, hardware, tiles, tiles.mask, folds, k, target)
        done.append(job.run())
        logit[job.held] = done[-1].logit
    sensor, seed = sensor_of(dataset), ctx.config.seed
    split = None if target is None else target.split
    UNetModel(
        ctx.out, sensor, tuple(r.models for r in done), seed, split,
        tuple(r.target for r in done if r.target),
    ).save()  # fmt: skip
    oof = score_file(ctx.out / "oof.zarr", ids, logit.shape[1:], seed=seed, fold=fold)
    oof.write(slice(None), logit)
    scores = histograms(ids, logit, tiles, ctx.config.stack.bins)
    scores.save(ctx.out / "tiles.npz")
    for k in range(folds.n_folds):
        remove_scratch(ctx, k)
    whole = summarise(
        scores, folds.of(ids, "block"), resamples=ctx.config.stack.resamples, seed=seed
    )
    pooled, settings = scores.pooled(), ctx.config.unet
    told: Summary = {}
    if settings.explain:
        told = explain(
            ctx, tiles, fold, folds.of(ids, "block"), [r.models for r in done], hardware, logit,
            scores, whole["threshold"],
        )  # fmt: skip
    networks = [n for r in done for n in r.progress["networks"]]
    epochs = [e["seconds"] for n in networks for e in n["epochs"]]
    return {
        "network": settings.network,
        "parameters": count_parameters(done[0].models[0].network),
        "networks": len(networks),
        "seeds": settings.seeds,
        "loss": settings.loss,
        "optimiser": settings.optimiser,
        "schedule": settings.schedule,
        "checkpoint": settings.checkpoint,
        "adapted_to": split,
        "adapt": None
        if target is None
        else {
            "split": split,
            "tiles": len(target),
            "row": f"adapted to {split}",
        },
        "seconds_per_epoch": float(np.mean(epochs)),
        "precision": hardware.precision,
        "channels_last": hardware.channels_last,
        "device": str(hardware.device),
        "hardware": hardware.reason,
        "bands": list(tiles.sensor.band_names),
        "channels": list(done[0].models[0].normalisation.channels),
        "folds": [
            {**r.progress, **fold_scores(scores, fold, r.progress["fold"], whole["threshold"])}
            for r in done
        ],
        "oof": whole,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        **told,
        "seconds": time.monotonic() - started,
    }


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


def _target(
    ctx: StageContext,
    folds: Folds,
    hashes: Mapping[int, str],
    surroundings: bool,
    hardware: Hardware,
) -> Target | None:
    """Tiles of the split to adapt to, without masks; None where there is none."""
    split = ctx.params.get("adapt")
    if split is None:
        return None
    fitted = frozenset(hashes[int(i)] for i in folds.fit_ids)
    return load_target(
        ctx, str(split), folds, fitted_hashes=fitted, device=hardware.device,
        surroundings=surroundings,
    )  # fmt: skip


def _surroundings(ctx: StageContext, dataset: xr.Dataset, folds: Folds) -> Surroundings | None:
    """What lies around the tiles, kept for the predictions; None where no setting asks for it."""
    from l4s_ensemble.scenes.surroundings import SURROUNDINGS_FILE, measure_surroundings

    unet = ctx.config.unet
    if not (unet.shift_px or unet.halo_px or unet.jitter_scene or unet.level == "scene"):
        return None
    around = measure_surroundings(dataset, folds, cross=unet.neighbours)
    around.save(ctx.out / SURROUNDINGS_FILE)
    return around
