"""A threshold that follows a scene: from the scores of its tiles, without their masks.

All on histograms of probability. A method says where it would cut the scene's scores and where the
training scores; the difference, in log-odds, is added to the threshold that was chosen. So a scene
whose scores are those of training moves nothing, whatever a method's own bias.

========== ====================================================================================
method     where it cuts
========== ====================================================================================
em         at the best expected F1, after the prior of the scene was estimated from its scores
           by expectation-maximisation (Saerens, Latinne and Decaestecker 2002, Neural
           Computation 14) and each probability corrected for it
expected   at the best expected F1 of the probabilities as they are (Jansche 2007, ACL; Lipton,
           Elkan and Narayanaswamy 2014, arXiv:1402.1892)
quantile   such that the same share of pixels is called as in training
share      likewise, that share multiplied by mean probability here over that in training
shrunk     half way, in log-odds, from the threshold of training to that of ``em``
unlike     as ``quantile``, but only where the scene's scores are unlike those of training: there
           its probabilities mean nothing, and their order is all there is to go by
========== ====================================================================================

A scene's threshold is not moved, and the answer says why, where there are too few pixels, where a
mixture of the training scores of both classes cannot make up the scene's scores, or where the
scene's prior is out of all proportion. No move is longer than `LONGEST`. With ``unlike`` it is the
other way round: scores that such a mixture explains keep the threshold, others move it as far as it
takes. It supposes that about as much of the scene is landslide as in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_middles
from l4s_ensemble.metrics.reliability import fit_isotonic

Array = NDArray[np.float64]

METHODS = ("em", "expected", "quantile", "share", "shrunk", "unlike")

FEWEST_PIXELS = 65_536
"""Four tiles: below, a scene's scores are those of a slide or two."""

LONGEST = 1.1
"""Longest move in log-odds: odds change threefold at most."""

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
    """The threshold of one scene and how it came about.

    Attributes
    ----------
    method : str
    carried, threshold : float
        The threshold of training and the one to use.
    cut_here, cut_training : float or None
        Where the method would cut either.
    prior_training, prior_here : float
        Share of landslide pixels in training, and as estimated here by ``em``.
    distance : float
        Of the scene's scores to the mixture that ``em`` found, Kolmogorov-Smirnov.
    kept_because : str or None
        Why the threshold was not moved, or not all the way.
    """

    method: str
    carried: float
    threshold: float
    cut_here: float | None
    cut_training: float | None
    prior_training: float
    prior_here: float
    distance: float
    kept_because: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a summary."""
        return asdict(self)


def follow(
    reference: ScoreHistogram,
    pixels: ArrayLike,
    threshold: float,
    method: str,
    *,
    guarded: bool = True,
) -> Followed:
    """Threshold for a scene, from its scores.

    Parameters
    ----------
    reference : ScoreHistogram
        Out-of-fold probabilities of training, by class.
    pixels : array_like of int, shape (bins,)
        Pixels of the scene by bin of probability, the same bins.
    threshold : float
        The one chosen in training.
    method : str
        One of `METHODS`.
    guarded : bool
        Without it the threshold moves wherever the method says, to measure what the guards are
        worth.

    Raises
    ------
    ModelError
        If the method is unknown or the bins are others.
    """
    here = np.asarray(pixels, dtype=np.int64)
    if method not in METHODS:
        raise ModelError("no way to follow a scene of that name", found=method, allowed=METHODS)
    if here.shape != reference.positive.shape:
        raise ModelError(
            "scores are counted in other bins than in training",
            found=here.shape, allowed=reference.positive.shape,
        )  # fmt: skip
    whole = (here, (reference.positive + reference.negative).astype(np.float64))
    reference = ScoreHistogram(_floored(reference.positive), _floored(reference.negative))
    here = _floored(here)
    training = (reference.positive + reference.negative).astype(np.float64)
    prior = float(reference.positive.sum() / max(training.sum(), 1))
    told: dict[str, Any] = {"method": method, "carried": threshold, "prior_training": prior}
    kept: dict[str, Any] = {"threshold": threshold, "cut_here": None, "cut_training": None}
    if here.sum() < FEWEST_PIXELS or not 0 < prior < 1:
        why = "too few pixels" if 0 < prior < 1 else "training has one class only"
        return Followed(**told, **kept, prior_here=prior, distance=0.0, kept_because=why)
    p = fit_isotonic(reference)(bin_middles(reference.bins))
    new = shifted_prior(here, p, prior)
    distance = mixture_distance(reference, here, new)
    told |= {"prior_here": new, "distance": distance}
    strange_prior = not prior / PRIOR_FACTOR <= new <= prior * PRIOR_FACTOR
    strange = strange_prior or distance > FARTHEST
    if guarded and method == "unlike":
        if not strange:
            return Followed(**told, **kept, kept_because="scores like those of training")
    elif guarded and strange:
        why = "scores unlike those of training"
        if strange_prior:
            why = "a prior out of all proportion to training's"
        return Followed(**told, **kept, kept_because=why)
    if method == "unlike":  # an order has no hopeless end
        here, training = whole
    cut_here, cut_training = _CUTS[method](here, training, p, prior, new, threshold)
    move = (0.5 if method == "shrunk" else 1.0) * (_logit(cut_here) - _logit(cut_training))
    free = not guarded or method == "unlike"
    bounded = move if free else float(np.clip(move, -LONGEST, LONGEST))
    z = _logit(threshold) + bounded
    moved = round(float(1 / (1 + np.exp(-z))) * reference.bins) / reference.bins
    return Followed(
        **told, cut_here=cut_here, cut_training=cut_training,
        threshold=threshold if bounded == 0 else moved,
        kept_because=None if bounded == move else "the move was cut short",
    )  # fmt: skip


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
        The prior at which the corrected probabilities' mean is that prior (Saerens et al. 2002,
        equation 2.9). Between 1e-6 and 1 - 1e-6.
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


def expected_f1(pixels: NDArray[Any], probability: Array) -> Array:
    """Expected F1 of calling every bin from a bin on, shape (bins,).

    ``2 sum(p, called) / (called + sum(p, all))``: the expectation of numerator over that of
    denominator (Jansche 2007), which over a scene of many pixels is the expected F1.
    """
    true = pixels * probability
    called = pixels[::-1].cumsum()[::-1]
    below = called + true.sum()
    hit = true[::-1].cumsum()[::-1]
    return np.asarray(np.where(below > 0, 2 * hit / np.maximum(below, 1e-300), 0.0))


def mixture_distance(reference: ScoreHistogram, pixels: NDArray[Any], prior: float) -> float:
    """Distance of scores to a mixture of both classes' training scores (Kolmogorov-Smirnov)."""
    yes = np.cumsum(reference.positive / max(float(reference.positive.sum()), 1))
    no = np.cumsum(reference.negative / max(float(reference.negative.sum()), 1))
    here = np.cumsum(pixels / max(pixels.sum(), 1))
    return float(np.abs(here - (prior * yes + (1 - prior) * no)).max())


def _cut_expected(
    here: NDArray[Any], training: Array, p: Array, prior: float, new: float, threshold: float
) -> tuple[float, float]:
    """Best expected F1 of both, with the probabilities as they are."""
    return _best(expected_f1(here, p)), _best(expected_f1(training, p))


def _cut_em(
    here: NDArray[Any], training: Array, p: Array, prior: float, new: float, threshold: float
) -> tuple[float, float]:
    """Likewise after the correction."""
    return _best(expected_f1(here, corrected(p, prior, new))), _best(expected_f1(training, p))


def _cut_quantile(
    here: NDArray[Any], training: Array, p: Array, prior: float, new: float, threshold: float
) -> tuple[float, float]:
    """The same share called."""
    return _cut_of_share(here, _share_called(training, threshold), threshold), threshold


def _cut_share(
    here: NDArray[Any], training: Array, p: Array, prior: float, new: float, threshold: float
) -> tuple[float, float]:
    """That share times the ratio of mean probabilities."""
    ratio = (here @ p / here.sum()) / prior
    return _cut_of_share(here, ratio * _share_called(training, threshold), threshold), threshold


_CUTS: dict[
    str, Callable[[NDArray[Any], Array, Array, float, float, float], tuple[float, float]]
] = {
    "em": _cut_em,
    "expected": _cut_expected,
    "quantile": _cut_quantile,
    "share": _cut_share,
    "shrunk": _cut_em,
    "unlike": _cut_quantile,
}


def _best(f1: Array) -> float:
    return int(np.argmax(f1)) / len(f1)


def _share_called(pixels: NDArray[Any], threshold: float) -> float:
    return float(pixels[round(threshold * len(pixels)) :].sum() / pixels.sum())


def _cut_of_share(pixels: NDArray[Any], share: float, threshold: float) -> float:
    """The threshold, of those with the nearest share called, that is nearest to the carried one."""
    called = pixels[::-1].cumsum()[::-1] / pixels.sum()
    off = np.abs(called - share)
    near = np.flatnonzero(off <= off.min() + 1e-12)
    return float(near[np.argmin(np.abs(near - threshold * len(pixels)))]) / len(pixels)


def _logit(p: float) -> float:
    q = min(max(p, 1e-3), 1 - 1e-3)
    return float(np.log(q / (1 - q)))


def _floored(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels below `FLOOR` put into the first bin."""
    out = pixels.copy()
    low = round(FLOOR * len(out))
    out[0] = pixels[: max(low, 1)].sum()
    out[1:low] = 0
    return out
