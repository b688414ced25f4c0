"""Meta-learners: means of both base models' logits, their weight cross-fitted over folds.

A new learner is a function in `LEARNERS` that chooses the weight; nothing else names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.bootstrap import Interval, f1_gain_interval
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index, sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import CHUNK_TILES

BASE_MODELS = ("pixel", "unet")

LIMIT = 12.0
"""Logits are clipped to ±12 (a probability of 6e-6): beyond, a difference says nothing."""

LOGIT_BINS = 240
"""Bins of each logit in a joint histogram: 0.1 wide."""

WEIGHTS = np.linspace(0, 1, 101)
"""Weights of the pixel classifier that `weigh_by_f1` tries."""

_ALL = -1
"""Key of all tiles among those of the folds."""

LEAST_GAIN = 0.02
"""Smallest gain in F1 that is worth a weight of its own. A weight that was chosen beside the
training tiles does not travel: with two folds of scene 1 it gained .014 [.009, .020] over the plain
mean out of fold, and lost .046 on scene 2 (``benchmarks/results/transfer.json``)."""

BATCH_TILES = 4 * CHUNK_TILES
"""Tiles in memory at once: whole chunks of score files."""

Joint = NDArray[np.int64]
"""Pixels by class (not landslide, landslide), bin of the pixel classifier's logit and of the
U-Net's, shape (2, LOGIT_BINS, LOGIT_BINS)."""


class Learner(BaseModel):
    """``logit = weight_pixel · pixel + (1 − weight_pixel) · unet``.

    Nothing else is fitted to a fold: an intercept or a scale of its own would shift the tiles of
    one fold against those of another. Calibration follows, one map for all. `kind` is a name in
    `LEARNERS`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    weight_pixel: float = Field(ge=0, le=1)

    def predict_proba(self, pixel: ArrayLike, unet: ArrayLike) -> NDArray[np.float32]:
        """Probability of landslide, float32 (...), from logits of both models, shape (...)."""
        from scipy.special import expit

        p, u = (np.clip(np.asarray(a, np.float32), -LIMIT, LIMIT) for a in (pixel, unet))
        weight = np.float32(self.weight_pixel)
        return np.asarray(expit(weight * p + (1 - weight) * u), dtype=np.float32)


@dataclass(frozen=True)
class OutOfFold:
    """Tiles that a stack is fitted to; of numpy, zarr or xarray: a few tiles are read at a time."""

    pixel: Any  # logits, shape (tile, y, x), as the next
    unet: Any
    y: Any  # reference masks, likewise
    fold: NDArray[np.int64]  # of each tile
    tile: NDArray[np.int64]  # ids

    def batches(
        self, label: str
    ) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
        """Positions of a few tiles, both logits and reference masks; log how far it is."""
        n = len(self.fold)
        starts = range(0, n, BATCH_TILES)
        for start in track(starts, label, len(starts)):
            at = slice(start, min(start + BATCH_TILES, n))
            pixel, unet = (np.asarray(a[at], dtype=np.float32) for a in (self.pixel, self.unet))
            yield at, pixel, unet, np.asarray(self.y[at]) == 1


def weigh_equally(_joint: Joint) -> float:
    """Half of the weight for each model."""
    return 0.5


def weigh_by_f1(joint: Joint) -> float:
    """Weight of the best pooled F1, each weight at its own best threshold.

    Parameters
    ----------
    joint : int64 array, shape (2, LOGIT_BINS, LOGIT_BINS)
        See `Joint`.

    Raises
    ------
    DataError
        If the pixels are of one class only.
    """
    pixels = joint.sum(axis=(1, 2))
    if not pixels.all():
        raise DataError(
            "the meta-learner needs pixels of both classes",
            found=f"{int(pixels[1])} landslide pixels among {int(pixels.sum())}",
            fix="give more tiles with landslides, or fewer folds",
        )
    return float(max(WEIGHTS, key=lambda weight: _histogram(joint, weight).best().f1))


LEARNERS: dict[str, Callable[[Joint], float]] = {
    "plain": weigh_equally,
    "weighted": weigh_by_f1,
}
"""Kind of learner, from the simplest, to what chooses the weight of the pixel classifier."""


def _histogram(joint: Joint, weight: float) -> ScoreHistogram:
    """Histogram of the probability of the mean with this weight of the pixel classifier."""
    width = 2 * LIMIT / LOGIT_BINS
    logit = (np.arange(LOGIT_BINS) + 0.5) * width - LIMIT
    out = ScoreHistogram.empty()
    bins = bin_index(sigmoid(weight * logit[:, None] + (1 - weight) * logit), out.bins).ravel()
    for pixels, target in zip(joint, (out.negative, out.positive), strict=True):
        target += np.bincount(bins, pixels.ravel(), out.bins).astype(np.int64)
    return out


def count_jointly(data: OutOfFold, sets: Mapping[int, NDArray[np.bool_]]) -> dict[int, Joint]:
    """Count the pixels of sets of tiles by both logits, in one pass.

    Parameters
    ----------
    data : OutOfFold
    sets : mapping of int to bool array, shape (tile,)
        Which tiles are counted in each set.
    """
    shape = (2, LOGIT_BINS, LOGIT_BINS)
    counted = {k: np.zeros(shape, np.int64) for k in sets}
    for at, *logits, masks in data.batches("stack: counting"):
        p, u = (
            np.clip((x + LIMIT) * (LOGIT_BINS / (2 * LIMIT)), 0, LOGIT_BINS - 1).astype(np.intp)
            for x in logits
        )
        cell = np.ravel_multi_index((masks.astype(np.intp), p, u), shape)
        for n, i in enumerate(range(at.start, at.stop)):
            pixels = np.bincount(cell[n].ravel(), minlength=int(np.prod(shape))).reshape(shape)
            for k, chosen in sets.items():
                if chosen[i]:
                    counted[k] += pixels
    return counted


def cross_fit(
    data: OutOfFold, kinds: Iterable[str], allowed: Mapping[int, ArrayLike] | None = None
) -> dict[str, tuple[Learner, dict[int, Learner]]]:
    """Fit learners on all folds, and for each fold on the others.

    Parameters
    ----------
    data : OutOfFold
    kinds : iterable of str
        Names in `LEARNERS`.
    allowed : mapping of int to int array, optional
        Ids of the tiles that may be fitted on to score a fold; without it, all of other folds.

    Returns
    -------
    dict of str to tuple
        The learner that was fitted on all folds, and by fold the one that scores it.
    """
    folds = [int(k) for k in np.unique(data.fold)]
    sets = {k: data.fold != k for k in folds}
    if allowed is not None:
        sets = {k: one & np.isin(data.tile, allowed[k]) for k, one in sets.items()}
    joint = count_jointly(data, {**sets, _ALL: np.ones(len(data.fold), bool)})
    found = {}
    for kind in kinds:
        fits = {k: Learner(kind=kind, weight_pixel=LEARNERS[kind](one)) for k, one in joint.items()}
        found[kind] = fits.pop(_ALL), fits
    return found


def score_learners(
    data: OutOfFold, of_fold: Mapping[str, Mapping[int, Learner]]
) -> dict[str, TileHistograms]:
    """Count probabilities of ``pixel``, ``unet``, ``mean`` (of both logits) and each learner."""
    names = ("pixel", "unet", "mean", *of_fold)
    counted = {name: TileHistograms.empty(data.tile) for name in names}
    for at, *logits, masks in data.batches("stack: scoring"):
        for i, p, u, reference in zip(range(at.start, at.stop), *logits, masks, strict=True):
            maps = {"pixel": sigmoid(p), "unet": sigmoid(u), "mean": sigmoid((p + u) / 2)}
            for kind, learners in of_fold.items():
                maps[kind] = learners[int(data.fold[i])].predict_proba(p, u)
            for name, probability in maps.items():
                counted[name].add(i, probability, reference)
    return counted


def choose_learner(
    histograms: Mapping[str, TileHistograms], blocks: ArrayLike, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Choose the simplest learner whose F1 is not shown to be `LEAST_GAIN` below the best one's.

    Each is scored at its own best pooled threshold. A paired gain is shown where it is `LEAST_GAIN`
    or more and its interval over spatial blocks, if there is one, is above zero. The choice is made
    on the tiles that are scored: the chosen one's score is slightly optimistic.

    Parameters
    ----------
    histograms : mapping of str to TileHistograms
        Over the same tiles: of the kinds to choose from, and of other models, which are compared
        and never chosen.
    blocks : array_like, shape (tile,)
        Spatial blocks.

    Returns
    -------
    list of dict
        Other models, then kinds from the simplest: ``name, f1``, ``behind`` (the best kind's gain
        over this one: ``over, value, low, high, shown``), ``chosen, why``.
    """
    kinds = [kind for kind in LEARNERS if kind in histograms]
    order = [*(name for name in histograms if name not in kinds), *kinds]
    best_of = {name: histograms[name].pooled().best() for name in order}
    counts = {name: histograms[name].counts(best_of[name].value) for name in order}

    best = max(kinds, key=lambda name: best_of[name].f1)
    behind = {}
    for name in order:
        gain = f1_gain_interval(counts[best], counts[name], blocks, seed=seed)
        bounds = {"value": gain.value, "low": gain.low, "high": gain.high}
        behind[name] = {"over": name, **bounds, "shown": _is_shown(gain)}
    chosen = next(name for name in kinds if name == best or not behind[name]["shown"])
    return [
        {
            "name": name,
            "f1": best_of[name].f1,
            "behind": behind[name],
            "chosen": name == chosen,
            "why": _why(name, chosen, best, behind[name]),
        }
        for name in order
    ]


def _is_shown(found: Interval) -> bool:
    return found.value >= LEAST_GAIN and (found.low is None or found.is_above_zero)


def _why(name: str, chosen: str, best: str, behind: Mapping[str, Any]) -> str:
    points = f"{100 * behind['value']:.1f} points"
    if name not in LEARNERS:
        return "a base model alone, to compare with"
    if name == chosen:
        if name == best:
            return "the best, and no simpler one is nearly as good"
        return f"the simplest that is nearly as good as the best ({best}, {points} ahead)"
    if name == best:
        return f"the best, but {chosen} is simpler and nearly as good ({points} behind)"
    if behind["shown"]:
        return f"{best} is better by {points}"
    return f"nearly as good as the best, but {chosen} is simpler"
