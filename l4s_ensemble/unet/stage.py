"""The stages of the U-Net: fit, prediction of logits, and what the networks look at.

They read what earlier stages left, call `UNetClassifier`, and write scores and a summary.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.data.failures import failures
from l4s_ensemble.data.store import (
    hashes_of,
    landslide_pixels,
    open_store,
    positions_of,
)
from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, fold_scores, summarise
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds, load_folds
from l4s_ensemble.unet import summary
from l4s_ensemble.unet.classifier import (
    MODEL_FILE,
    UNetClassifier,
    require_landslide,
)
from l4s_ensemble.unet.explain import draw_tiles, occlusion
from l4s_ensemble.unet.hardware import choose, devices_of
from l4s_ensemble.unet.inputs.tileset import TileSet, load
from l4s_ensemble.unet.model import UNetModel
from l4s_ensemble.unet.networks.network import count_parameters
from l4s_ensemble.unet.predictor import Predictor

if TYPE_CHECKING:
    pass

LOGIT_EDGES = np.linspace(-12.0, 12.0, 97)
"""Of the histogram of logits."""

READ_TILES = {"cpu": 64, "cuda": 512}
"""Tiles read at once: on a CPU few, so that a kill loses little; on a GPU many, to keep it busy."""

EXPLAINED_TILES = 48
"""Most tiles that are drawn to say what the networks look at."""

HALF: Literal["float16"] = "float16"
"""Of logits on disk. Measured on 1,306 tiles out of fold: probabilities move by 1e-4 at most, F1 at
a threshold by 3e-6, the calibration error by 2e-6."""

log = logging.getLogger("l4s_ensemble")


def stage(ctx: StageContext) -> Summary:
    """Fit one model a fold, score each tile by the model that did not see it, summarise.

    Writes ``model.json``, ``fold_<k>/`` (and ``target_<k>/``, adapted to a split), ``oof.zarr`` and
    ``tiles.npz``. A killed run goes on after the last whole epoch. Held-out tiles choose nothing
    about the networks that score them: the schedule is fixed.

    Raises
    ------
    ConfigError
        If a device cannot be had or the settings do not fit each other.
    DataError
        If there are no masks, or a fold has no tile or no landslide to train on.
    LeakError
        If a tile to train on is also held_out out, by id or by content.
    """
    started = time.monotonic()
    dataset, folds = open_store(ctx.input("data/train")), load_folds(ctx.input("scenes"))
    hashes, pixels, split = hashes_of(dataset), landslide_pixels(dataset), ctx.params.get("adapt")
    for k in range(folds.n_folds):
        ids = folds.train_ids(k)
        folds.check(k, ids, hashes)
        require_landslide(pixels[positions_of(dataset, ids)], f"fold {k}")
    _fit_folds(ctx, folds)
    models = [
        UNetClassifier.load(
            ctx.out / f"fold_{k}", device=devices_of(ctx.device)[0], n_jobs=ctx.jobs
        )
        for k in range(folds.n_folds)
    ]
    ids = np.sort(folds.fit_ids).astype(np.int64)
    tiles = load(dataset, positions_of(dataset, ids))
    adapted, of_target = None, []
    if split is not None:
        target = _target(ctx, str(split), folds, frozenset(hashes[int(i)] for i in ids))
        row = f"adapted to {split}"
        adapted = summary.Adaptation(split=split, tiles=len(target), row=row)
        of_target = [model.adapt_statistics(target) for model in models]
    UNetModel(models, split, of_target).save(ctx.out)
    fold = folds.of(ids, "fold").astype(np.int64)
    logit, seconds = _out_of_fold(models, tiles, fold)
    attrs = {"seed": ctx.config.seed, "model": "unet"}
    file = ScoreFile(ctx.out / "oof.zarr", ids, logit.shape[1:], fold=fold, attrs=attrs, dtype=HALF)
    file.write(slice(None), logit)
    assert tiles.mask is not None  # otherwise there are no pixels of landslides
    reference, scores = tiles.mask.numpy(), TileHistograms.empty(ids)
    for i, mask in enumerate(reference):
        scores.add(i, sigmoid(logit[i]), mask)
    scores.save(ctx.out / "tiles.npz")
    whole = summarise(scores, folds.of(ids, "block"), seed=ctx.config.seed)
    of_fold = [fold_scores(scores, fold, k, whole["threshold"]) for k in range(folds.n_folds)]
    store, pooled = ctx.input("data/train") / "patches.zarr", scores.pooled()
    return summary.UNetSummary(
        **_of_training(ctx, folds, models, seconds, of_fold),
        adapted_to=split,
        adapt=adapted,
        oof=whole,
        histogram=pooled.as_dict(),
        reliability=pooled.reliability(),
        failures=failures(store, ctx.out / "oof.zarr", whole["threshold"], jobs=ctx.jobs),
        logits=logits_by_class(logit, reference),
        seconds=time.monotonic() - started,
    ).model_dump(mode="json")


def _fit_folds(ctx: StageContext, folds: Folds) -> None:
    """Fit and save the model of every fold; those that are whole already stay.

    With several devices each has a process of its own, which fits every so many-th fold; the result
    is that of one device.
    """
    devices = devices_of(ctx.device)
    saved = [(ctx.out / f"fold_{k}" / MODEL_FILE).is_file() for k in range(folds.n_folds)]
    todo = np.flatnonzero(~np.array(saved)).tolist()
    threads = max(1, ctx.jobs // len(devices))
    level = log.getEffectiveLevel() if len(devices) > 1 else None
    tasks = [
        (ctx, device, threads, todo[i :: len(devices)], level) for i, device in enumerate(devices)
    ]
    for _ in in_processes(_fit_some, tasks, len(tasks)):
        pass


def _fit_some(
    ctx: StageContext, device: str, threads: int, todo: Sequence[int], level: int | None
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
            **ctx.config.unet.model_dump(), random_state=(ctx.config.seed, k), device=device,
            n_jobs=threads,
        )  # fmt: skip
        folder = ctx.out / f"fold_{k}"
        model.fit(train, validation=held_out, checkpoint=folder).save(folder)
        for state in folder.glob("*.checkpoint.pt"):
            state.unlink()


def _target(ctx: StageContext, split: str, folds: Folds, fitted: frozenset[str]) -> TileSet:
    """Read the images of a split to adapt to, without masks.

    Tiles without terrain, and tiles whose content the folds hold too, are left out: the first say
    nothing, and the others would be adapted to by the networks that score them.

    Raises
    ------
    DataError
        If no tile is left.
    """
    holdout = split == "holdout"  # whose images are in the store of the training tiles
    store = open_store(ctx.input("data/train" if holdout else f"adapt/{split}"))
    at = positions_of(store, folds.holdout_ids) if holdout else np.arange(store.sizes["patch"])
    known = np.isin(store["content_hash"].values[at], list(fitted))
    usable = ~known & ~store["degenerate"].values[at].astype(bool)
    if known.any():
        log.warning(
            "unet: %d of %d tiles of %s are training tiles too; nothing is adapted to them",
            known.sum(), len(at), split,
        )  # fmt: skip
    if not usable.any():
        raise DataError(
            "no tile to adapt to", where=f"split {split}", found=f"{len(at)} tiles",
            allowed="tiles with terrain that are no training tiles", fix="fit without --adapt",
        )  # fmt: skip
    return load(store, np.sort(at[usable]), masks=False)


def _out_of_fold(
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


def _of_training(
    ctx: StageContext,
    folds: Folds,
    models: Sequence[UNetClassifier],
    seconds: Sequence[float],
    scores: Sequence[dict[str, float]],
) -> dict[str, Any]:
    """What the summary says of the training, by fold and of all networks."""
    rows = []
    for k, model in enumerate(models):
        networks = tuple(
            summary.NetworkSummary(
                fold=k, number=number, seconds=sum(e["seconds"] for e in epochs),
                captured=model.captured_[number], epochs=epochs,
            )
            for number, epochs in enumerate(model.history_)
        )  # fmt: skip
        row = summary.FoldSummary(
            fold=k, train_tiles=len(folds.train_ids(k)), held_out_tiles=len(folds.held_out_ids(k)),
            buffer_tiles=len(folds.buffer_ids(k)), epochs=networks[0].epochs, networks=networks,
            seconds_score=seconds[k], seconds=sum(n.seconds for n in networks) + seconds[k],
            **scores[k],
        )  # fmt: skip
        rows.append(row)
    settings = ctx.config.unet
    hardware = choose(ctx.device, settings.precision, ctx.jobs)
    device, cuda = hardware.device, hardware.device.type == "cuda"
    every = [n for row in rows for n in row.networks]
    epochs = [e for n in every for e in n.epochs]
    failed = [n.captured for n in every if isinstance(n.captured, str)]
    return {
        **{k: getattr(settings, k) for k in ("network", "seeds", "loss", "optimiser", "schedule")},
        "parameters": count_parameters(models[0].networks_[0]),
        "networks": len(every),
        "seconds_per_epoch": float(np.mean([e.seconds for e in epochs])),
        "skipped_steps": sum(e.skipped_steps for e in epochs),
        "captured": failed[0] if failed else every[0].captured,
        "precision": hardware.precision,
        "device": ctx.device if "," in ctx.device else str(device),
        "hardware": hardware.reason,
        "bytes_peak": torch.cuda.max_memory_allocated(device) if cuda else None,
        "bands": models[0].normalisation_.bands,
        "channels": models[0].normalisation_.channels,
        "folds": tuple(rows),
    }


def logits_by_class(logit: NDArray[np.float32], mask: NDArray[np.uint8]) -> summary.LogitCounts:
    """Count pixels of each class by logit; both arrays are (tile, y, x)."""
    inside = logit.clip(LOGIT_EDGES[0], LOGIT_EDGES[-1])
    other, landslide = (
        tuple(np.histogram(inside[(mask > 0) == kind], LOGIT_EDGES)[0].tolist()) for kind in (0, 1)
    )
    return summary.LogitCounts(edges=tuple(LOGIT_EDGES.tolist()), landslide=landslide, other=other)


def explain_stage(ctx: StageContext) -> Summary:
    """Measure what each group of bands is worth to the networks of a run.

    It changes no model and no score. The first network of each fold answers, with one look at a
    tile.
    """
    started = time.monotonic()
    hardware = choose(ctx.device, ctx.config.unet.precision, ctx.jobs)
    folds, dataset = load_folds(ctx.input("scenes")), open_store(ctx.input("data/train"))
    model = UNetModel.load(ctx.input("unet"))
    ids = np.sort(folds.fit_ids).astype(np.int64)
    landslide = dataset["mask"].any(("y", "x")).values[positions_of(dataset, ids)]
    chosen = ids[draw_tiles(landslide, EXPLAINED_TILES, ctx.config.seed)]
    found = occlusion(
        load(dataset, positions_of(dataset, chosen)).to(hardware.device),
        folds.of(chosen, "fold"),
        [Predictor(m.networks_[:1], m.normalisation_, hardware, tta=False) for m in model.folds],
        float(read_json(ctx.input("unet") / "summary.json")["oof"]["threshold"]),
        folds.of(chosen, "block"),
        seed=ctx.config.seed,
    )
    seconds = time.monotonic() - started
    return summary.ExplainSummary(occlusion=found, seconds=seconds).model_dump(mode="json")
