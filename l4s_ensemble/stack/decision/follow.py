"""A threshold that follows a place whose scores are unlike those of training.

Where another share of landslides explains the scores of a place, its probabilities keep their
meaning, and the threshold stays. Where no share does, the probabilities mean nothing and only
their order is left: the threshold moves to where the same share of pixels is predicted landslide
as in training. That supposes that about as much of the place is landslide as in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_middles
from l4s_ensemble.metrics.reliability import fit_isotonic

Array = NDArray[np.float64]

FEWEST_PIXELS = 65_536
"""Four tiles: below, the scores of a place are those of a landslide or two."""

FLOOR = 0.05
"""Probabilities below count as one: whether a hopeless pixel scores .001 or .01 moves no threshold,
yet nine pixels in ten are such, and the estimated prior would follow them."""

FARTHEST = 0.05
"""Largest distance (Kolmogorov-Smirnov) of a scene's scores to a mixture of training's. Parts of
one scene are within .02 of each other; a network that met a scene it had never seen, at .09, had
scores there that no prior explains."""

PRIOR_FACTOR = 8.0
"""A prior that many times above or below training's is not believed."""

_ROUNDS = 1000


@dataclass(frozen=True)
class Followed:
    """The threshold of one place and how it came about.

    Attributes
    ----------
    carried, threshold : float
        The threshold of training and the one to use.
    prior_training, prior_here : float
        Share of landslide pixels in training, and as estimated here.
    distance : float
        Of the scores here to the mixture of both classes' training scores that explains them best,
        Kolmogorov-Smirnov.
    kept_because : str or None
        Why the threshold was not moved.
    """

    carried: float
    threshold: float
    prior_training: float
    prior_here: float
    distance: float
    kept_because: str | None


def follow(reference: ScoreHistogram, pixels: ArrayLike, threshold: float) -> Followed:
    """Threshold for a place, from its scores.

    Parameters
    ----------
    reference : ScoreHistogram
        Out-of-fold probabilities of training, by class.
    pixels : array_like of int, shape (bins,)
        Pixels of the place by bin of probability, the same bins.
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
            found=here.shape, allowed=reference.positive.shape,
        )  # fmt: skip
    training = reference.positive + reference.negative
    floored = ScoreHistogram(_floored(reference.positive), _floored(reference.negative))
    prior = float(reference.positive.sum() / max(training.sum(), 1))
    if here.sum() < FEWEST_PIXELS or not 0 < prior < 1:
        why = "too few pixels" if 0 < prior < 1 else "training has one class only"
        return Followed(threshold, threshold, prior, prior, 0.0, why)
    p = fit_isotonic(floored)(bin_middles(reference.bins))
    new = shifted_prior(_floored(here), p, prior)
    distance = mixture_distance(floored, _floored(here), new)
    if prior / PRIOR_FACTOR <= new <= prior * PRIOR_FACTOR and distance <= FARTHEST:
        why = "scores like those of training"
        return Followed(threshold, threshold, prior, new, distance, why)
    share = float(training[round(threshold * reference.bins) :].sum() / training.sum())
    moved = _threshold_of_share(here, share, threshold)
    return Followed(threshold, moved, prior, new, distance, None)


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
        Decaestecker 2002, Neural Computation 14, equation 2.9). Between 1e-6 and 1 - 1e-6.
    """
    there = pixels > 0
    n, p = pixels[there], probability[there]
    total = n.sum()
    found = prior
    for _ in range(_ROUNDS):
        mean = float((n * corrected(p, prior, found)).sum() / total)
        new = min(max(mean, 1e-6), 1 - 1e-6)
        if abs(new - found) < 1e-7 * found:
            return new
        found = new
    return found


def corrected(probability: Array, prior: float, new: float) -> Array:
    """Probabilities under another prior (Saerens et al. 2002, equation 2.4)."""
    up = probability * (new / prior)
    down = (1 - probability) * ((1 - new) / (1 - prior))
    return np.asarray(up / (up + down))


def mixture_distance(reference: ScoreHistogram, pixels: NDArray[Any], prior: float) -> float:
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
