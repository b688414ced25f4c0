"""A few tiles explained pixel by pixel, and the landslides mapped on them in words.

Of the tiles with at least a middling landslide, the two whose F1 is nearest to the median and the
two with the lowest are explained, each by the model that did not see it. Every second pixel in
both directions is explained; contributions are smooth enough, and it takes a quarter of the time.

``contribution_maps.npz`` holds (T tiles, G groups, h x w explained pixels)::

    patch, fold (T,)            id, and the fold whose model is explained
    kind (T,)                   'median' or 'worst'
    stride_px                   explained pixel (i, j) is pixel (i * stride_px, j * stride_px)
    groups (G,)                 names
    by_group (T, G, h, w)       float16, sum of the contributions of a group, log-odds
    expected (T,)               float32: by_group.sum(axis=1) + expected is the logit

The summary's ``slides`` is a dict::

    tiles       list: patch, kind, fold, f1, tp, fp, fn (at the threshold)
    rows        list, the twelve largest mapped landslides of these tiles, largest first:
        patch, kind
        pixels, area_m2     size of the mapped landslide (8-connected)
        y, x                its middle, pixels
        true_share          share of its pixels that are landslide
        probability, logit  means over its (explained) pixels
        expected            where the sum starts: the model's logit of the mean pixel
        sentence            for example 'bare soil +1.9, slope +0.8, but water −0.7'
        words               list of {word, log_odds, features}, largest size first, at most eight
        features            list of {name, group, log_odds, value, typical}, the five largest

Contributions are relative to the ground, see `shap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shap import Ground, in_threads
from l4s_ensemble.pixel.slide_words import reason
from l4s_ensemble.run.files import atomic_path

MAPS_FILE = "contribution_maps.npz"
STRIDE_PX = 2
TILES_A_KIND = 2
SLIDES = 12


@dataclass(frozen=True)
class ChosenTile:
    """A tile to explain.

    Attributes
    ----------
    at : int
        Position among the out-of-fold tiles.
    patch, fold : int
    kind : {'median', 'worst'}
    f1 : float
    tp, fp, fn : int
    """

    at: int
    patch: int
    fold: int
    kind: str
    f1: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True)
class ExplainedTile:
    """Contributions on one tile.

    Attributes
    ----------
    chosen : ChosenTile
    values : float32 array, shape (y, x, feature)
        Features of every `STRIDE_PX`-th pixel.
    added : float32 array, shape (y, x, feature)
        What they add to the logit, relative to the ground.
    expected : float
    """

    chosen: ChosenTile
    values: NDArray[np.float32]
    added: NDArray[np.float32]
    expected: float


def choose_tiles(
    tiles: TileHistograms, fold: NDArray[np.int64], threshold: float, each: int = TILES_A_KIND
) -> list[ChosenTile]:
    """Choose `each` tiles near the median F1 and as many of the lowest.

    Among tiles with at least as many landslide pixels as the median tile that has any: the F1 of
    a few pixels is chance.
    """
    c = tiles.counts(threshold)
    real = c.tp + c.fn
    with_slide = real > 0
    if not with_slide.any():
        return []
    pool = np.flatnonzero(with_slide & (real >= np.median(real[with_slide])))
    f1 = 2 * c.tp / np.maximum(2 * c.tp + c.fp + c.fn, 1)
    order = pool[np.lexsort((-(c.fp + c.fn)[pool], f1[pool]))]
    worst = order[:each]
    rest = order[each:]
    middle = rest[np.argsort(np.abs(f1[rest] - np.median(f1[pool])), kind="stable")[:each]]
    return [
        ChosenTile(
            int(i), int(tiles.patch[i]), int(fold[i]), kind, float(f1[i]), int(c.tp[i]),
            int(c.fp[i]), int(c.fn[i]),
        )
        for kind, some in (("median", middle), ("worst", worst))
        for i in some
    ]  # fmt: skip


def explain_tiles(
    model: PixelModel,
    source: FeatureSource,
    ground: Ground,
    chosen: list[ChosenTile],
    jobs: int = 1,
) -> list[ExplainedTile]:
    """Explain every `STRIDE_PX`-th pixel of the chosen tiles."""
    # One tile after the other: a source's memory is its own, not for several threads.
    cubes = [
        source.tiles(source.positions([tile.patch]))[0, :, ::STRIDE_PX, ::STRIDE_PX]
        for tile in chosen
    ]
    values = [np.ascontiguousarray(np.moveaxis(cube, 0, -1)) for cube in cubes]
    tasks = [
        (model, tile.fold, v.reshape(-1, v.shape[-1]))
        for tile, v in zip(chosen, values, strict=True)
    ]
    found = in_threads(ground.contributions, tasks, jobs)
    return [
        ExplainedTile(tile, v, added.astype(np.float32).reshape(v.shape), expected)
        for tile, v, (added, expected) in zip(chosen, values, found, strict=True)
    ]


def save_maps(path: Path, model: PixelModel, tiles: list[ExplainedTile]) -> None:
    """Write ``contribution_maps.npz`` atomically; see the module."""
    groups = list(dict.fromkeys(model.groups))
    own = np.array([[g == f for f in model.groups] for g in groups], dtype=np.float32)
    by_group = np.array([np.moveaxis(tile.added @ own.T, -1, 0) for tile in tiles])
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            patch=np.array([t.chosen.patch for t in tiles], np.int64),
            fold=np.array([t.chosen.fold for t in tiles], np.int64),
            kind=np.array([t.chosen.kind for t in tiles], str),
            stride_px=np.array(STRIDE_PX),
            groups=np.array(groups),
            by_group=by_group.astype(np.float16),
            expected=np.array([t.expected for t in tiles], np.float32),
        )


def slides_of(
    model: PixelModel,
    tiles: list[ExplainedTile],
    logit: NDArray[np.float32],
    masks: NDArray[np.uint8],
    threshold: float,
    typical: NDArray[np.floating[Any]],
) -> dict[str, Any]:
    """Tell in words why the largest landslides of the explained tiles were called.

    Parameters
    ----------
    tiles : list of ExplainedTile
    logit : float32 array, shape (tile, y, x)
        Out-of-fold scores of these tiles.
    masks : uint8 array, shape (tile, y, x)
    threshold : float
        Of probability.
    typical : float array, shape (feature,)
        Value of each feature on usual ground; words call a value high or low against it.

    Returns
    -------
    dict
        See the module.
    """
    from scipy.ndimage import label

    found = []
    for n in range(len(tiles)):
        probability = sigmoid(logit[n]).astype(np.float64)
        labels, count = label(probability >= threshold, structure=np.ones((3, 3)))
        area = np.bincount(labels.ravel(), minlength=count + 1)
        sampled = np.bincount(labels[::STRIDE_PX, ::STRIDE_PX].ravel(), minlength=count + 1)
        # A slide without an explained pixel is smaller than four pixels.
        found += [(int(area[i]), n, labels == i, probability) for i in range(1, count + 1)
                  if sampled[i]]  # fmt: skip
    found.sort(key=lambda one: -one[0])
    return {
        "tiles": [
            {k: getattr(t.chosen, k) for k in ("patch", "kind", "fold", "f1", "tp", "fp", "fn")}
            for t in tiles
        ],
        "rows": [
            _slide(model, tiles[n], slide, probability, masks[n], typical)
            for _, n, slide, probability in found[:SLIDES]
        ],
    }


def _slide(
    model: PixelModel,
    tile: ExplainedTile,
    slide: NDArray[np.bool_],
    probability: NDArray[np.float64],
    mask: NDArray[np.uint8],
    typical: NDArray[np.floating[Any]],
) -> dict[str, Any]:
    some = slide[::STRIDE_PX, ::STRIDE_PX]
    added = tile.added[some].mean(axis=0, dtype=np.float64)
    value = np.median(tile.values[some], axis=0)
    y, x = (float(a.mean()) for a in np.nonzero(slide))
    pixels = int(slide.sum())
    return {
        "patch": tile.chosen.patch,
        "kind": tile.chosen.kind,
        "pixels": pixels,
        "area_m2": pixels * model.sensor.pixel_m**2,
        "y": y,
        "x": x,
        "true_share": float((mask[slide] > 0).mean()),
        "probability": float(probability[slide].mean()),
        **reason(added, tile.expected, model.features, model.groups, value, typical),
    }
