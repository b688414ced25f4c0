"""Which input pixels make a network call a landslide: integrated gradients on a few tiles.

The mean logit over a region of a tile is shared out to all values that the network saw of it,
against a baseline of zeros (every channel at its mean): ``a = x * mean over t of grad f(t x)``.
Attributions sum to ``f(x) - f(0)`` (Sundararajan, Taly and Yan 2017, arXiv:1703.01365).

Of the tiles with at least a middling landslide the one whose F1 is nearest to the median and the
one with the best are explained on what they found, of all tiles the one with most false pixels on
these, and the one with most missed pixels on those.

``attribution_maps.npz`` holds (T tiles, G groups of channels)::

    patch, fold (T,)
    kind (T,)               'median', 'best', 'false' or 'missed'
    groups (G,)             names
    by_group (T, G, y, x)   float32, log-odds that a pixel adds to the mean logit of the region
    region (T, y, x)        bool, pixels whose mean logit is explained
    start, logit (T,)       float32, f(0) and f(x)

The summary's ``attribution`` is a dict::

    steps       of the integral
    tiles       list: patch, kind, fold, f1, tp, fp, fn, region_px, start, logit,
                gap (what the integral lacks to logit - start),
                groups: {group, sum, inside}: its log-odds, and the share of their size that lies
                inside the region
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.unet.explaining.channel_groups import ChannelGroup, channel_groups
from l4s_ensemble.unet.explaining.occlusion import is_large, middle
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet

STEPS = 32
"""Of the integral; a network of ReLUs leaves a gap of about one part in a hundred."""

STEPS_LARGE = 16
"""The same for a network of more than `occlusion.LARGE` values, whose passes take their time."""

AT_ONCE = 8
"""Steps in memory at once: a backward pass keeps every activation."""

FILE = "attribution_maps.npz"

Logit = Callable[[torch.Tensor], torch.Tensor]
"""From inputs (n, channel, y, x) to logits (n, y, x), differentiable."""


@dataclass(frozen=True)
class ChosenTile:
    """A tile to explain.

    Attributes
    ----------
    at : int
        Position among the scored tiles.
    kind : {'median', 'best', 'false', 'missed'}
    """

    at: int
    kind: str


def choose_tiles(counts: Counts) -> list[ChosenTile]:
    """Choose the telling tiles; fewer where there are no such, none twice."""
    real, wrong = counts.tp + counts.fn, counts.fp + counts.fn
    found = counts.tp > 0
    chosen: list[ChosenTile] = []
    if found.any():
        pool = np.flatnonzero(found & (real >= np.median(real[found])))
        f1 = 2 * counts.tp[pool] / np.maximum(2 * counts.tp[pool] + wrong[pool], 1)
        near = np.argsort(np.abs(f1 - np.median(f1)), kind="stable")
        chosen.append(ChosenTile(int(pool[near[0]]), "median"))
        chosen.append(ChosenTile(int(pool[np.argmax(f1)]), "best"))
    for kind, pixels in (("false", counts.fp), ("missed", counts.fn)):
        most = int(np.argmax(pixels))
        if pixels[most] > 0:
            chosen.append(ChosenTile(most, kind))
    seen: dict[int, ChosenTile] = {}
    for one in chosen:
        seen.setdefault(one.at, one)
    return list(seen.values())


def mean_logit(predictor: Predictor, size_px: int) -> Logit:
    """Mean logit of a fold's networks over the tile within its window, float32, differentiable."""

    def logit(x: torch.Tensor) -> torch.Tensor:
        # Gradients in bf16 are rough, and the passes are few: no autocast.
        total = torch.stack([network(x)[:, 0].float() for network in predictor.networks]).mean(
            dim=0
        )
        return middle(total, size_px)

    return logit


def integrated_gradients(
    logit: Logit, x: torch.Tensor, region: torch.Tensor, steps: int = STEPS
) -> tuple[torch.Tensor, float, float]:
    """Share out the mean logit over a region to the inputs, from a baseline of zeros.

    Parameters
    ----------
    logit : callable
    x : float32 Tensor, shape (channel, y, x)
        Standardised inputs.
    region : bool Tensor, shape (tile y, tile x)
        Pixels whose mean logit is explained.
    steps : int
        Points of the integral, in the middles of equal parts.

    Returns
    -------
    attribution : float32 Tensor, shape (channel, y, x)
        Log-odds.
    start, end : float
        Mean logit of the baseline, and of `x`: attributions sum to their difference, but for the
        error of the integral.

    Raises
    ------
    ValueError
        If the region is empty.
    """
    pixels = int(region.sum())
    if pixels == 0:
        raise ValueError("the region has no pixel")
    share = region.to(x.dtype) / pixels
    total = torch.zeros_like(x)
    along = (torch.arange(steps, device=x.device) + 0.5) / steps
    for part in torch.split(along, AT_ONCE):
        on_path = (part[:, None, None, None] * x).requires_grad_()
        told = (logit(on_path) * share).sum()
        (slope,) = torch.autograd.grad(told, on_path)
        total += slope.sum(dim=0)
    with torch.no_grad():
        ends = (logit(torch.stack([torch.zeros_like(x), x])) * share).sum(dim=(1, 2))
    return (x * total / steps).detach(), float(ends[0]), float(ends[1])


def attribution(
    tiles: TileSet,
    fold: ArrayLike,
    predictors: Sequence[Predictor],
    logit: NDArray[np.float32],
    threshold: float,
    counts: Counts,
    path: Path,
    *,
    steps: int | None = None,
) -> dict[str, Any]:
    """Explain the telling tiles and write their maps.

    Parameters
    ----------
    tiles : TileSet
        Scored tiles with masks, on the device.
    fold : array_like of int, shape (tile,)
        Fold that holds each tile out: its networks are explained.
    predictors : sequence of Predictor
        Of each fold.
    logit : float32 array, shape (tile, y, x)
        Out-of-fold scores: they say what is called.
    threshold : float
        Of probability.
    counts : Counts
        Of each tile at the threshold.
    path : Path
        File of the maps.
    steps : int, optional
        Of the integral; by default as many as the network's size allows.

    Returns
    -------
    dict
        See the module.
    """
    if tiles.mask is None:
        raise ValueError("attribution needs masks")
    of_fold, size = np.asarray(fold), logit.shape[-1]
    if steps is None:
        steps = STEPS_LARGE if is_large(predictors[0]) else STEPS
    groups = channel_groups(predictors[0].normalisation.channels, tiles.sensor, whole=False)
    rows: list[dict[str, Any]] = []
    maps, regions = [], []
    for one in choose_tiles(counts):
        truth = tiles.mask[one.at].bool().cpu().numpy()
        called = sigmoid(logit[one.at]).astype(np.float64) >= threshold
        region = {"false": called & ~truth, "missed": ~called & truth}.get(one.kind, called & truth)
        predictor = predictors[int(of_fold[one.at])]
        index = torch.tensor([one.at], device=tiles.counts.device)
        # What a predictor makes knows no gradient; a copy does.
        x = predictor.inputs(tiles, index)[0].clone()
        made, start, end = integrated_gradients(
            mean_logit(predictor, size), x, torch.from_numpy(region).to(x.device), steps
        )
        by_group = np.stack([made[list(g.at)].sum(dim=0).cpu().numpy() for g in groups])
        regions.append(region)
        maps.append(middle(torch.from_numpy(by_group), size).numpy())
        counted = {k: int(getattr(counts, k)[one.at]) for k in ("tp", "fp", "fn")}
        below = 2 * counted["tp"] + counted["fp"] + counted["fn"]
        rows.append(
            {
                "patch": int(tiles.patch[one.at]), "kind": one.kind,
                "fold": int(of_fold[one.at]), "f1": 2 * counted["tp"] / below if below else None,
                **counted, "region_px": int(region.sum()), "start": start, "logit": end,
                "gap": end - start - float(made.sum()),
                "groups": _sums(groups, by_group, maps[-1], region),
            }
        )  # fmt: skip
    _save(path, rows, groups, maps, regions, size)
    return {"steps": steps, "tiles": rows}


def _sums(
    groups: Sequence[ChannelGroup],
    by_group: NDArray[np.float32],
    shown: NDArray[np.float32],
    region: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    rows = []
    for group, whole, tile in zip(groups, by_group, shown, strict=True):
        size = float(np.abs(whole).sum())
        inside = float(np.abs(tile[region]).sum())
        rows.append(
            {
                "group": group.name,
                "sum": float(whole.sum()),
                "inside": inside / size if size > 0 else None,
            }
        )
    return rows


def _save(
    path: Path,
    rows: Sequence[dict[str, Any]],
    groups: Sequence[ChannelGroup],
    maps: Sequence[NDArray[np.float32]],
    regions: Sequence[NDArray[np.bool_]],
    size: int,
) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            patch=np.array([r["patch"] for r in rows], np.int64),
            fold=np.array([r["fold"] for r in rows], np.int64),
            kind=np.array([r["kind"] for r in rows], dtype="U8"),
            groups=np.array([g.name for g in groups]),
            by_group=np.array(maps, np.float32).reshape(len(rows), len(groups), size, size),
            region=np.array(regions, bool).reshape(len(rows), size, size),
            start=np.array([r["start"] for r in rows], np.float32),
            logit=np.array([r["logit"] for r in rows], np.float32),
        )
