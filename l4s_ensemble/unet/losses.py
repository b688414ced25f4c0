"""Losses in float32, whatever the precision of the network."""

from __future__ import annotations

import torch
from torch.nn import functional as F

DICE_SMOOTH_PIXELS = 1.0
"""Added above and below the fraction: a batch without landslide has a defined Dice."""


def bce_dice(
    logit: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    dice_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Binary cross-entropy plus weighted soft Dice of the whole batch.

    Dice is pooled over the pixels of the batch, as the score is over the pixels of a split
    (soft Dice: Milletari et al. 2016, https://arxiv.org/abs/1606.04797). Tiles without a landslide
    then count by their false pixels and do not add a Dice of their own.

    Parameters
    ----------
    logit : Tensor, shape (n, 1, y, x)
        Any float type; the loss is computed in float32, outside autocast.
    target : Tensor, shape (n, 1, y, x)
        0 or 1, any type.
    weight : Tensor, shape (n, 1, y, x), optional
        How much a pixel counts; 1 by default.
    dice_weight : float
        0 leaves cross-entropy alone.
    label_smoothing : float
        The cross-entropy's targets are moved by this much towards each other: 0 -> s, 1 -> 1 - s.

    Returns
    -------
    Tensor
        Scalar, float32.
    """
    with torch.autocast(logit.device.type, enabled=False):
        z = logit.float()
        t = target.float()
        smooth = t * (1 - 2 * label_smoothing) + label_smoothing
        w = torch.ones_like(z) if weight is None else weight.float()
        each = F.binary_cross_entropy_with_logits(z, smooth, reduction="none")
        loss = (w * each).sum() / w.sum().clamp_min(1)
        if dice_weight > 0:
            loss = loss + dice_weight * dice(z, t, w)
        return loss


def dice(
    logit: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - 2 sum(p t) / (sum(p) + sum(t)) over all pixels, float32: 0 is perfect, 1 is disjoint."""
    p = torch.sigmoid(logit.float())
    t = target.float()
    if weight is not None:
        p, t = p * weight, t * weight
    overlap = 2 * (p * t).sum() + DICE_SMOOTH_PIXELS
    return 1 - overlap / (p.sum() + t.sum() + DICE_SMOOTH_PIXELS)
