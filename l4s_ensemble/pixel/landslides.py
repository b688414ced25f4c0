"""Predicted landslides, explained by contributions of their pixels.

Contributions are exact but not free: the largest landslides are explained, each by some of its
pixels, drawn at random. See `landslide_words.reason` for what is said of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
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
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.landslides import Outlines, find_outlines

PIXELS = 30
"""Most pixels of a landslide that are explained: their mean is known to a fifth of their spread."""

EACH = 6
"""Landslides of a kind that are explained out of fold."""

_STREAM = 2203


def draw_pixels(
    outlines: Outlines, numbers: Sequence[int], folds: int, *, seed: int
) -> NDArray[np.int64]:
    """Draw pixels of some landslides, and give each pixel to the classifier of one fold.

    The folds take turns: a landslide of fewer pixels than `folds` is drawn from more than once.

    Returns
    -------
    int64 array, shape (draw, 4)
        Number of the landslide, position of the tile, pixel in it (row by row), fold; sorted by
        tile.
    """
    found = [np.zeros((0, 3), np.int64)]
    for tile in outlines.with_objects():
        labels = outlines.labels(tile).ravel()
        inside = np.flatnonzero(np.isin(labels, numbers))
        found.append(np.column_stack([labels[inside], np.full(len(inside), tile), inside]))
    pixels, drawn = np.concatenate(found), [np.zeros((0, 4), np.int64)]
    for number in numbers:
        own = pixels[pixels[:, 0] == number]
        some = own[np.random.default_rng([seed, _STREAM, number]).permutation(len(own))[:PIXELS]]
        turn = np.arange(max(len(some), folds))
        drawn.append(np.column_stack([some[turn % len(some)], turn % folds]))
    rows = np.concatenate(drawn)
    return rows[np.argsort(rows[:, 1], kind="stable")]


def explain_landslides(
    source: TileFeatures,
    model: PixelModel,
    ground: Ground,
    patch: NDArray[np.int64],
    drawn: NDArray[np.int64],
    *,
    jobs: int = 1,
) -> dict[int, dict[str, Any]]:
    """Explain landslides by the mean over their drawn pixels.

    Parameters
    ----------
    source : FeatureSource
        As the landslides' logits were made from it.
    model : PixelModel
    ground : Ground
    patch : int64 array, shape (tile,)
        Ids of the tiles that `drawn` counts.
    drawn : int64 array, shape (draw, 4)
        See `draw_pixels`.
    jobs : int

    Returns
    -------
    dict of int to dict
        See `landslide_words.reason`, by the number of the landslide.
    """
    if not len(drawn):
        return {}
    tiles = np.unique(drawn[:, 1])
    at, own = source.positions(patch[tiles]), [drawn[drawn[:, 1] == tile, 2:] for tile in tiles]
    tasks = [(source, model, ground, at[b], own[b]) for b in blocks_of(len(tiles))]
    made = track(in_processes(_explain_pixels, tasks, jobs), "pixel: reasons", len(tasks))
    values, added, expected = (np.concatenate(a) for a in zip(*made, strict=True))
    reasons = {}
    for number in np.unique(drawn[:, 0]).tolist():
        of = drawn[:, 0] == number  # draws are sorted by tile, as the blocks are
        means = added[of].mean(axis=0), float(expected[of].mean())
        reasons[number] = reason(model.plan, ground.typical, values[of], *means)
    return reasons


def _explain_pixels(
    source: TileFeatures,
    model: PixelModel,
    ground: Ground,
    positions: NDArray[np.int64],
    drawn: list[NDArray[np.int64]],
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Features of each tile's drawn ``(pixel, fold)``, what they add, and where sums start."""
    values = rows_of_block(source, positions, [own[:, 0] for own in drawn])
    fold = np.concatenate([own[:, 1] for own in drawn])
    added, expected = np.empty(values.shape), np.empty(len(values))
    for k in np.unique(fold):
        own = fold == k
        added[own], expected[own] = ground.contributions(model.folds[k], values[own])
    return values, added, expected


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
    source, model, ground
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
    drawn = draw_pixels(outlines, [number for _, number in chosen], 1, seed=model.seed)
    drawn[:, 3] = fold[drawn[:, 1]]
    reasons = explain_landslides(source, model, ground, scores.patch, drawn, jobs=jobs)
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


def found_by(probability: Mapping[str, float], threshold: Mapping[str, float]) -> dict[str, Any]:
    """Describe which model found a landslide that the pixel classifier alone would not map.

    Both mappings are of ``pixel`` and ``unet``: mean probability over the landslide, and threshold
    of each model alone. Returns another ``sentence``, and no ``words`` and ``features``, for its
    reason; nothing where the pixel classifier would map it.
    """
    p = {name: f"p={value:.2f}" for name, value in probability.items()}
    if probability["pixel"] >= threshold["pixel"]:
        return {}
    sentence = f"found by the U-Net; the pixel classifier gives {p['pixel']}"
    if probability["unet"] < threshold["unet"]:
        sentence = (
            f"found by neither model alone: the U-Net gives {p['unet']}, the pixel classifier "
        )
        sentence += p["pixel"]
    return {"sentence": sentence, "words": [], "features": []}


def reason_of(
    number: int,
    outlines: Outlines,
    drawn: NDArray[np.int64],
    mean: Mapping[str, NDArray[np.float64]],
    threshold: Mapping[str, float],
    reason: Mapping[str, Any],
) -> dict[str, Any]:
    """Row of a landslide in ``reasons.json``; the reason is empty where only the U-Net found it."""
    probability = {name: float(p[number - 1]) for name, p in mean.items()}
    return {
        "id": number,
        "pixels": int(outlines.pixels[number - 1]),
        "pixels_explained": int((drawn[:, 0] == number).sum()),
        "probability": probability,
        **reason,
        **found_by(probability, threshold),
    }


def mean_probability(outlines: Outlines, scores: Path) -> NDArray[np.float64]:
    """Mean probability of each landslide over its pixels and all folds, shape (landslide,)."""
    logit = open_scores(scores)["logit"]

    def mean(tile: int) -> NDArray[np.float64]:
        p = sigmoid(logit.isel(patch=tile).values)
        return np.asarray(p.mean(axis=0, dtype=np.float64))

    return sum_over(outlines, mean) / outlines.pixels
