"""What the meta-learner sees: both logits and their neighbourhoods.

Everything here exists at prediction exactly as it does out-of-fold: one pixel model's logit map
and one U-Net's logit map of the same tile, and the terrain where the sensor has it. Raw bands are
not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LIMIT = 12.0
"""Logits are clipped to ±12 (a probability of 6e-6): beyond, a difference says nothing."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """All that a learner may look at of one tile.

    Attributes
    ----------
    logit_pixel, logit_unet : float32 array, shape (y, x)
        Natural log-odds of landslide by each base.
    slope_deg, relief_m : float32 array, shape (y, x), optional
        None where the sensor has no such band. Relief is the range of height within
        `l4s_ensemble.stack.tiles.RELIEF_PX`.
    """

    logit_pixel: Image
    logit_unet: Image
    slope_deg: Image | None = None
    relief_m: Image | None = None

    def clipped(self) -> tuple[Image, Image]:
        """Both logits, float32 (y, x), within ±`LIMIT`."""
        p, u = (
            np.clip(np.asarray(a, np.float32), -LIMIT, LIMIT)
            for a in (self.logit_pixel, self.logit_unet)
        )
        return p, u


def names(windows_px: Sequence[int]) -> tuple[str, ...]:
    """Names of the linear learner's inputs, in the order of `compute`."""
    around = [f"mean{w}_logit_{m}" for w in windows_px for m in ("pixel", "unet")]
    return (
        "logit_pixel",
        "logit_unet",
        "lower_logit",
        *around,
    )


def compute(seen: Seen, windows_px: Sequence[int]) -> NDArray[np.float32]:
    """Inputs of one tile for a linear learner.

    Parameters
    ----------
    seen : Seen
    windows_px : sequence of int
        Edges of the square means, pixels; the border is reflected.

    Returns
    -------
    float32 array, shape (input, y, x)
        ``lower_logit`` is the smaller of the two: both must agree for it to be high.
    """
    p, u = seen.clipped()
    layers = [p, u, np.minimum(p, u)]
    for w in windows_px:
        layers += [ndimage.uniform_filter(a, w, mode="reflect") for a in (p, u)]
    return np.stack(layers).astype(np.float32, copy=False)
