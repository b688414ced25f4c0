"""Which pixels the classifier learns from, and the weights that undo the choice.

Landslides are two pixels in a hundred, and a pixel says little that its neighbour has not said.
So the sample holds many landslide pixels, other pixels close to a landslide (the rim, where the
boundary is learnt), and other pixels elsewhere, empty tiles included. Every row carries the
inverse of its chance to be drawn; with these weights a model learns the true prevalence, so that
the sigmoid of its logit means what it says.

Where a landslide ends is a matter of a pixel or two, and of who drew it. Pixels at the edge can be
left out or count half; the others of their stratum then stand for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError
from l4s_ensemble.pixel.strata import ELSEWHERE, LANDSLIDE, RIM, STRATA, edge, strata

SOFT_TRUST = 0.5
"""How much a pixel at the edge of a landslide counts where ``edge`` is soft."""

HARD_POOL = 3
"""Pixels to choose look-alikes from, for each pixel of `ELSEWHERE` that will be learnt from."""

BALANCE_MOST = 20.0
"""Most that balancing multiplies a scene's weights by: a few pixels cannot stand for a scene."""

_STREAM = 1701
"""Keeps the draws of this module apart from other users of the same seed."""


@dataclass(frozen=True)
class PixelPlan:
    """Chosen pixels, sorted by tile and then by position in the tile.

    Attributes
    ----------
    patch : int64 array, shape (row,)
        Id of the tile.
    pixel : int32 array, shape (row,)
        Position ``y * width + x``.
    stratum : uint8 array, shape (row,)
        Index into `STRATA`; 0 is the landslide class.
    weight : float64 array, shape (row,)
        Pixels of the stratum in the tile / those drawn: how many pixels the row stands for.
    tile : int64 array, shape (tile,)
        Ids of all tiles that were offered.
    available : int64 array, shape (tile, stratum)
        Pixels of each stratum in each tile.
    trust : float64 array, shape (row,), optional
        How much a row counts in training, beside what it stands for; without it all count alike.
    scene : int64 array, shape (tile,), optional
        With it, each scene has the same weight in training, within each class.
    """

    patch: NDArray[np.int64]
    pixel: NDArray[np.int32]
    stratum: NDArray[np.uint8]
    weight: NDArray[np.float64]
    tile: NDArray[np.int64]
    available: NDArray[np.int64]
    trust: NDArray[np.float64] | None = None
    scene: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.patch)

    @property
    def landslide(self) -> NDArray[np.uint8]:
        """Class of each row, 1 = landslide, shape (row,)."""
        return np.asarray(self.stratum == LANDSLIDE, dtype=np.uint8)

    def rows_of(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the rows that lie in the tiles `ids`, ascending."""
        return np.flatnonzero(np.isin(self.patch, np.asarray(ids, dtype=np.int64)))

    def take(self, rows: NDArray[np.int64], weight: NDArray[np.float64] | None = None) -> PixelPlan:
        """Keep some rows, given by ascending positions, with other weights if they are given."""
        return replace(
            self,
            patch=self.patch[rows],
            pixel=self.pixel[rows],
            stratum=self.stratum[rows],
            weight=self.weight[rows] if weight is None else weight,
            trust=None if self.trust is None else self.trust[rows],
        )

    def within(self, ids: ArrayLike) -> PixelPlan:
        """Give the plan of some tiles, as if no others had been offered."""
        offered = np.isin(self.tile, np.asarray(ids, dtype=np.int64))
        return replace(
            self.take(self.rows_of(ids)),
            tile=self.tile[offered],
            available=self.available[offered],
            scene=None if self.scene is None else self.scene[offered],
        )

    def weights_of(self, ids: ArrayLike) -> NDArray[np.float64]:
        """Weights to train with of the rows in the tiles `ids`, aligned with `rows_of`.

        Within each stratum they sum to the pixels that the stratum has in these tiles: the
        prevalence of the weighted rows is the prevalence of the tiles, fold by fold. Balanced over
        scenes, they still do so for landslide and for all that is none.

        Raises
        ------
        DataError
            If these tiles hold no landslide pixel, or nothing else.
        """
        rows = self.rows_of(ids)
        weight = self._restored(ids, rows, self.trust)
        if self.scene is None:
            return weight
        order = np.argsort(self.tile)
        at = order[np.searchsorted(self.tile, self.patch[rows], sorter=order)]
        return balanced(weight, self.stratum[rows] == LANDSLIDE, self.scene[at])

    def pixels_of(self, ids: ArrayLike) -> NDArray[np.float64]:
        """Pixels that each row in the tiles `ids` stands for, aligned with `rows_of`.

        These are weights to score with: every pixel counts alike. Raises as `weights_of` does.
        """
        return self._restored(ids, self.rows_of(ids), None)

    def _restored(
        self, ids: ArrayLike, rows: NDArray[np.int64], trust: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        wanted = np.asarray(ids, dtype=np.int64)
        stratum = self.stratum[rows]
        weight = self.weight[rows] * (1.0 if trust is None else trust[rows])
        total = self.available[np.isin(self.tile, wanted)].sum(axis=0)
        drawn = np.bincount(stratum, weights=weight, minlength=len(STRATA))
        if drawn[LANDSLIDE] == 0 or drawn[RIM:].sum() == 0:
            raise DataError(
                "the training part of a fold has pixels of one class only",
                where=f"{len(wanted)} tiles",
                found={name: int(n) for name, n in zip(STRATA, total, strict=True)},
                fix="use fewer folds or smaller blocks (scenes.folds, scenes.block_tiles), "
                "or more tiles",
            )
        # A stratum with pixels but no drawn row cannot be stood for by its own rows: the other
        # pixels without landslide stand for it.
        for s in (RIM, ELSEWHERE):
            if drawn[s] == 0:
                other = RIM + ELSEWHERE - s
                total[other] += total[s]
                total[s] = 0
        factor = np.divide(total, drawn, out=np.zeros(len(STRATA)), where=drawn > 0)
        return np.asarray(weight * factor[stratum])


def balanced(
    weight: NDArray[np.float64], landslide: ArrayLike, scene: ArrayLike
) -> NDArray[np.float64]:
    """Give each scene the same total weight within each class; the totals of classes stay.

    Parameters
    ----------
    weight : float64 array, shape (row,)
    landslide : array_like of bool, shape (row,)
    scene : array_like of int, shape (row,)

    Returns
    -------
    float64 array, shape (row,)
        A scene that would have to be multiplied by more than `BALANCE_MOST` gets that, less than
        its share; the others of the class have the rest.
    """
    out = weight.copy()
    slide = np.asarray(landslide).astype(bool)
    _, place = np.unique(np.asarray(scene), return_inverse=True)
    for own in (slide, ~slide):
        total = np.bincount(place[own], weights=weight[own], minlength=int(place.max()) + 1)
        there = total > 0
        share = total.sum() / max(int(there.sum()), 1)
        factor = np.divide(share, total, out=np.zeros(len(total)), where=there)
        factor = np.minimum(factor, BALANCE_MOST)
        out[own] *= (factor * total.sum() / max(float((factor * total).sum()), 1e-300))[place[own]]
    return out


def allocate(available: ArrayLike, total: int, power: float = 0.5) -> NDArray[np.int64]:
    """Share out draws over tiles: n pixels get about c * n ** power draws, never more than n.

    With ``power=1`` every pixel has the same chance; with ``power=0`` every tile gives the same
    number. In between, large landslides give more rows, but not in proportion: their pixels are
    alike.

    Parameters
    ----------
    available : array_like of int, shape (tile,)
    total : int
        Draws to share out; all pixels are taken when there are no more than that.

    Returns
    -------
    int64 array, shape (tile,)
        Sums to ``min(total, available.sum())``.
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


def plan_pixels(
    ids: ArrayLike,
    masks: ArrayLike,
    config: PixelConfig,
    seed: int,
    scene: ArrayLike | None = None,
) -> PixelPlan:
    """Choose the pixels to learn from.

    All landslide pixels up to ``positives_max``, and ``negatives_per_positive`` others for each,
    ``rim_share`` of them within `RIM_PX` of a landslide (at least as many as by chance), the rest
    anywhere else; `HARD_POOL` times that rest where ``hard_share`` of the negatives will be chosen
    among them. Each tile draws with a generator of its own, so the plan depends on neither the
    order of work nor its split.

    Parameters
    ----------
    ids : array_like of int, shape (tile,)
        The tiles that may be fitted on.
    masks : array_like of {0, 1}, shape (tile, y, x)
    config : PixelConfig
    seed : int
    scene : array_like of int, shape (tile,), optional
        Scene of each tile, for weights that are balanced over scenes; those below -1 (a tile that
        stands alone) count as one.

    Raises
    ------
    DataError
        If no tile has a landslide pixel.
    """
    tile = np.asarray(ids, dtype=np.int64)
    truth = np.asarray(masks)
    kinds = np.stack([strata(m) for m in truth]).reshape(len(tile), -1)
    at_edge = np.zeros_like(kinds, dtype=bool)
    if config.edge != "keep":
        at_edge = np.stack([edge(m, config.edge_px) for m in truth]).reshape(len(tile), -1)
    available = _by_stratum(kinds)
    if available[:, LANDSLIDE].sum() == 0:
        raise DataError(
            "no tile to fit on has a landslide pixel",
            where=f"{len(tile)} tiles",
            fix="check the masks (l4s-ensemble data check) and data.holdout",
        )
    barred = at_edge if config.edge == "ignore" else np.zeros_like(at_edge)
    open_to = _by_stratum(np.where(barred, len(STRATA), kinds))
    power = config.patch_power
    draws = np.zeros_like(available)
    draws[:, LANDSLIDE] = allocate(open_to[:, LANDSLIDE], config.positives_max, power)
    negatives = round(config.negatives_per_positive * int(draws[:, LANDSLIDE].sum()))
    there = available[:, RIM:].sum(axis=0)
    # Never fewer than chance would draw: a rim without rows would be learnt from afar.
    rim_share = max(config.rim_share, there[0] / max(int(there.sum()), 1))
    rim = min(round(rim_share * negatives), int(open_to[:, RIM].sum()))
    rest = (negatives - rim) * (HARD_POOL if config.hard_share > 0 else 1)
    draws[:, RIM] = allocate(open_to[:, RIM], rim, power)
    draws[:, ELSEWHERE] = allocate(open_to[:, ELSEWHERE], rest, power)
    parts = [
        _draw(int(tile[i]), kinds[i], barred[i], draws[i], available[i], seed)
        for i in range(len(tile))
    ]
    pixel, stratum, weight = (np.concatenate(a) for a in zip(*parts, strict=True))
    rows = [len(p[0]) for p in parts]
    trust = None
    if config.edge == "soft":
        trust = np.where(at_edge[np.repeat(np.arange(len(tile)), rows), pixel], SOFT_TRUST, 1.0)
    group = None
    if config.balance == "scene" and scene is not None:
        group = np.maximum(np.asarray(scene, dtype=np.int64), -1)
    return PixelPlan(
        np.repeat(tile, rows), pixel, stratum, weight, tile, available, trust, group
    )  # fmt: skip


def _by_stratum(kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each stratum in each tile, shape (tile, stratum); higher numbers are no stratum."""
    n = len(STRATA)
    return np.stack([np.bincount(k, minlength=n)[:n] for k in kinds], dtype=np.int64)


def _draw(
    patch: int,
    kind: NDArray[np.uint8],
    barred: NDArray[np.bool_],
    draws: NDArray[np.int64],
    available: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.float64]]:
    rng = np.random.default_rng([seed, _STREAM, patch])
    chosen = []
    for s, n in enumerate(draws):
        pixels = np.flatnonzero((kind == s) & ~barred)
        chosen.append(pixels if n == len(pixels) else rng.choice(pixels, int(n), replace=False))
    pixel = np.sort(np.concatenate(chosen)).astype(np.int32)
    stratum = kind[pixel]
    scale = np.divide(available, draws, out=np.zeros(len(STRATA)), where=draws > 0)
    return pixel, stratum, scale[stratum]
