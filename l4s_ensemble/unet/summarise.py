"""Parts of the U-Net summary: training and logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.unet import summary
from l4s_ensemble.unet.classifier import UNetClassifier
from l4s_ensemble.unet.hardware import choose
from l4s_ensemble.unet.networks.network import count_parameters

LOGIT_EDGES = np.linspace(-12.0, 12.0, 97)
"""Of the histogram of logits."""


def of_training(
    ctx: StageContext,
    folds: Folds,
    models: Sequence[UNetClassifier],
    seconds: Sequence[float],
    scores: Sequence[dict[str, float]],
) -> dict[str, Any]:
    """Summarise the training by fold and over all networks."""
    rows = []
    for k, model in enumerate(models):
        networks = tuple(
            summary.NetworkSummary(
                fold=k,
                number=number,
                seconds=sum(e["seconds"] for e in epochs),
                captured=model.captured_[number],
                epochs=epochs,
            )
            for number, epochs in enumerate(model.history_)
        )
        row = summary.FoldSummary(
            fold=k,
            train_tiles=len(folds.train_ids(k)),
            held_out_tiles=len(folds.held_out_ids(k)),
            buffer_tiles=len(folds.buffer_ids(k)),
            epochs=networks[0].epochs,
            networks=networks,
            seconds_score=seconds[k],
            seconds=sum(n.seconds for n in networks) + seconds[k],
            **scores[k],
        )
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
