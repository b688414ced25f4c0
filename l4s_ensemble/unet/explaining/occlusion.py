"""What F1 loses on unseen tiles when a network is not shown some of its channels.

A group of channels is hidden in two ways: by its mean, which is 0 after standardisation (no tile
looks so, but nothing false is said), or by the channel of another tile (each value is a common
one, but says something false). A group that costs little either way is not needed; one that only
costs when swapped is believed where it speaks, and can be done without.

The summary's ``occlusion`` is a dict::

    tiles, landslide_tiles  tiles drawn, and those of them with a landslide
    networks                networks of a fold whose mean logit counts
    threshold               of probability
    f1                      of these tiles, nothing hidden, each tile seen in one position only
    blocks                  spatial blocks that intervals resample
    groups                  list of {group, channels, whole, mean, swap}; `whole` groups hold
                            others. mean and swap: {f1, loss, low, high}, loss = F1 before - after
                            with its paired interval (None where blocks are few)

The draw favours tiles with landslides, so its F1 is higher than that of all tiles: only losses
are to be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.unet.explaining.channel_groups import ChannelGroup, channel_groups
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet

TILES = 120
"""Most tiles that are drawn; half a minute for our network on two cores."""

TILES_LARGE = 40
"""The same for a network of more than `LARGE` values."""

LARGE = 5_000_000

AT_ONCE = 8
"""Tiles at once: what fits the caches of a CPU, and enough for a GPU that has little to do."""

LANDSLIDE_SHARE = 0.75
"""Share of the drawn tiles that have a landslide, where there are so many."""

WAYS = ("mean", "swap")

Bool = NDArray[np.bool_]

_STREAM = 2801


@dataclass
class _Tally:
    """Counts of drawn tiles, one row a tile: tp, fp, fn, tn."""

    rows: NDArray[np.int64]

    def put(
        self, at: NDArray[np.int64], called: NDArray[np.bool_], truth: NDArray[np.bool_]
    ) -> None:
        for column, hit in enumerate(
            (called & truth, called & ~truth, ~called & truth, ~called & ~truth)
        ):
            self.rows[at, column] = hit.sum(axis=(1, 2))

    def counts(self) -> Counts:
        return Counts(*self.rows.T)


def draw_tiles(
    has_landslide: ArrayLike, fold: ArrayLike, most: int, seed: int
) -> NDArray[np.int64]:
    """Draw tiles, the same share of every fold, `LANDSLIDE_SHARE` of them with a landslide.

    Parameters
    ----------
    has_landslide : array_like of bool, shape (tile,)
    fold : array_like of int, shape (tile,)
    most : int
    seed : int

    Returns
    -------
    int64 array
        Positions, sorted; all of them where there are no more than `most`.
    """
    slide, of_fold = np.asarray(has_landslide, bool), np.asarray(fold)
    if len(slide) <= most:
        return np.arange(len(slide))
    rng = np.random.default_rng([seed, _STREAM])
    wanted = min(int(slide.sum()), max(round(LANDSLIDE_SHARE * most), most - int((~slide).sum())))
    chosen = []
    for kind, count in ((True, wanted), (False, most - wanted)):
        pool = rng.permutation(np.flatnonzero(slide == kind))
        # Rank within the fold, as a share of it: taking the lowest takes alike of all folds.
        rank = np.empty(len(pool))
        for k in np.unique(of_fold[pool]):
            own = of_fold[pool] == k
            rank[own] = (np.arange(own.sum()) + 0.5) / own.sum()
        chosen.append(pool[np.argsort(rank, kind="stable")[:count]])
    return np.sort(np.concatenate(chosen))


def occlusion(
    tiles: TileSet,
    fold: ArrayLike,
    predictors: Sequence[Predictor],
    threshold: float,
    block: ArrayLike,
    *,
    seed: int,
    most: int | None = None,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Measure what each group of channels is worth.

    Parameters
    ----------
    tiles : TileSet
        Scored tiles with masks, on the device.
    fold : array_like of int, shape (tile,)
        Fold that holds each tile out: its networks judge the tile.
    predictors : sequence of Predictor
        Of each fold; without averages over symmetries, which multiply the time.
    threshold : float
        Of probability.
    block : array_like, shape (tile,)
        Spatial blocks for the intervals.
    seed : int
    most : int, optional
        Tiles to draw; by default as many as a minute allows.
    resamples : int

    Returns
    -------
    dict
        See the module.

    Raises
    ------
    ValueError
        If the tiles have no masks.
    """
    if tiles.mask is None:
        raise ValueError("occlusion needs masks")
    slide = tiles.mask.flatten(1).any(dim=1).cpu().numpy()
    of_fold, blocks = np.asarray(fold), np.asarray(block)
    channels = predictors[0].normalisation.channels
    chosen = draw_tiles(slide, of_fold, affordable(predictors) if most is None else most, seed)
    groups = channel_groups(channels, tiles.sensor)
    # Nobody gets his own channel: a turn of the shuffled list by one leaves no place alone.
    order = np.random.default_rng([seed, _STREAM, 1]).permutation(len(chosen))
    donor = np.empty(len(chosen), np.int64)
    donor[order] = chosen[np.roll(order, 1)]
    tallies = {key: _Tally(np.zeros((len(chosen), 4), np.int64)) for key in _keys(groups)}
    for k, predictor in enumerate(predictors):
        own = np.flatnonzero(of_fold[chosen] == k)
        for part in np.split(own, range(AT_ONCE, len(own), AT_ONCE)):
            if len(part):
                _score(
                    tiles, chosen[part], donor[part], predictor, groups, threshold, tallies, part
                )
    before = tallies["", ""].counts()
    drawn = blocks[chosen]
    told: list[dict[str, Any]] = []
    for group in groups:
        row: dict[str, Any] = {
            "group": group.name,
            "channels": [channels[i] for i in group.at],
            "whole": group.whole,
        }
        for way in WAYS:
            after = tallies[group.name, way].counts()
            lost = f1_gain_interval(before, after, drawn, resamples=resamples, seed=seed)
            row[way] = {
                "f1": f1_pooled(after), "loss": lost.value, "low": lost.low, "high": lost.high,
            }  # fmt: skip
        told.append(row)
    return {
        "tiles": len(chosen),
        "landslide_tiles": int(slide[chosen].sum()),
        "networks": len(predictors[0].networks),
        "threshold": threshold,
        "f1": f1_pooled(before),
        "blocks": len(np.unique(drawn)),
        "groups": sorted(told, key=lambda r: -r["mean"]["loss"]),
    }


def _score(
    tiles: TileSet,
    index: NDArray[np.int64],
    donor: NDArray[np.int64],
    predictor: Predictor,
    groups: Sequence[ChannelGroup],
    threshold: float,
    tallies: dict[tuple[str, str], _Tally],
    rows: NDArray[np.int64],
) -> None:
    """Count a batch of tiles, nothing hidden and each group hidden in each way."""
    device = tiles.counts.device
    here, there = (torch.from_numpy(np.ascontiguousarray(i)).to(device) for i in (index, donor))
    if tiles.mask is None:
        raise ValueError("occlusion needs masks")
    truth = tiles.mask[here].bool().cpu().numpy()
    size = truth.shape[-1]
    shown, other = predictor.inputs(tiles, here), predictor.inputs(tiles, there)
    for key, x in _variants(shown, other, groups):
        probability = sigmoid(middle(predictor.logits(x), size).float().cpu().numpy())
        tallies[key].put(rows, probability.astype(np.float64) >= threshold, truth)


def _variants(
    shown: torch.Tensor, other: torch.Tensor, groups: Sequence[ChannelGroup]
) -> Iterable[tuple[tuple[str, str], torch.Tensor]]:
    yield ("", ""), shown
    for group in groups:
        at = list(group.at)
        for way in WAYS:
            hidden = shown.clone()
            hidden[:, at] = 0.0 if way == "mean" else other[:, at]
            yield (group.name, way), hidden


def middle(values: torch.Tensor, size_px: int) -> torch.Tensor:
    """Middle of the last two axes: the tile within its window."""
    first = [(n - size_px) // 2 for n in values.shape[-2:]]
    return values[..., first[0] : first[0] + size_px, first[1] : first[1] + size_px]


def _keys(groups: Sequence[ChannelGroup]) -> list[tuple[str, str]]:
    return [("", ""), *((g.name, way) for g in groups for way in WAYS)]


def affordable(predictors: Sequence[Predictor]) -> int:
    """Tiles that a minute allows."""
    most = TILES_LARGE if is_large(predictors[0]) else TILES
    return max(TILES_LARGE // 2, most // len(predictors[0].networks))


def is_large(predictor: Predictor) -> bool:
    """Whether a network has more than `LARGE` values: less is then measured."""
    return sum(p.numel() for p in predictor.network.parameters()) > LARGE
