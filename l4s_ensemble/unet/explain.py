"""Occlusion: loss of F1 on held-out tiles when groups of bands are hidden from the network.

A group of bands is hidden by its mean, which is 0 after standardisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import count, f1_pooled
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.unet.inputs.tileset import TileSet
from l4s_ensemble.unet.predictor import Predictor
from l4s_ensemble.unet.summary import GroupLoss, Occlusion

AT_ONCE = 8
"""Tiles at once: what fits the caches of a CPU, and enough for a GPU that has little to do."""

LANDSLIDE_SHARE = 0.75
"""Share of the drawn tiles that have a landslide, where there are so many."""

ALL_SPECTRAL = "all spectral bands"

GROUPS = {
    "visible": ("B2", "B3", "B4"),
    "red edge": ("B5", "B6", "B7"),
    "near infrared": ("B8", "B8A"),
    "shortwave infrared": ("B11", "B12"),
    "aerosol, vapour, cirrus": ("B1", "B9", "B10"),
}
"""Spectral bands of like wavelength. Any other band is a group by itself."""

_STREAM = 2801


def channel_groups(channels: Sequence[str], sensor: Sensor) -> dict[str, list[int]]:
    """Group the channels of a network: spectral bands by wavelength, all of them, the others.

    Where all spectral bands are of one group, as in true colour, each is a group.

    Returns
    -------
    dict of str to list of int
        Positions among the channels, by the name of the group. `ALL_SPECTRAL` holds other groups.
    """
    of_band = {band: name for name, bands in GROUPS.items() for band in bands}
    spectral = [i for i, channel in enumerate(channels) if channel in sensor.spectral]
    several = len({of_band.get(channels[i], channels[i]) for i in spectral}) > 1
    groups: dict[str, list[int]] = {}
    for i, channel in enumerate(channels):
        groups.setdefault(of_band.get(channel, channel) if several else channel, []).append(i)
    if sum(at[0] in spectral for at in groups.values()) > 1:
        groups[ALL_SPECTRAL] = spectral
    return groups


def draw_tiles(has_landslide: ArrayLike, most: int, seed: int) -> NDArray[np.int64]:
    """Draw at most so many tiles, `LANDSLIDE_SHARE` of them with a landslide: sorted positions."""
    landslide = np.asarray(has_landslide, bool)
    most = min(most, len(landslide))
    rng = np.random.default_rng([seed, _STREAM])
    with_, without = (rng.permutation(np.flatnonzero(landslide == kind)) for kind in (True, False))
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
) -> Occlusion:
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
    """
    assert tiles.mask is not None
    of_fold, reference = np.asarray(fold), tiles.mask.bool().cpu().numpy()
    channels = predictors[0].normalisation.channels
    groups = channel_groups(channels, tiles.sensor)
    predicted = np.empty((len(groups) + 1, *reference.shape), bool)
    for k, predictor in enumerate(predictors):
        own = np.flatnonzero(of_fold == k)
        for part in np.split(own, range(AT_ONCE, len(own), AT_ONCE)):
            index = torch.from_numpy(np.ascontiguousarray(part)).to(tiles.counts.device)
            shown = predictor.normalisation.inputs(tiles, index)
            for i, x in enumerate(_hidden(shown, groups.values()) if len(part) else ()):
                probability = sigmoid(predictor.logits(x).cpu().numpy())
                predicted[i, part] = probability.astype(np.float64) >= threshold
    before, *after = (count(one, reference) for one in predicted)
    rows = []
    for (name, at), counts in zip(groups.items(), after, strict=True):
        lost = f1_gain_interval(before, counts, block, resamples=resamples, seed=seed)
        row = GroupLoss(
            group=name,
            channels=tuple(channels[i] for i in at),
            whole=name == ALL_SPECTRAL,
            f1=f1_pooled(counts),
            loss=lost.value,
            low=lost.low,
            high=lost.high,
        )
        rows.append(row)
    return Occlusion(
        tiles=len(tiles),
        landslide_tiles=int(reference.any(axis=(1, 2)).sum()),
        threshold=threshold,
        blocks=len(np.unique(np.asarray(block))),
        f1=f1_pooled(before),
        groups=tuple(sorted(rows, key=lambda row: -row.loss)),
    )


def _hidden(shown: torch.Tensor, groups: Iterable[list[int]]) -> Iterator[torch.Tensor]:
    """Inputs as they are, then with each group at its mean."""
    yield shown
    for at in groups:
        hidden = shown.clone()
        hidden[:, at] = 0.0
        yield hidden
