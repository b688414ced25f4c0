"""One pass over out-of-fold tiles: whole landslides, uncertainty of errors, agreement of models."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from l4s_ensemble.metrics.error_auc import BINS, error_histogram
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.objects import SIZE_PX, ObjectCounts, labelled, size_of
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.landslides import Place, TileObjects, count_objects, join, tile_objects
from l4s_ensemble.stack.threshold import remove_small
from l4s_ensemble.stack.uncertainty import summarise_uncertainty, uncertainty

AGREEMENT = ("both_right", "only_pixel", "only_unet", "both_wrong")
"""Which base model is right about a pixel."""

TASK_TILES = 64
"""Tiles that one task of a process counts."""


class _Counts(NamedTuple):
    """Of some tiles: landslides, `error_histogram`, pixels by `AGREEMENT`, of all and of parts."""

    objects: list[TileObjects]
    errors: NDArray[np.int64]
    agreement: NDArray[np.int64]
    of_parts: NDArray[np.int64]


def diagnose(
    pixel: Any,
    unet: Any,
    y: Any,
    final: Any,
    thresholds: Mapping[str, float],
    place: Place,
    *,
    smallest_px: int = 0,
    jobs: int = 1,
) -> tuple[dict[str, ObjectCounts], dict[str, Any]]:
    """Count whole landslides, and pixels by which base models are right.

    Parameters
    ----------
    pixel, unet, y : array, shape (tile, y, x)
        Out-of-fold logits and reference masks, of numpy, zarr or xarray.
    final : array, shape (tile, y, x)
        Calibrated out-of-fold probabilities of the stack.
    thresholds : mapping of str to float
        Of each model.
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row and column of the tiles; see `l4s_ensemble.scenes.landslides.join`.
    smallest_px : int
        Smallest landslide that the stack keeps.
    jobs : int
        Processes.

    Returns
    -------
    objects : dict of str to ObjectCounts
        Whole landslides by model.
    summary : dict
        ``uncertainty``; ``agreement``: pixels that are landslide or that either base model
        predicts so, by `AGREEMENT`; ``agreement_by_size``: the same of reference landslides.
    """
    batches = gen_batches(pixel.shape[0], TASK_TILES)
    tasks = [(pixel, unet, y, final, at, dict(thresholds), smallest_px) for at in batches]
    parts = list(in_processes(_count, tasks, jobs))
    objects = [tile for part in parts for tile in part.objects]
    whole = join([tile.reference for tile in objects], place)
    by_size = np.zeros((len(SIZE_PX) - 1, 5), np.int64)
    np.add.at(by_size[:, 0], size_of(whole.pixels), 1)
    of_parts = np.concatenate([part.of_parts for part in parts])
    np.add.at(by_size[:, 1:], size_of(whole.pixels[whole.number - 1]), of_parts)
    sizes = []
    for (low, high), row in zip(pairwise(SIZE_PX), by_size.tolist(), strict=True):
        bounds = {"low_px": int(low), "high_px": None if np.isinf(high) else int(high) - 1}
        sizes.append({**bounds, **dict(zip(("landslides", *AGREEMENT), row, strict=True))})
    agreement = np.sum([part.agreement for part in parts], axis=0).tolist()
    return count_objects(objects, place), {
        "uncertainty": summarise_uncertainty(np.sum([part.errors for part in parts], axis=0)),
        "agreement": dict(zip(AGREEMENT, agreement, strict=True)),
        "agreement_by_size": sizes,
    }


def _count(
    pixel: Any,
    unet: Any,
    y: Any,
    final: Any,
    at: slice,
    thresholds: Mapping[str, float],
    smallest_px: int,
) -> _Counts:
    objects, of_parts = [], []
    errors, agreement = np.zeros((4, BINS), np.int64), np.zeros(len(AGREEMENT), np.int64)
    scores = (np.asarray(a[at], dtype=np.float32) for a in (pixel, unet, final))
    for p, u, probability, mask in zip(*scores, np.asarray(y[at]), strict=True):
        reference = mask == 1
        maps = {"pixel": sigmoid(p), "unet": sigmoid(u), "mean": sigmoid((p + u) / 2)}
        # In float64, as thresholds are: a bin's edge in float32 may lie on its other side.
        predicted = {m: q.astype(np.float64) >= thresholds[m] for m, q in maps.items()}
        stack = probability >= np.float32(thresholds["stack"])
        predicted["stack"] = remove_small(stack, smallest_px)
        objects.append(tile_objects(reference, predicted))
        unsure = uncertainty(probability, thresholds["stack"])
        errors += error_histogram(unsure, reference, predicted["stack"])
        kind = 2 * (predicted["pixel"] != reference) + (predicted["unet"] != reference)
        at_stake = reference | predicted["pixel"] | predicted["unet"]
        agreement += np.bincount(kind[at_stake], minlength=len(AGREEMENT))
        labels, area = labelled(reference)
        of_parts.append(np.zeros((len(area), len(AGREEMENT)), np.int64))
        np.add.at(of_parts[-1], (labels[reference] - 1, kind[reference]), 1)
    return _Counts(objects, errors, agreement, np.concatenate(of_parts))
