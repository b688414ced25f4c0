"""What a network looks at: the F1 that it loses on unseen tiles when bands are hidden from it.

A stage of its own: what it measures changes no model and no score. A group of bands is hidden by
its mean, which is 0 after standardisation. The first network of each fold answers, with one look at
a tile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import count, f1_pooled
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.unet.hardware import choose
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.model import UNetModel

TILES = 48
"""Most tiles that are drawn."""

AT_ONCE = 8
"""Tiles at once: what fits the caches of a CPU, and enough for a GPU that has little to do."""

LANDSLIDE_SHARE = 0.75
"""Share of the drawn tiles that have a landslide, where there are so many."""

ALL_SPECTRAL = "all spectral bands"

GROUPS = (
    ("visible", ("B2", "B3", "B4")),
    ("red edge", ("B5", "B6", "B7")),
    ("near infrared", ("B8", "B8A")),
    ("shortwave infrared", ("B11", "B12")),
    ("aerosol, vapour, cirrus", ("B1", "B9", "B10")),
)
"""Spectral bands of like wavelength. Any other band is a group by itself."""

_STREAM = 2801


@dataclass(frozen=True)
class Group:
    """Channels that are hidden together.

    Attributes
    ----------
    name : str
    at : tuple of int
        Positions among the network's channels.
    whole : bool
        Whether it holds other groups, as all spectral bands together do.
    """

    name: str
    at: tuple[int, ...]
    whole: bool = False


def stage(ctx: StageContext) -> Summary:
    """Measure what each group of bands is worth to the networks of a run.

    Returns
    -------
    dict
        ``occlusion`` (see `occlusion`) and ``seconds``.
    """
    from l4s_ensemble.data.store import open_store, positions_of
    from l4s_ensemble.scenes.folds import load_folds

    started = time.monotonic()
    hardware = choose(ctx.device, ctx.config.unet.precision, ctx.jobs)
    folds = load_folds(ctx.input("scenes"))
    model, fitted = UNetModel.load(ctx.input("unet")), ctx.input("unet") / "summary.json"
    ids = np.sort(folds.fit_ids).astype(np.int64)
    dataset = open_store(ctx.input("data/train"))
    slide = dataset["mask"].any(("y", "x")).values[positions_of(dataset, ids)]
    predictors = [Predictor(members[0], hardware, tta=False) for members in model.folds]
    chosen = draw_tiles(slide, TILES, ctx.config.seed)
    tiles = load(dataset, positions_of(dataset, ids[chosen])).to(hardware.device)
    found = occlusion(
        tiles, folds.of(ids[chosen], "fold"), predictors,
        float(read_json(fitted)["oof"]["threshold"]), folds.of(ids[chosen], "block"),
        seed=ctx.config.seed,
    )  # fmt: skip
    return {"occlusion": found, "seconds": time.monotonic() - started}


def channel_groups(channels: Sequence[str], sensor: Sensor) -> tuple[Group, ...]:
    """Group the channels of a network: spectral bands by wavelength, all of them, the others.

    Where all spectral bands are of one group, as in true colour, each is a group.

    Parameters
    ----------
    channels : sequence of str
        Bands that the network is shown.
    sensor : Sensor
        Of the tiles.
    """
    of_band = {band: name for name, bands in GROUPS for band in bands}
    found: dict[str, list[int]] = {}
    several = len({of_band.get(c, c) for c in channels if c in sensor.spectral}) > 1
    for i, channel in enumerate(channels):
        name = of_band.get(channel, channel) if several else channel
        found.setdefault(name, []).append(i)
    groups = [Group(name, tuple(at)) for name, at in found.items()]
    spectral = tuple(i for i, channel in enumerate(channels) if channel in sensor.spectral)
    if sum(g.at[0] in spectral for g in groups) > 1:
        groups.append(Group(ALL_SPECTRAL, spectral, whole=True))
    return tuple(groups)


def draw_tiles(has_landslide: ArrayLike, most: int, seed: int) -> NDArray[np.int64]:
    """Draw tiles, `LANDSLIDE_SHARE` of them with a landslide.

    Parameters
    ----------
    has_landslide : array_like of bool, shape (tile,)
    most : int
    seed : int

    Returns
    -------
    int64 array
        Positions, sorted; all of them where there are no more than `most`.
    """
    slide = np.asarray(has_landslide, bool)
    most = min(most, len(slide))
    rng = np.random.default_rng([seed, _STREAM])
    with_, without = (rng.permutation(np.flatnonzero(slide == kind)) for kind in (True, False))
    wanted = min(len(with_), max(round(LANDSLIDE_SHARE * most), most - len(without)))
    return np.sort(np.concatenate([with_[:wanted], without[: most - wanted]]))


def occlusion(
    tiles: TileSet,
    fold: ArrayLike,
    predictors: Sequence[Predictor],
    threshold: float,
    block: ArrayLike,
    *,
    seed: int,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Measure the F1 that is lost when each group of channels is hidden.

    Parameters
    ----------
    tiles : TileSet
        With masks, on the device.
    fold : array_like of int, shape (tile,)
        Fold that holds each tile out: its networks judge the tile.
    predictors : sequence of Predictor
        Of each fold.
    threshold : float
        Of probability.
    block : array_like, shape (tile,)
        Spatial blocks for the intervals.
    seed : int
    resamples : int

    Returns
    -------
    dict
        ``tiles, landslide_tiles, threshold, blocks``, ``f1`` with nothing hidden, and ``groups``,
        the dearest first: ``group, channels, whole, f1, loss, low, high``, where loss is F1 before
        minus after with its paired interval (None where blocks are few). A draw that favours
        landslides has a higher F1 than all tiles: only losses are to be compared.

    Raises
    ------
    ValueError
        If the tiles have no masks.
    """
    if tiles.mask is None:
        raise ValueError("occlusion needs masks")
    of_fold, reference = np.asarray(fold), tiles.mask.bool().cpu().numpy()
    channels = predictors[0].normalisation.channels
    groups = channel_groups(channels, tiles.sensor)
    predicted = np.empty((len(groups) + 1, *reference.shape), bool)
    for k, predictor in enumerate(predictors):
        own = np.flatnonzero(of_fold == k)
        for part in np.split(own, range(AT_ONCE, len(own), AT_ONCE)):
            index = torch.from_numpy(np.ascontiguousarray(part)).to(tiles.counts.device)
            shown = predictor.normalisation.inputs(tiles, index)
            for i, x in enumerate(_hidden(shown, groups) if len(part) else ()):
                probability = sigmoid(predictor.logits(x).cpu().numpy())
                predicted[i, part] = probability.astype(np.float64) >= threshold
    before, *after = (count(one, reference) for one in predicted)
    rows = []
    for group, counts in zip(groups, after, strict=True):
        lost = f1_gain_interval(before, counts, block, resamples=resamples, seed=seed)
        rows.append(
            {
                "group": group.name, "channels": [channels[i] for i in group.at],
                "whole": group.whole, "f1": f1_pooled(counts), "loss": lost.value,
                "low": lost.low, "high": lost.high,
            }
        )  # fmt: skip
    return {
        "tiles": len(tiles),
        "landslide_tiles": int(reference.any(axis=(1, 2)).sum()),
        "threshold": threshold,
        "blocks": len(np.unique(np.asarray(block))),
        "f1": f1_pooled(before),
        "groups": sorted(rows, key=lambda r: -r["loss"]),
    }


def _hidden(shown: torch.Tensor, groups: Sequence[Group]) -> Iterator[torch.Tensor]:
    """Inputs as they are, then with each group at its mean."""
    yield shown
    for group in groups:
        hidden = shown.clone()
        hidden[:, list(group.at)] = 0.0
        yield hidden
