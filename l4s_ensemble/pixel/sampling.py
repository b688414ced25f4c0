"""Sampling of training pixels, and weights that restore the true prevalence.

Landslides are two pixels in a hundred, and a pixel says little that its neighbour has not said.
So the sample holds many landslide pixels, other pixels close to a landslide (its boundary is
learnt there), and other pixels elsewhere, empty tiles included. Every row carries the
inverse of its chance to be drawn; with these weights a model learns the true prevalence, so that
the sigmoid of its logit means what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError

STRATA: tuple[str, ...] = ("landslide", "boundary", "elsewhere")
LANDSLIDE, BOUNDARY, ELSEWHERE = range(3)

BOUNDARY_PX = 5.0
"""Largest distance of a border pixel to the next landslide pixel, pixels."""

_STREAM = 1701
"""Keeps the draws of this module apart from other users of the same seed."""


@dataclass(frozen=True)
class PixelPlan:
    """Chosen pixels, sorted by tile and then by position in the tile."""

    # Over rows:
    patch: NDArray[np.int64]  # id of the tile
    pixel: NDArray[np.int32]  # position y * width + x
    stratum: NDArray[np.uint8]  # index into `STRATA`; 0 is the landslide class
    weight: NDArray[np.float64]  # pixels of the stratum in the tile / those drawn
    # Over all tiles that were offered:
    tile: NDArray[np.int64]  # ids
    available: NDArray[np.int64]  # pixels of each stratum, shape (tile, stratum)

    def __len__(self) -> int:
        return len(self.patch)

    @property
    def landslide(self) -> NDArray[np.uint8]:
        """Class of each row, 1 = landslide, shape (row,)."""
        return np.asarray(self.stratum == LANDSLIDE, dtype=np.uint8)

    def weights_of(self, ids: ArrayLike) -> NDArray[np.float64]:
        """Weights to fit with on the tiles `ids`, shape (row,); 0 for rows of other tiles.

        Within each stratum they sum to the pixels that the stratum has in these tiles: the
        prevalence of the weighted rows is the prevalence of the tiles, fold by fold.

        Raises
        ------
        DataError
            If these tiles hold no landslide pixel, or nothing else.
        """
        wanted = np.asarray(ids, dtype=np.int64)
        weight = np.where(np.isin(self.patch, wanted), self.weight, 0.0)
        total = self.available[np.isin(self.tile, wanted)].sum(axis=0)
        drawn = np.bincount(self.stratum, weights=weight, minlength=len(STRATA))
        if drawn[LANDSLIDE] == 0 or drawn[BOUNDARY:].sum() == 0:
            raise DataError(
                "the training part of a fold has pixels of one class only",
                where=f"{len(wanted)} tiles",
                found=dict(zip(STRATA, total.tolist(), strict=True)),
                fix="use fewer folds or smaller blocks (scenes.folds, scenes.block_tiles)",
            )
        # A stratum with pixels but no drawn row cannot be stood for by its own rows: the other
        # pixels without landslide stand for it.
        for s in (BOUNDARY, ELSEWHERE):
            if drawn[s] == 0:
                other = BOUNDARY + ELSEWHERE - s
                total[other] += total[s]
                total[s] = 0
        factor = np.divide(total, drawn, out=np.zeros(len(STRATA)), where=drawn > 0)
        return np.asarray(weight * factor[self.stratum])


def strata(mask: ArrayLike) -> NDArray[np.uint8]:
    """Stratum of every pixel of a mask (y, x), 1 = landslide: uint8 (y, x), index into `STRATA`."""
    from scipy.ndimage import distance_transform_edt

    landslide = np.asarray(mask).astype(bool)
    out = np.full(landslide.shape, ELSEWHERE, np.uint8)
    if landslide.any():
        out[distance_transform_edt(~landslide) <= BOUNDARY_PX] = BOUNDARY
        out[landslide] = LANDSLIDE
    return out


def allocate(available: ArrayLike, total: int, power: float = 0.5) -> NDArray[np.int64]:
    """Share out draws over tiles: n pixels get about c * n ** power draws, never more than n.

    With ``power=1`` every pixel has the same chance; with ``power=0`` every tile gives the same
    number. In between, large landslides give more rows, but not in proportion: their pixels are
    alike.

    `available` is the number of pixels of each tile, shape (tile,), and so is the result. It sums
    to `total`, or takes all pixels where there are no more than that.
    """
    n = np.asarray(available, dtype=np.int64)
    if total >= n.sum():
        return n.copy()
    if total <= 0:
        return np.zeros_like(n)
    wish = np.where(n > 0, np.maximum(n, 1).astype(np.float64) ** power, 0.0)
    low, high = 0.0, float(n.max())
    for _ in range(100):
        c = (low + high) / 2
        if np.minimum(n, c * wish).sum() < total:
            low = c
        else:
            high = c
    exact = np.minimum(n, high * wish)
    out = np.floor(exact).astype(np.int64)
    # The missing few go to the largest remainders; ties to the first tile.
    order = np.argsort(-(exact - out), kind="stable")
    order = order[out[order] < n[order]]
    out[order[: total - int(out.sum())]] += 1
    return out


def plan_pixels(ids: ArrayLike, masks: ArrayLike, config: PixelConfig, seed: int) -> PixelPlan:
    """Choose the pixels to learn from.

    All landslide pixels up to ``positives_max``, and ``negatives_per_positive`` others for each,
    ``boundary_share`` of them within `BOUNDARY_PX` of a landslide (at least as many as by chance),
    the rest anywhere else. Each tile draws with a generator of its own, so the plan
    depends on neither the order of work nor its split.

    Parameters
    ----------
    ids : array_like of int, shape (tile,)
        The tiles that may be fitted on.
    masks : array_like of {0, 1}, shape (tile, y, x)
    config : PixelConfig
    seed : int

    Raises
    ------
    DataError
        If no tile has a landslide pixel.
    """
    tile = np.asarray(ids, dtype=np.int64)
    kinds = np.stack([strata(m) for m in np.asarray(masks)]).reshape(len(tile), -1)
    available = np.stack([np.bincount(k, minlength=len(STRATA)) for k in kinds], dtype=np.int64)
    landslides, *others = available.sum(axis=0).tolist()
    if landslides == 0:
        raise DataError(
            "no tile to fit on has a landslide pixel",
            where=f"{len(tile)} tiles",
            fix="check the masks (l4s-ensemble data check) and data.holdout",
        )
    positives = min(landslides, config.positives_max)
    negatives = round(config.negatives_per_positive * positives)
    # Never fewer than chance would draw: a boundary without rows would be learnt from afar.
    boundary = min(
        round(max(config.boundary_share, others[0] / max(sum(others), 1)) * negatives), others[0]
    )
    totals = (positives, boundary, negatives - boundary)
    draws = np.stack(
        [
            allocate(n, total, config.patch_power)
            for n, total in zip(available.T, totals, strict=True)
        ],
        axis=1,
    )
    parts = [_draw(int(tile[i]), kinds[i], draws[i], available[i], seed) for i in range(len(tile))]
    pixel, stratum, weight = (np.concatenate(a) for a in zip(*parts, strict=True))
    patch = np.repeat(tile, draws.sum(axis=1))
    return PixelPlan(patch, pixel, stratum, weight, tile, available)


def _draw(
    patch: int,
    kind: NDArray[np.uint8],
    draws: NDArray[np.int64],
    available: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.float64]]:
    """Pixels of a tile, their strata, and how many pixels of the stratum each stands for."""
    rng = np.random.default_rng([seed, _STREAM, patch])
    chosen = []
    for s, n in enumerate(draws):
        pixels = np.flatnonzero(kind == s)
        chosen.append(pixels if n == len(pixels) else rng.choice(pixels, int(n), replace=False))
    pixel = np.sort(np.concatenate(chosen)).astype(np.int32)
    stratum = kind[pixel]
    scale = np.divide(available, draws, out=np.zeros(len(STRATA)), where=draws > 0)
    return pixel, stratum, scale[stratum]
