"""How far a network looks: where the gradient of one logit has its energy.

The effective receptive field is smaller than what a network could see (Luo, Li, Urtasun and Zemel
2016, arXiv:1701.04128). Here: of the logit in the middle of a tile, the squared gradient with
respect to the standardised inputs, summed over channels, as a share of all of it.

The summary's ``receptive_field`` is a dict::

    tiles           tiles that are averaged
    pixel_m         size of a pixel, metres
    radius_50_px, radius_90_px      radius that holds so much of the energy
    radius_px, share    the whole curve: share of the energy within a radius
    reach_px        as far as the window allows to look: the middle of its nearest edge
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.unet.explaining.attribution import mean_logit
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet

TILES = 24


def receptive_field(
    tiles: TileSet,
    fold: ArrayLike,
    predictors: Sequence[Predictor],
    *,
    most: int = TILES,
) -> dict[str, Any]:
    """Measure how far the networks of all folds look, on tiles that they did not see.

    Parameters
    ----------
    tiles : TileSet
        On the device.
    fold : array_like of int, shape (tile,)
    predictors : sequence of Predictor
        Of each fold.
    most : int
        Tiles to look at; spread evenly over each fold's.

    Returns
    -------
    dict
        See the module. A tile whose logit does not depend on its input is left out.
    """
    of_fold, size = np.asarray(fold), tiles.counts.shape[-1]
    centre = size // 2
    energy: dict[int, float] = {}
    seen, reach = 0, 0
    each = max(1, most // len(predictors))
    for k, predictor in enumerate(predictors):
        own = np.flatnonzero(of_fold == k)
        own = own[np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).astype(int))]
        for part in np.split(own, range(8, len(own), 8)):
            if not len(part):
                continue
            index = torch.from_numpy(np.ascontiguousarray(part)).to(tiles.counts.device)
            x = predictor.inputs(tiles, index).clone().requires_grad_()
            told = mean_logit(predictor, size)(x)[:, centre, centre].sum()
            (slope,) = torch.autograd.grad(told, x)
            of_tile = slope.double().square().sum(dim=1).cpu().numpy()
            middle = (x.shape[-1] - size) // 2 + centre
            away = np.arange(x.shape[-1]) - middle
            radius = np.ceil(np.hypot(away[:, None], away)).astype(int).ravel()
            reach = int(min(middle, x.shape[-1] - 1 - middle))
            for one in of_tile:
                whole = float(one.sum())
                if not whole > 0:
                    continue
                seen += 1
                for r, share in enumerate(np.bincount(radius, weights=one.ravel()) / whole):
                    energy[r] = energy.get(r, 0.0) + float(share)
    within = np.cumsum([energy.get(r, 0.0) for r in range(max(energy, default=-1) + 1)])
    within = within / max(seen, 1)
    return {
        "tiles": seen,
        "pixel_m": tiles.sensor.pixel_m,
        "radius_50_px": _radius(within, 0.5),
        "radius_90_px": _radius(within, 0.9),
        "radius_px": list(range(len(within))),
        "share": [float(v) for v in within],
        "reach_px": reach,
    }


def _radius(within: NDArray[np.float64], share: float) -> float | None:
    """Radius that holds a share, between whole ones as on a straight line."""
    if not len(within):
        return None
    return float(np.interp(share, within, np.arange(len(within))))
