"""What the meta-learner sees: both logits and their neighbourhoods.

Everything here exists at prediction exactly as it does out-of-fold: one pixel model's logit map
and one U-Net's logit map of the same tile. Raw bands are not among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LIMIT = 12.0
"""Logits are clipped to ±12 (a probability of 6e-6): beyond, a difference says nothing."""


def names(windows_px: Sequence[int]) -> tuple[str, ...]:
    """Names of the inputs, in the order of `compute`."""
    around = [f"mean{w}_logit_{m}" for w in windows_px for m in ("pixel", "unet")]
    return (
        "logit_pixel",
        "logit_unet",
        "lower_logit",
        *around,
    )


def compute(
    logit_pixel: NDArray[np.floating], logit_unet: NDArray[np.floating], windows_px: Sequence[int]
) -> NDArray[np.float32]:
    """Inputs of one tile.

    Parameters
    ----------
    logit_pixel, logit_unet : array, shape (y, x)
        Natural log-odds of landslide.
    windows_px : sequence of int
        Edges of the square means, pixels; the border is reflected.

    Returns
    -------
    float32 array, shape (input, y, x)
        ``lower_logit`` is the smaller of the two: both must agree for it to be high.
    """
    p = np.clip(np.asarray(logit_pixel, np.float32), -LIMIT, LIMIT)
    u = np.clip(np.asarray(logit_unet, np.float32), -LIMIT, LIMIT)
    layers = [p, u, np.minimum(p, u)]
    for w in windows_px:
        layers += [ndimage.uniform_filter(a, w, mode="reflect") for a in (p, u)]
    return np.stack(layers).astype(np.float32, copy=False)
