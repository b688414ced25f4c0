"""What the networks look at, how far, where they fail, and what they cost.

All of it on tiles that the networks did not see. The topics have modules of their own, whose
docstrings say what they leave in the summary: `occlusion`, `attribution`, `receptive` (key
``receptive_field``), and in the room `metrics` `failures` and `reliability` (key
``calibration``). Here are the logits by class, key ``logits``::

    edges                   of the bins, the outer ones hold all beyond
    landslide, other        pixels of each class by bin

and what all takes, key ``memory``::

    networks, parameters    networks of all folds, trained values of one
    bytes_networks          of all of them
    bytes_tiles             of the tiles on the device
    bytes_peak              most memory on a GPU so far, None on a CPU

and, where a fold has several networks, ``seeds_alone``::

    tiles       that were scored, the draw of `occlusion`
    f1          best pooled F1 of the first network of every fold alone, of the second, …
    together    the same of their mean logit
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.metrics.failures import failures
from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.metrics.reliability import calibration
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.unet.explaining import attribution, occlusion, receptive
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.networks.network import count_parameters

log = logging.getLogger("l4s_ensemble")

LOGIT_END = 12.0
LOGIT_STEP = 0.25


def explain(
    ctx: StageContext,
    tiles: TileSet,
    fold: NDArray[np.int64],
    block: NDArray[Any],
    networks: Sequence[Sequence[FoldModel]],
    hardware: Hardware,
    logit: NDArray[np.float32],
    scores: TileHistograms,
    threshold: float,
) -> dict[str, Any]:
    """Explain fitted networks whose tiles have been scored out of fold.

    Writes ``attribution_maps.npz`` into ``ctx.out``, where ``oof.zarr`` stands already.

    Parameters
    ----------
    ctx : StageContext
        Of the stage ``unet``.
    tiles : TileSet
        Scored tiles with masks as they are scored, on the device.
    fold, block : array, shape (tile,)
        Fold and spatial block of each tile.
    networks : sequence of sequence of FoldModel
        Of each fold, its networks; their mean logit counts.
    hardware : Hardware
    logit : float32 array, shape (tile, y, x)
        Out-of-fold scores.
    scores : TileHistograms
        Of the same.
    threshold : float
        Of probability, chosen on them.

    Returns
    -------
    dict
        Parts of the summary: ``occlusion, attribution, receptive_field, failures, calibration,
        logits, memory``, ``seeds_alone`` where there are several, and ``seconds_explain`` by
        topic.

    Raises
    ------
    ValueError
        If the tiles have no masks.
    """
    mask = tiles.mask
    if mask is None:
        raise ValueError("only tiles with masks can tell where networks fail")
    config, seed = ctx.config, ctx.config.seed
    halo = config.unet.halo_px
    predictors = [Predictor(m, hardware, tta=False, halo_px=halo) for m in networks]
    # Once, and not again for every batch.
    tiles = predictors[0].normalisation.prepare(tiles)
    told: dict[str, Any] = {}
    seconds: dict[str, float] = {}

    def lap(key: str, value: dict[str, Any], started: float) -> None:
        told[key], seconds[key] = value, time.monotonic() - started
        log.info("unet: %s explained in %.1f s", key.replace("_", " "), seconds[key])

    now = time.monotonic()
    lap(
        "occlusion",
        occlusion.occlusion(
            tiles, fold, predictors, threshold, block, seed=seed,
            resamples=config.stack.resamples,
        ),
        now,
    )  # fmt: skip
    now = time.monotonic()
    lap(
        "attribution",
        attribution.attribution(
            tiles, fold, predictors, logit, threshold, scores.counts(threshold),
            ctx.out / attribution.FILE,
        ),
        now,
    )  # fmt: skip
    now = time.monotonic()
    lap("receptive_field", receptive.receptive_field(tiles, fold, predictors), now)
    now = time.monotonic()
    store = ctx.input("data/train") / "patches.zarr"
    lap("failures", failures(store, ctx.out / "oof.zarr", threshold, jobs=ctx.jobs), now)
    now = time.monotonic()
    lap("calibration", calibration(scores, fold), now)
    now = time.monotonic()
    lap("logits", logits_by_class(logit, mask.cpu().numpy()), now)
    if len(networks[0]) > 1:
        now = time.monotonic()
        drawn = occlusion.draw_tiles(
            mask.flatten(1).any(dim=1).cpu().numpy(), fold, occlusion.affordable(predictors), seed
        )
        lap("seeds_alone", seeds_alone(tiles, fold, networks, predictors, drawn), now)
    return {**told, "memory": memory(tiles, networks), "seconds_explain": seconds}


def seeds_alone(
    tiles: TileSet,
    fold: NDArray[np.int64],
    networks: Sequence[Sequence[FoldModel]],
    predictors: Sequence[Predictor],
    chosen: NDArray[np.int64],
) -> dict[str, Any]:
    """Score each network by itself, and all together, on some tiles; see the module.

    Parameters
    ----------
    tiles : TileSet
    fold : int array, shape (tile,)
    networks : sequence of sequence of FoldModel
    predictors : sequence of Predictor
        Of each fold, all its networks.
    chosen : int array
        Positions of the tiles.
    """
    if tiles.mask is None:
        raise ValueError("scores need masks")
    alone = [
        [Predictor(m, p.hardware, tta=False, halo_px=p.halo_px) for m in members]
        for members, p in zip(networks, predictors, strict=True)
    ]
    found = []
    for of_fold in (*zip(*alone, strict=True), predictors):
        histogram = ScoreHistogram.empty()
        for k, predictor in enumerate(of_fold):
            own = chosen[fold[chosen] == k]
            index = torch.from_numpy(own).to(tiles.mask.device)
            if len(own):
                scored = sigmoid(predictor(tiles, own))
                histogram.add(scored, tiles.mask[index].cpu().numpy())
        found.append(histogram.best().f1)
    return {"tiles": len(chosen), "f1": found[:-1], "together": found[-1]}


def memory(tiles: TileSet, networks: Sequence[Sequence[FoldModel]]) -> dict[str, Any]:
    """Add up what networks and tiles take; see the module."""
    all_of_them = [model.network for members in networks for model in members]
    device = tiles.counts.device
    state = [v for network in all_of_them for v in network.state_dict().values()]
    return {
        "networks": len(all_of_them),
        "parameters": count_parameters(all_of_them[0]),
        "bytes_networks": sum(v.numel() * v.element_size() for v in state),
        "bytes_tiles": tiles.counts.numel() * tiles.counts.element_size(),
        "bytes_peak": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def logits_by_class(logit: NDArray[np.float32], mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Count pixels of each class by logit.

    Parameters
    ----------
    logit : float32 array, shape (tile, y, x)
    mask : uint8 array, shape (tile, y, x)

    Returns
    -------
    dict
        See the module.
    """
    bins = round(2 * LOGIT_END / LOGIT_STEP)
    total = np.zeros((2, bins), np.int64)
    for values, truth in zip(logit, mask, strict=True):
        place = np.clip(np.floor((values + LOGIT_END) / LOGIT_STEP), 0, bins - 1).astype(np.int64)
        kind = (truth > 0).astype(np.int64)
        total += np.bincount((kind * bins + place).ravel(), minlength=2 * bins).reshape(2, bins)
    edges = -LOGIT_END + LOGIT_STEP * np.arange(bins + 1)
    return {
        "edges": edges.tolist(),
        "landslide": total[1].tolist(),
        "other": total[0].tolist(),
    }
