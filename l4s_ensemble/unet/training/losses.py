"""Losses by name, in float32, whatever the precision of the network.

A loss is a sum of terms such as ``bce+0.5*dice``. Each term is pooled over the pixels of the batch,
as the score is pooled over the pixels of a split: a tile without a landslide counts by its false
pixels and has no Dice of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from l4s_ensemble.errors import ConfigError

DICE_SMOOTH_PIXELS = 1.0
"""Added above and below the fraction: a batch without landslide has a defined Dice."""

TVERSKY_FALSE, TVERSKY_MISSED = 0.3, 0.7
"""What a false pixel and a missed one cost (Salehi et al. 2017, table 1: the best pair)."""

FOCAL_POWER = 2.0
"""Gamma of the focal loss, as Lin et al. 2017 found it best."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Pixels:
    """What a term of a loss reads: flat, float32, pixels of weight 0 at rest."""

    logit: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    label_smoothing: float


def loss_by_name(spec: str, *, label_smoothing: float = 0.0) -> Loss:
    """Make a loss of the words in the settings.

    Parameters
    ----------
    spec : str
        Names of `LOSSES` joined by ``+``, each with a factor where it is not 1:
        ``bce+0.5*dice``.
    label_smoothing : float
        The targets of the cross-entropy are moved by this much towards each other: 0 -> s,
        1 -> 1 - s. The other terms see them as they are.

    Returns
    -------
    callable
        ``(logit, target, weight) -> scalar``, float32 outside autocast; each (n, 1, y, x), the
        target 0 or 1, the weight how much a pixel counts. Pixels of weight 0 change neither the
        value nor the gradient.

    Raises
    ------
    ConfigError
        If a name or a factor is not one.
    """
    terms = _parse(spec)

    def loss(logit: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with torch.autocast(logit.device.type, enabled=False):
            w = weight.float().flatten()
            # 0 x infinity is not 0: a pixel that does not count must not reach the arithmetic.
            counts = w > 0
            z = torch.where(counts, logit.float().flatten(), 0.0)
            t = torch.where(counts, target.float().flatten(), 0.0)
            pixels = _Pixels(z, t, w, label_smoothing)
            parts = [factor * term(pixels) for factor, term in terms]
            return torch.stack(parts).sum() if len(parts) > 1 else parts[0]

    return loss


def _bce(p: _Pixels) -> torch.Tensor:
    """Mean binary cross-entropy; that of a softmax over two logits with this difference."""
    smooth = p.target * (1 - 2 * p.label_smoothing) + p.label_smoothing
    each = F.binary_cross_entropy_with_logits(p.logit, smooth, reduction="none")
    return _mean(each, p)


def _focal(p: _Pixels) -> torch.Tensor:
    """Cross-entropy times (1 - probability of the true class) ** gamma.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 4 (no factor for a class).
    """
    each = F.binary_cross_entropy_with_logits(p.logit, p.target, reduction="none")
    return _mean((-torch.expm1(-each)) ** FOCAL_POWER * each, p)


def _dice(p: _Pixels) -> torch.Tensor:
    """1 - 2 sum(p t) / (sum(p) + sum(t)): 0 is perfect, 1 is disjoint.

    Soft Dice of Milletari et al. 2016, https://arxiv.org/abs/1606.04797, without their squares.
    """
    proba = torch.sigmoid(p.logit)
    both = (p.weight * proba * p.target).sum()
    size = (p.weight * proba).sum() + (p.weight * p.target).sum()
    return 1 - (2 * both + DICE_SMOOTH_PIXELS) / (size + DICE_SMOOTH_PIXELS)


def _tversky(p: _Pixels) -> torch.Tensor:
    """1 - TP / (TP + a FP + b FN) of soft counts; a missed pixel costs more than a false one.

    Salehi et al. 2017, https://arxiv.org/abs/1706.05721, equation 4.
    """
    proba, rest = torch.sigmoid(p.logit), torch.sigmoid(-p.logit)
    hit = (p.weight * proba * p.target).sum()
    false = (p.weight * proba * (1 - p.target)).sum()
    missed = (p.weight * rest * p.target).sum()
    wrong = TVERSKY_FALSE * false + TVERSKY_MISSED * missed
    return 1 - (hit + DICE_SMOOTH_PIXELS) / (hit + wrong + DICE_SMOOTH_PIXELS)


def _lovasz(p: _Pixels) -> torch.Tensor:
    """Lovász hinge: the convex closure of 1 - IoU of the landslide class, over all pixels.

    Berman et al. 2018, https://arxiv.org/abs/1705.08790, equations 9 and 12. The factor of an
    error is what the loss of IoU grows by when its pixel turns wrong, the larger errors being
    wrong already; so it is found on the whole batch, and has no gradient of its own.
    """
    error = 1 - p.logit * (2 * p.target - 1)
    order = torch.argsort(error.detach(), descending=True)
    target, weight = p.target[order], p.weight[order]
    slide = (weight * target).sum()
    hit = slide - torch.cumsum(weight * target, 0)
    union = slide + torch.cumsum(weight * (1 - target), 0)
    lost = torch.where(union > 0, 1 - hit / union, 0.0)
    factor = torch.empty_like(lost)
    factor[order] = torch.diff(lost, prepend=lost.new_zeros(1))
    return (torch.relu(error) * factor).sum()


LOSSES: dict[str, Callable[[_Pixels], torch.Tensor]] = {
    "bce": _bce,
    "ce": _bce,
    "dice": _dice,
    "focal": _focal,
    "lovasz": _lovasz,
    "tversky": _tversky,
}
"""Terms of a loss by name."""


def _mean(each: torch.Tensor, p: _Pixels) -> torch.Tensor:
    return (p.weight * each).sum() / p.weight.sum().clamp_min(1)


def _parse(spec: str) -> list[tuple[float, Callable[[_Pixels], torch.Tensor]]]:
    terms = []
    for part in spec.split("+"):
        before, star, after = part.rpartition("*")
        name = after.strip()
        try:
            factor = float(before) if star else 1.0
        except ValueError:
            factor = math.nan
        if name not in LOSSES or not (math.isfinite(factor) and factor > 0):
            raise ConfigError(
                "no such loss", where="unet.loss", found=spec,
                allowed=f"{', '.join(LOSSES)}, or a sum of them with factors above 0",
                fix="for example bce+0.5*dice",
            )  # fmt: skip
        terms.append((factor, LOSSES[name]))
    return terms
