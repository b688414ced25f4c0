"""What to say when losses or gradients are no numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.errors import L4SError

_SHOWN = 40  # patch ids in a message


def not_finite(where: str, loss: float, patch: NDArray[np.int64], x: torch.Tensor) -> L4SError:
    """Make the error that stops a training.

    Parameters
    ----------
    where : str
        Fold, epoch and step.
    loss : float
    patch : int64 array, shape (n,)
        Ids of the batch.
    x : Tensor, shape (n, channel, y, x)
        What the network was shown of them.
    """
    bad = ~torch.isfinite(x).flatten(1).all(dim=1).cpu().numpy()
    inputs = f"no, not those of patch {_listed(patch[bad])}" if bad.any() else "yes"
    return L4SError(
        "the loss of the U-Net, or its gradient step after step, is not finite",
        where=where,
        found=f"loss {loss:g}; inputs finite: {inputs}; batch: patch {_listed(patch)}",
        fix="data check tells which values of the patches are not finite"
        if bad.any()
        else "lower unet.lr, or set unet.precision=float32",
    )


def _listed(patch: NDArray[np.int64]) -> str:
    text = ", ".join(str(i) for i in patch[:_SHOWN])
    return text if len(patch) <= _SHOWN else f"{text} and {len(patch) - _SHOWN} more"
