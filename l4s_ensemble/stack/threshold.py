"""Threshold of a scene, and the smallest landslide that is kept.

Where another share of landslides explains the scores of a scene, its probabilities keep their
meaning, and the threshold stays. Where no share does, only the order of the scores is left: the
threshold moves to where the same share of pixels is predicted landslide as in training, which
supposes that about as much of the scene is landslide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.bootstrap import score_interval
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_middles
from l4s_ensemble.metrics.objects import labelled
from l4s_ensemble.metrics.reliability import fit_isotonic

Array = NDArray[np.float64]

FEWEST_PIXELS = 65_536
"""Four tiles: below, the scores of a scene are those of a landslide or two."""

FLOOR = 0.05
"""Probabilities below count as one: whether a hopeless pixel scores .001 or .01 moves no threshold,
yet nine pixels in ten are such, and the estimated prior would follow them."""

FARTHEST = 0.05
"""Largest distance (Kolmogorov-Smirnov) of a scene's scores to a mixture of training's. Parts of
one scene are within .02 of each other; a network that met a scene it had never seen, at .09, had
scores there that no prior explains."""

PRIOR_FACTOR = 8.0
"""A prior that many times above or below training's is not believed."""

SIZES_PX = (0, 4, 8, 16, 32, 64)
"""Smallest landslides to choose from, pixels; 0 keeps all."""

_ROUNDS = 1000


@dataclass(frozen=True)
class SceneThreshold:
    """The threshold of one scene and how it came about.

    `distance` (Kolmogorov-Smirnov) is that of the scores here to the mixture of both classes'
    training scores that explains them best.
    """

    carried: float  # the threshold of training
    threshold: float  # the one to use
    prior_training: float  # share of landslide pixels in training
    prior_here: float  # as estimated here
    distance: float
    kept_because: str | None  # why the threshold was not moved


def scene_threshold(
    reference: ScoreHistogram, pixels: ArrayLike, threshold: float
) -> SceneThreshold:
    """Threshold for a scene, from its scores.

    Parameters
    ----------
    reference : ScoreHistogram
        Out-of-fold probabilities of training, by class.
    pixels : array_like of int, shape (bins,)
        Pixels of the scene by bin of probability, the same bins.
    threshold : float
        The one chosen in training.

    Raises
    ------
    ModelError
        If the bins are others.
    """
    here = np.asarray(pixels, dtype=np.int64)
    if here.shape != reference.positive.shape:
        raise ModelError(
            "scores are counted in other bins than in training",
            found=here.shape,
            allowed=reference.positive.shape,
        )
    training = reference.positive + reference.negative
    prior = float(reference.positive.sum() / max(training.sum(), 1))
    if here.sum() < FEWEST_PIXELS or not 0 < prior < 1:
        why = "too few pixels" if 0 < prior < 1 else "training has one class only"
        return SceneThreshold(threshold, threshold, prior, prior, 0.0, why)
    floored = ScoreHistogram(_floored(reference.positive), _floored(reference.negative))
    p = fit_isotonic(floored)(bin_middles(reference.bins))
    new = shifted_prior(_floored(here), p, prior)
    distance = _mixture_distance(floored, _floored(here), new)
    if prior / PRIOR_FACTOR <= new <= prior * PRIOR_FACTOR and distance <= FARTHEST:
        why = "scores like those of training"
        return SceneThreshold(threshold, threshold, prior, new, distance, why)
    share = float(training[round(threshold * reference.bins) :].sum() / training.sum())
    moved = _threshold_of_share(here, share, threshold)
    return SceneThreshold(threshold, moved, prior, new, distance, None)


def shifted_prior(pixels: NDArray[Any], probability: Array, prior: float) -> float:
    """Estimate a scene's share of landslide pixels by expectation-maximisation.

    Parameters
    ----------
    pixels : float array, shape (bins,)
    probability : float array, shape (bins,)
        Of landslide, calibrated where the share of landslides is `prior`.
    prior : float

    Returns
    -------
    float
        The prior at which the corrected probabilities' mean is that prior (Saerens, Latinne and
        Decaestecker 2002, Neural Computation 14, equations 2.4 and 2.9). Between 1e-6 and
        1 - 1e-6.
    """
    there = pixels > 0
    n, p = pixels[there], probability[there]
    found = prior
    for _ in range(_ROUNDS):
        up = p * (found / prior)
        down = (1 - p) * ((1 - found) / (1 - prior))
        new = min(max(float((n * (up / (up + down))).sum() / n.sum()), 1e-6), 1 - 1e-6)
        if abs(new - found) < 1e-7 * found:
            return new
        found = new
    return found


def lost_at(histogram: ScoreHistogram, threshold: float, factor: float) -> float | None:
    """F1 that a threshold loses against the best one where landslides are so many times as common.

    The scores of each class are taken to stay as they are; landslide pixels are weighted so that
    their share becomes the wanted one. None where there is one class only, or no other pixel
    would be left.
    """
    positive, negative = float(histogram.positive.sum()), float(histogram.negative.sum())
    now = positive / max(positive + negative, 1)
    wanted = factor * now
    if not 0 < now < 1 or not 0 < wanted < 1:
        return None
    weight = wanted * (1 - now) / (now * (1 - wanted))
    tp = weight * histogram.positive[::-1].cumsum()[::-1]
    fp = histogram.negative[::-1].cumsum()[::-1]
    f1 = 2 * tp / (weight * positive + tp + fp)
    return float(f1.max() - f1[min(round(threshold * histogram.bins), histogram.bins - 1)])


def remove_small(mask: NDArray[np.bool_], smallest_px: int) -> NDArray[np.bool_]:
    """Remove landslides (8-connected) below a size from a mask (y, x)."""
    if smallest_px <= 1 or not mask.any():
        return mask
    labels, area = labelled(mask)
    return np.asarray(np.append(False, area >= smallest_px)[labels])


def choose_smallest(
    masks: Iterable[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    groups: ArrayLike,
    blocks: ArrayLike,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Choose the smallest landslide that is kept, under cross-fitting over the folds.

    Each fold is cleaned at the size that is best on the other folds; the difference to no cleaning
    is the gain that is claimed. A size is kept where the interval of that gain is above zero.

    Parameters
    ----------
    masks : iterable of tuple of bool array, shape (y, x)
        Predicted and reference mask of each tile, out of fold and at the threshold.
    groups, blocks : array_like of int, shape (tile,)
        Fold and spatial block of each tile.

    Returns
    -------
    dict
        ``smallest_px`` (0 where no size is shown to help), ``gain, low, high, blocks, reason``
        (why nothing is removed, or None).
    """
    of_fold = np.asarray(groups)
    counts = np.stack([_counts_by_size(predicted, reference) for predicted, reference in masks])
    if len(np.unique(of_fold)) < 2:
        none = dict.fromkeys(("gain", "low", "high", "blocks"))
        return {**none, "smallest_px": 0, "reason": "there is one fold only"}
    crossed = counts[:, 0].copy()
    for k in np.unique(of_fold):
        scored = of_fold == k
        crossed[scored] = counts[scored, _best_size(counts[~scored])]
    found = score_interval(
        lambda sums: _f1(sums[..., :3]) - _f1(sums[..., 3:]),
        np.concatenate([crossed, counts[:, 0]], axis=1),
        blocks,
        seed=seed,
    )
    best = SIZES_PX[_best_size(counts)]
    shown = found.is_above_zero and best > 0
    return {
        "smallest_px": best if shown else 0,
        "gain": found.value,
        "low": found.low,
        "high": found.high,
        "blocks": found.blocks,
        "reason": None if shown else "removing small landslides is not shown to help",
    }


def _mixture_distance(reference: ScoreHistogram, pixels: NDArray[Any], prior: float) -> float:
    """Distance of scores to a mixture of both classes' training scores (Kolmogorov-Smirnov)."""
    yes = np.cumsum(reference.positive / max(float(reference.positive.sum()), 1))
    no = np.cumsum(reference.negative / max(float(reference.negative.sum()), 1))
    here = np.cumsum(pixels / max(pixels.sum(), 1))
    return float(np.abs(here - (prior * yes + (1 - prior) * no)).max())


def _threshold_of_share(pixels: NDArray[Any], share: float, threshold: float) -> float:
    """The threshold, of those with the nearest share, that is nearest to the carried one."""
    predicted = pixels[::-1].cumsum()[::-1] / pixels.sum()
    off = np.abs(predicted - share)
    near = np.flatnonzero(off <= off.min() + 1e-12)
    found = float(near[np.argmin(np.abs(near - threshold * len(pixels)))]) / len(pixels)
    return min(max(found, 1e-3), 1 - 1e-3)


def _floored(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels below `FLOOR` put into the first bin."""
    out = pixels.copy()
    low = round(FLOOR * len(out))
    out[0] = pixels[: max(low, 1)].sum()
    out[1:low] = 0
    return out


def _counts_by_size(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """True positive, false positive and false negative pixels at each size, shape (size, 3)."""
    labels, area = labelled(predicted)
    hit = np.bincount(labels[reference], minlength=len(area) + 1)[1:]
    keep = area >= np.array(SIZES_PX)[:, np.newaxis]
    tp = keep @ hit
    return np.stack([tp, keep @ area - tp, int(reference.sum()) - tp], axis=1).astype(np.int64)


def _best_size(counts: NDArray[np.int64]) -> int:
    """Position of the size with the best pooled F1; the smaller of equals."""
    return int(np.argmax(_f1(counts.sum(axis=0))))


def _f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of true positives, false positives and false negatives, shape (..., 3)."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    return np.asarray(2 * tp / np.maximum(2 * tp + fp + fn, 1))
