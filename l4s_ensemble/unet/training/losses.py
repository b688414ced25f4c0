"""Losses by name, in float32, whatever the precision of the network.

A loss is a sum of terms such as ``bce+0.5*dice``. Each of our terms is pooled over the pixels of
the batch, as the score is pooled over the pixels of a split: a tile without a landslide counts by
its false pixels and has no Dice of its own.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.networks.encoders import SMP, require_smp

DICE_SMOOTH_PIXELS = 1.0
"""Added above and below the fraction: a batch without landslide has a defined Dice."""

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_by_name(spec: str) -> Loss:
    """Make a loss ``(logit, target) -> scalar``, each (n, 1, y, x), of the words in the settings.

    Parameters
    ----------
    spec : str
        ``bce``, ``dice`` and names of losses of segmentation-models-pytorch (``smp:FocalLoss``)
        joined by ``+``, each with a factor where it is not 1: ``bce+0.5*dice``.

    Raises
    ------
    ConfigError
        If a name or a factor is not one, or segmentation-models-pytorch is not installed.
    """
    terms = [_term(part, spec) for part in spec.split("+")]

    def loss(logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.autocast(logit.device.type, enabled=False):
            parts = [factor * term(logit.float(), target) for factor, term in terms]
            return torch.stack(parts).sum() if len(parts) > 1 else parts[0]

    return loss


def dice(logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - 2 sum(p t) / (sum(p) + sum(t)): 0 is perfect, 1 is disjoint.

    Soft Dice of Milletari et al. 2016, https://arxiv.org/abs/1606.04797, without their squares.
    """
    p, t = torch.sigmoid(logit.flatten()), target.flatten()
    size = p.sum() + t.sum()
    return 1 - (2 * (p * t).sum() + DICE_SMOOTH_PIXELS) / (size + DICE_SMOOTH_PIXELS)


def bce(logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy; that of a softmax over two logits with this difference."""
    each = F.binary_cross_entropy_with_logits(logit.flatten(), target.flatten(), reduction="none")
    return each.sum() / len(each)


def _term(part: str, spec: str) -> tuple[float, Loss]:
    """Factor and loss of one term of a sum."""
    before, star, after = part.rpartition("*")
    name = after.strip()
    try:
        factor = float(before) if star else 1.0
    except ValueError:
        factor = math.nan
    if math.isfinite(factor) and factor > 0:
        if name in ("bce", "dice"):
            return factor, {"bce": bce, "dice": dice}[name]
        if name.startswith(SMP):
            return factor, _of_smp(name)
    raise ConfigError(
        "no such loss",
        where="unet.loss",
        found=spec,
        allowed=f"bce, dice, {SMP}<loss>, or a sum of them with factors above 0",
        fix="for example bce+0.5*dice",
    )


def _of_smp(name: str) -> Loss:
    losses = require_smp("unet.loss").losses
    known = [SMP + n for n in losses.__all__ if n.endswith("Loss")]
    if name not in known:
        allowed = ", ".join(known)
        raise ConfigError("no such loss", where="unet.loss", found=name, allowed=allowed)
    make = getattr(losses, name.removeprefix(SMP))
    words = {"mode": "binary"} if "mode" in inspect.signature(make).parameters else {}
    loss: Loss = make(**words)
    return loss
