"""How the averaged network does on an inner block of a fold's training tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.training.losses import Loss


@dataclass(frozen=True)
class Inner:
    """Tiles that choose the checkpoint: neither trained on, nor beside a tile that is.

    Attributes
    ----------
    positions : int64 array
        In the set that is trained on.
    mask : uint8 Tensor, shape (tile of that set, y, x), or None
        Masks to score against, where they are not those to learn from.
    """

    positions: NDArray[np.int64]
    mask: torch.Tensor | None = None


@dataclass(frozen=True)
class Watched:
    """Score of one state of a network on the inner block."""

    f1: float
    threshold: float
    loss: float

    def as_dict(self) -> dict[str, float]:
        """As the progress of an epoch has it."""
        return {"inner_f1": self.f1, "inner_threshold": self.threshold, "inner_loss": self.loss}


def watch(
    model: FoldModel,
    tiles: TileSet,
    inner: Inner,
    loss: Loss,
    hardware: Hardware,
    batch: int,
) -> Watched:
    """Score a network on the inner block: whole tiles, no averaging over symmetries.

    Parameters
    ----------
    model : FoldModel
    tiles : TileSet
        On the device, with masks.
    inner : Inner
    loss : callable
        As `l4s_ensemble.unet.training.losses.loss_by_name` makes it.
    hardware : Hardware
    batch : int
        Tiles that a loss is pooled over: that of the training makes the two alike.

    Returns
    -------
    Watched
        F1 pooled over the block at its best threshold, that threshold, and the mean loss of the
        batches.
    """
    truth = tiles.mask if inner.mask is None else inner.mask
    if truth is None:
        raise ValueError("scores need masks")
    scored = Predictor(model, hardware, tta=False).windows(tiles, inner.positions)
    histogram, total = ScoreHistogram.empty(), 0.0
    index = torch.from_numpy(inner.positions).to(truth.device)
    for logit, some in zip(torch.split(scored, batch), torch.split(index, batch), strict=True):
        mask, ones = truth[some], torch.ones_like(logit)
        total += len(some) * float(loss(logit[:, None], mask[:, None], ones[:, None]))
        histogram.add(sigmoid(logit.cpu().numpy()), mask.cpu().numpy())
    best = histogram.best()
    return Watched(best.f1, best.value, total / len(inner.positions))
