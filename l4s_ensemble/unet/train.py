"""The stage that trains the U-Nets of every fold, and scores each tile with those not shown it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.data.failures import failures
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.unet.adapt import adapted, load_target
from l4s_ensemble.unet.infer import Predictor, score_file
from l4s_ensemble.unet.inputs.normalisation import TileSet
from l4s_ensemble.unet.model import FoldModel, UNetModel
from l4s_ensemble.unet.networks.network import count_parameters
from l4s_ensemble.unet.training.networks import Inputs, progress_of, saved_networks, train_all

LOGIT_END, LOGIT_BINS = 12.0, 96
"""Of the histogram of logits."""


def stage(ctx: StageContext) -> Summary:
    """Train, score out of fold, summarise.

    Writes ``fold_<k>.safetensors`` (and ``fold_<k>_seed_<s>.safetensors`` where a fold has several
    networks; where `l4s_ensemble.unet.adapt` adapts them, ``.target.`` beside them), beside each
    ``.progress.json`` (rewritten every epoch), ``model.json``, ``oof.zarr`` and ``tiles.npz``. A
    killed run goes on after the last whole epoch. Held-out tiles choose nothing about the networks
    that score them: the schedule is fixed.

    Raises
    ------
    ConfigError
        If a device cannot be had or the settings do not fit each other.
    DataError
        If there are no masks, or a fold has no tile or no landslide to train on.
    LeakError
        If a tile to train on is also held out, by id or by content.
    """
    from l4s_ensemble.data.store import hashes_of, open_store, sensor_of
    from l4s_ensemble.scenes.folds import load_folds

    started = time.monotonic()
    config, seed = ctx.config, ctx.config.seed
    dataset = open_store(ctx.input("data/train"))
    folds, hashes = load_folds(ctx.input("scenes")), hashes_of(dataset)
    for k in range(folds.n_folds):
        folds.check(k, folds.train_ids(k), hashes)
    inputs = train_all(ctx)
    networks = [saved_networks(ctx, k) for k in range(folds.n_folds)]
    tiles, ids = inputs.tiles, inputs.tiles.patch
    target = None
    if (split := ctx.params.get("adapt")) is not None:
        fitted = frozenset(hashes[int(i)] for i in folds.fit_ids)
        target = load_target(
            ctx, str(split), folds, fitted_hashes=fitted, device=inputs.hardware.device
        )
    of_target = [
        () if target is None else adapted(n, target, config.unet.batch, inputs.hardware)
        for n in networks
    ]
    for model in (m for members in of_target for m in members):
        model.save(ctx.out / model.file)
    UNetModel(
        ctx.out, sensor_of(dataset), tuple(networks), seed, split, tuple(t for t in of_target if t)
    ).save()
    logit, seconds = _out_of_fold(ctx, inputs, networks)
    fold = folds.of(ids, "fold").astype(np.int64)
    score_file(ctx.out / "oof.zarr", ids, logit.shape[1:], seed=seed, fold=fold).write(
        slice(None), logit
    )
    scores = histograms(ids, logit, tiles)
    scores.save(ctx.out / "tiles.npz")
    whole = summarise(scores, folds.of(ids, "block"), seed=seed)
    rows = [
        {
            **_fold_row(ctx, inputs, k, seconds[k]),
            **fold_scores(scores, fold, k, whole["threshold"]),
        }
        for k in range(folds.n_folds)
    ]
    store = ctx.input("data/train") / "patches.zarr"
    pooled = scores.pooled()
    return {
        **_of_training(ctx, inputs, networks, rows),
        "adapted_to": split,
        "adapt": None if target is None else {
            "split": split, "tiles": len(target), "row": f"adapted to {split}",
        },
        "folds": rows,
        "oof": whole,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "failures": failures(store, ctx.out / "oof.zarr", whole["threshold"], jobs=ctx.jobs),
        "logits": logits_by_class(logit, _masks(tiles)),
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def _out_of_fold(
    ctx: StageContext, inputs: Inputs, networks: Sequence[Sequence[FoldModel]]
) -> tuple[NDArray[np.float32], list[float]]:
    """Logit of every tile by the networks that did not see it, and the seconds of each fold."""
    logit = np.empty((len(inputs.tiles), *inputs.tiles.counts.shape[-2:]), np.float32)
    seconds = []
    for k, members in enumerate(networks):
        started = time.monotonic()
        held = inputs.at(inputs.folds.held_ids(k))
        predictor = Predictor(members, inputs.hardware, tta=ctx.config.unet.tta)
        logit[held] = predictor(inputs.tiles, held)
        seconds.append(time.monotonic() - started)
    return logit, seconds


def _fold_row(ctx: StageContext, inputs: Inputs, k: int, seconds: float) -> dict[str, Any]:
    """What the summary says of a fold's training."""
    folds = inputs.folds
    networks = [progress_of(ctx, (k, number)) for number in range(ctx.config.unet.seeds)]
    return {
        "fold": k,
        "train_tiles": len(folds.train_ids(k)),
        "held_tiles": len(folds.held_ids(k)),
        "buffer_tiles": len(folds.buffer_ids(k)),
        "epochs": networks[0]["epochs"],
        "networks": networks,
        "seconds_score": seconds,
        "seconds": sum(n["seconds"] for n in networks) + seconds,
    }


def _of_training(
    ctx: StageContext,
    inputs: Inputs,
    networks: Sequence[Sequence[FoldModel]],
    rows: Sequence[dict[str, Any]],
) -> Summary:
    """What the summary says of all networks."""
    settings, hardware, device = ctx.config.unet, inputs.hardware, inputs.hardware.device
    progress = [n for row in rows for n in row["networks"]]
    epochs = [e for n in progress for e in n["epochs"]]
    failed = [n["captured"] for n in progress if isinstance(n["captured"], str)]
    return {
        "network": settings.network,
        "parameters": count_parameters(networks[0][0].network),
        "networks": len(progress),
        "seeds": settings.seeds,
        "loss": settings.loss,
        "optimiser": settings.optimiser,
        "schedule": settings.schedule,
        "seconds_per_epoch": float(np.mean([e["seconds"] for e in epochs])),
        "skipped_steps": sum(e["skipped_steps"] for e in epochs),
        "captured": failed[0] if failed else progress[0]["captured"],
        "precision": hardware.precision,
        "device": ctx.device if "," in ctx.device else str(device),
        "hardware": hardware.reason,
        "bytes_peak": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "bands": list(inputs.tiles.sensor.band_names),
        "channels": list(networks[0][0].normalisation.channels),
    }


def histograms(
    ids: NDArray[np.int64], logit: NDArray[np.float32], tiles: TileSet
) -> TileHistograms:
    """Histogram of probability by class of every tile."""
    out = TileHistograms.empty(ids)
    for i, mask in enumerate(_masks(tiles)):
        out.add(i, sigmoid(logit[i]), mask)
    return out


def logits_by_class(logit: NDArray[np.float32], mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Count pixels of each class by logit.

    Parameters
    ----------
    logit : float32 array, shape (tile, y, x)
    mask : uint8 array, shape (tile, y, x)

    Returns
    -------
    dict
        ``edges`` of the bins, of which the outer ones hold all beyond, and ``landslide, other``:
        pixels of each class by bin.
    """
    edges = np.linspace(-LOGIT_END, LOGIT_END, LOGIT_BINS + 1)
    total = np.zeros((2, LOGIT_BINS), np.int64)
    for values, reference in zip(logit.clip(-LOGIT_END, LOGIT_END), mask > 0, strict=True):
        for kind in (0, 1):
            total[kind] += np.histogram(values[reference == kind], edges)[0]
    return {"edges": edges.tolist(), "landslide": total[1].tolist(), "other": total[0].tolist()}


def _masks(tiles: TileSet) -> NDArray[np.uint8]:
    if tiles.mask is None:
        raise ValueError("scores need masks")
    return np.asarray(tiles.mask.cpu().numpy())
