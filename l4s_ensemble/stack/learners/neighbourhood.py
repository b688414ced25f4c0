"""What the trees see of a pixel: both logits there, around it, and in its whole tile.

Names say what raising a logit at the pixel itself may do. Inputs in `rises` can only rise with it.
All that describes the surroundings leaves the pixel out, so that it does not move at all; only
the quantiles of a tile have the pixel among their thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from l4s_ensemble.stack.inputs import Image, Seen

MODELS = ("pixel", "unet")
QUANTILES = (0.5, 0.9, 0.99)
"""Of a tile's logits."""

TERRAIN = ("slope_deg", "relief_m")


def names(windows_px: Sequence[int], terrain: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the inputs, in the order of `compute`.

    Parameters
    ----------
    windows_px : sequence of int
        Edges of the neighbourhoods, pixels.
    terrain : sequence of str
        Which of `TERRAIN` the sensor has.
    """
    out = ["logit_pixel", "logit_unet", "lower_logit", "higher_logit"]
    for w in windows_px:
        out += [f"{what}{w}_{m}" for what in ("around", "spread", "min", "max") for m in MODELS]
        out.append(f"apart{w}")
    out += [f"tile_q{round(100 * q)}_{m}" for m in MODELS for q in QUANTILES]
    return (*out, *terrain)


def rises(name: str) -> bool:
    """Whether an input can only rise with the logits at the pixel, and so may only raise."""
    return name.startswith(("logit_", "lower_", "higher_", "min", "max"))


def terrain_of(seen: Seen) -> tuple[str, ...]:
    """Which of `TERRAIN` is known."""
    return tuple(name for name in TERRAIN if getattr(seen, name) is not None)


def compute(
    seen: Seen, windows_px: Sequence[int], terrain: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Inputs of one tile.

    Returns
    -------
    float32 array, shape (input, y, x)
        ``around`` and ``spread`` are mean and standard deviation over the window without the
        pixel, ``apart`` the mean difference |pixel − unet| there. Windows end at the tile's rim.
    """
    both = seen.clipped()
    layers: list[Image] = [*both, np.minimum(*both), np.maximum(*both)]
    difference = np.abs(both[0] - both[1])
    for w in windows_px:
        count = _others(both[0].shape, w)
        around = [_sum_of_others(a, w) / count for a in both]
        squares = [_sum_of_others(a * a, w) / count for a in both]
        layers += around
        layers += [np.sqrt(np.maximum(s - m * m, 0)) for s, m in zip(squares, around, strict=True)]
        layers += [ndimage.minimum_filter(a, w, mode="nearest") for a in both]
        layers += [ndimage.maximum_filter(a, w, mode="nearest") for a in both]
        layers.append(_sum_of_others(difference, w) / count)
    for a in both:
        layers += [np.full(a.shape, q, np.float32) for q in np.quantile(a, QUANTILES)]
    layers += [np.asarray(getattr(seen, name), np.float32) for name in terrain]
    return np.stack(layers).astype(np.float32, copy=False)


def _sum_of_others(a: Image, edge: int) -> Image:
    whole = ndimage.uniform_filter(a, edge, mode="constant") * np.float32(edge * edge)
    return np.asarray(whole - a, dtype=np.float32)


@lru_cache(maxsize=16)
def _others(shape: tuple[int, ...], edge: int) -> NDArray[np.float32]:
    """Pixels of each window that lie in the tile, without the one in the middle."""
    counted = ndimage.uniform_filter(np.ones(shape, np.float64), edge, mode="constant")
    return np.asarray(np.maximum(np.round(counted * edge * edge) - 1, 1), dtype=np.float32)
