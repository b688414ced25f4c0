"""Predicted landslides, explained by contributions of their pixels.

A landslide is explained by some of its pixels, drawn at random, whose features are kept. See
`landslide_words.reason` for what is said of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.blocks import TileFeatures, blocks_of, rows_of_block
from l4s_ensemble.pixel.landslide_words import reason
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shap import Ground
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.landslides import Outlines, find_outlines, parts_of

PIXELS = 30
"""Most pixels of a landslide that are explained: their mean is known to a fifth of their spread."""

EACH = 6
"""Landslides of a kind that are explained out of fold."""

_STREAM = 2203


def draw_of_parts(mask: NDArray[np.uint8], patch: int, *, seed: int) -> NDArray[np.int64]:
    """Draw the pixels of a tile (row by row) that explain landslides: `PIXELS` of each part.

    Whatever other tiles a landslide lies in, `draw_pixels` draws from its pixels among these.
    """
    labels = parts_of(mask)[0].ravel()
    inside = np.flatnonzero(labels)
    lowest = _lowest(labels[inside], _keys(patch, labels.size, seed)[inside])
    return np.sort(inside[lowest])


def draw_pixels(
    outlines: Outlines,
    numbers: Sequence[int],
    folds: int,
    patch: NDArray[np.int64],
    *,
    seed: int,
    known: Mapping[int, NDArray[np.int64]] | None = None,
) -> NDArray[np.int64]:
    """Draw pixels of some landslides, and give each pixel to the classifier of one fold.

    The folds take turns: a landslide of fewer pixels than `folds` is drawn from more than once.

    Parameters
    ----------
    outlines : Outlines
    numbers : sequence of int
        Of the landslides.
    folds : int
    patch : int64 array, shape (tile,)
        Ids of the tiles; with `seed` they decide what is drawn.
    seed : int
    known : mapping of int to int64 array, optional
        Pixels to draw from, by the tile's id; all without it.

    Returns
    -------
    int64 array, shape (draw, 4)
        Number of the landslide, position of the tile, pixel in it (row by row), fold; sorted by
        tile.
    """
    found, keys = [np.zeros((0, 3), np.int64)], [np.zeros(0)]
    for tile in outlines.with_objects():
        labels, own = outlines.labels(tile).ravel(), int(patch[tile])
        inside = np.flatnonzero(labels) if known is None else known.get(own, np.zeros(0, np.int64))
        inside = inside[np.isin(labels[inside], numbers)]
        found.append(np.column_stack([labels[inside], np.full(len(inside), tile), inside]))
        keys.append(_keys(own, labels.size, seed)[inside])
    pixels, key = np.concatenate(found), np.concatenate(keys)
    lowest = _lowest(pixels[:, 0], key)
    pixels, drawn = pixels[lowest], [np.zeros((0, 4), np.int64)]
    for some in np.split(pixels, np.flatnonzero(np.diff(pixels[:, 0])) + 1):
        if len(some):
            turn = np.arange(max(len(some), folds))
            drawn.append(np.column_stack([some[turn % len(some)], turn % folds]))
    rows = np.concatenate(drawn)
    return rows[np.argsort(rows[:, 1], kind="stable")]


def _keys(patch: int, pixels: int, seed: int) -> NDArray[np.float64]:
    """Random number of each pixel of a tile: the lowest of a landslide are a draw from it."""
    return np.random.default_rng([seed, _STREAM, patch]).random(pixels)


def _lowest(number: NDArray[np.int64], key: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the `PIXELS` lowest keys of each number, by number and key."""
    order = np.lexsort((key, number))
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return np.asarray(order[rank < PIXELS], np.int64)


def features_of_draws(
    source: TileFeatures, patch: NDArray[np.int64], drawn: NDArray[np.int64], jobs: int
) -> NDArray[np.float32]:
    """Compute the features of pixels that `draw_pixels` drew, float32 (draw, feature)."""
    if not len(drawn):
        return np.zeros((0, 0), np.float32)
    tiles = np.unique(drawn[:, 1])
    at, own = source.positions(patch[tiles]), [drawn[drawn[:, 1] == tile, 2] for tile in tiles]
    tasks = [(source, at[b], own[b]) for b in blocks_of(len(tiles))]
    made = track(in_processes(rows_of_block, tasks, jobs), "pixel: reasons", len(tasks))
    return np.concatenate(list(made))


def explain_landslides(
    model: PixelModel,
    ground: Ground,
    drawn: NDArray[np.int64],
    values: NDArray[np.float32],
    *,
    jobs: int = 1,
) -> dict[int, dict[str, Any]]:
    """Explain landslides by the mean over their drawn pixels.

    Parameters
    ----------
    model : PixelModel
    ground : Ground
    drawn : int64 array, shape (draw, 4)
        See `draw_pixels`.
    values : float32 array, shape (draw, feature)
        Their features.
    jobs : int

    Returns
    -------
    dict of int to dict
        See `landslide_words.reason`, by the number of the landslide.
    """
    if not len(drawn):
        return {}
    added, expected = ground.contributions(model, values, drawn[:, 3], jobs=jobs)
    reasons = {}
    for number in np.unique(drawn[:, 0]).tolist():
        of = drawn[:, 0] == number
        means = added[of].mean(axis=0), float(expected[of].mean())
        reasons[number] = reason(model.plan, ground.typical, values[of], *means)
    return reasons


def landslides_out_of_fold(
    source: FeatureSource,
    model: PixelModel,
    ground: Ground,
    scores: ScoreFile,
    fold: NDArray[np.int64],
    masks: NDArray[np.uint8],
    threshold: float,
    *,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Explain the largest landslides that are mapped out of fold, found and false.

    A landslide is what touches (8-connected) within a tile. It is explained by the classifier that
    was not fitted on its tile.

    Parameters
    ----------
    source : FeatureSource
        As the logits were made from it.
    model, ground
        See `explain_landslides`.
    scores : ScoreFile
        Out-of-fold logits.
    fold : int64 array, shape (tile,)
        Fold of each tile of `scores`.
    masks : uint8 array, shape (tile, y, x)
        Reference.
    threshold : float
        Of probability.
    jobs : int

    Returns
    -------
    list of dict
        Fields of `l4s_ensemble.pixel.summary.LandslideOutOfFold`; the largest found ones first,
        then the largest false ones.
    """
    mapped = np.concatenate([sigmoid(scores.read(b)) >= threshold for b in scores.blocks()])
    alone = np.full(len(mapped), -1)
    outlines = find_outlines(lambda i: mapped[i].astype(np.uint8), len(mapped), (alone,) * 3)
    true = sum_over(outlines, lambda tile: masks[tile]) / outlines.pixels
    kinds = {"found": true >= 0.5, "false": true == 0}
    chosen = [(k, int(i)) for k, own in kinds.items() for i in np.flatnonzero(own)[:EACH] + 1]
    numbers = [number for _, number in chosen]
    drawn = draw_pixels(outlines, numbers, 1, scores.patch, seed=model.seed)
    drawn[:, 3] = fold[drawn[:, 1]]
    values = features_of_draws(source, scores.patch, drawn, jobs)
    reasons = explain_landslides(model, ground, drawn, values, jobs=jobs)
    rows = []
    for kind, number in chosen:
        tile = int(drawn[drawn[:, 0] == number][0, 1])
        y, x = np.nonzero(outlines.labels(tile) == number)
        p = sigmoid(scores.read(slice(tile, tile + 1))[0][y, x])
        rows.append(
            {
                "kind": kind,
                "patch": int(scores.patch[tile]),
                "fold": int(fold[tile]),
                "pixels": len(y),
                "area_m2": len(y) * model.sensor.pixel_m**2,
                "true_share": float(true[number - 1]),
                "box": [int(i) for i in (y.min(), y.max(), x.min(), x.max())],
                "probability": float(p.mean(dtype=np.float64)),
                **reasons[number],
            }
        )
    return rows


def sum_over(
    outlines: Outlines, image: Callable[[int], NDArray[np.generic]]
) -> NDArray[np.float64]:
    """Sum an image (y, x) of each tile over the pixels of each landslide, shape (landslide,)."""
    total = np.zeros(len(outlines) + 1)
    for tile in outlines.with_objects():
        labels = outlines.labels(tile).ravel()
        total += np.bincount(labels, weights=image(tile).ravel(), minlength=len(total))
    return total[1:]


def found_by(row: Mapping[str, Any], threshold: Mapping[str, float]) -> dict[str, Any]:
    """Describe which model found a landslide that the pixel classifier alone would not map.

    Parameters
    ----------
    row : mapping
        ``mean_probability_pixel`` and ``mean_probability_unet``: mean over the landslide.
    threshold : mapping
        Of ``pixel`` and ``unet`` alone.

    Returns
    -------
    dict
        Another ``sentence``, and no ``words`` and ``features``, for its reason; nothing where the
        pixel classifier would map it.
    """
    pixel, unet = (row[f"mean_probability_{name}"] for name in ("pixel", "unet"))
    if pixel >= threshold["pixel"]:
        return {}
    sentence = f"found by the U-Net; the pixel classifier gives p={pixel:.2f}"
    if unet < threshold["unet"]:
        sentence = (
            f"found by neither model alone: the U-Net gives p={unet:.2f}, the pixel classifier "
            f"p={pixel:.2f}"
        )
    return {"sentence": sentence, "words": [], "features": []}
