"""Landslides mapped out of fold, found and false, in words.

The summary's ``slides`` is a list, the largest found landslides first, then the largest false
ones; a landslide is what touches (8-connected) within a tile::

    kind                'found' (at least half of its pixels are landslide) or 'false' (none is)
    patch, fold         its tile, and the fold whose model is explained: it did not see the tile
    pixels, area_m2     its size
    box                 first and last row and column, pixels
    true_share          share of its pixels that are landslide
    probability         mean over its pixels
    logit               mean over the explained pixels
    expected            where the sum of contributions starts, see `shap`
    sentence, words, features
                        see `slide_words.reason`
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shap import Ground
from l4s_ensemble.pixel.slide_words import reason
from l4s_ensemble.run.scores import ScoreFile

EACH = 6
"""Landslides of a kind."""
PIXELS = 30
"""Most pixels of a landslide that are explained: their mean is known to a fifth of their spread."""

_STREAM = 1709


def explained_landslides(
    model: PixelModel,
    source: FeatureSource,
    ground: Ground,
    scores: ScoreFile,
    fold: NDArray[np.int64],
    masks: NDArray[np.uint8],
    threshold: float,
) -> list[dict[str, Any]]:
    """Find the largest landslides of each kind and explain them; see the module.

    Parameters
    ----------
    scores : ScoreFile
        Out-of-fold logits.
    fold : int64 array, shape (tile,)
        Fold of each tile of `scores`.
    masks : uint8 array, shape (tile, y, x)
    threshold : float
        Of probability.
    """
    found: list[tuple[int, int, int, float]] = []  # pixels, tile, label, true share
    for block in scores.blocks():
        for tile, logit in enumerate(scores.read(block), start=block.start):
            labels = _mapped(logit, threshold)
            sizes = np.bincount(labels.ravel())[1:]
            true = np.bincount(labels.ravel(), weights=masks[tile].ravel(), minlength=1)[1:]
            found += [
                (int(n), tile, i, float(hit / n))
                for i, (n, hit) in enumerate(zip(sizes, true, strict=True), start=1)
            ]
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    kinds = {
        "found": [one for one in found if one[3] >= 0.5],
        "false": [one for one in found if one[3] == 0],
    }
    rows = []
    largest = [(kind, *one) for kind, some in kinds.items() for one in some[:EACH]]
    for kind, pixels, tile, number, true_share in largest:
        patch = int(scores.patch[tile])
        logit = scores.read(slice(tile, tile + 1))[0]
        labels = _mapped(logit, threshold)
        y, x = find_objects(labels)[number - 1]
        inside = np.flatnonzero(labels == number)
        rng = np.random.default_rng([model.seed, _STREAM, patch, number])
        some = np.sort(rng.permutation(inside)[:PIXELS])
        cube = source.tiles(source.positions([patch]))[0]
        values = np.ascontiguousarray(cube.reshape(len(cube), -1)[:, some].T)
        added, expected = ground.contributions(model, int(fold[tile]), values)
        rows.append(
            {
                "kind": kind,
                "patch": patch,
                "fold": int(fold[tile]),
                "pixels": pixels,
                "area_m2": pixels * model.sensor.pixel_m**2,
                "true_share": true_share,
                "box": [y.start, y.stop - 1, x.start, x.stop - 1],
                "probability": float(sigmoid(logit.ravel()[inside]).mean(dtype=np.float64)),
                **reason(model, ground, values, added.mean(axis=0), expected),
            }
        )
    return rows


def _mapped(logit: NDArray[np.float32], threshold: float) -> NDArray[np.int32]:
    """Number the landslides of a tile from 1 on; 0 elsewhere."""
    labels: NDArray[np.int32] = label(sigmoid(logit) >= threshold, structure=np.ones((3, 3)))[0]
    return labels
