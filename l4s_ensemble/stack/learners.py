"""Meta-learners: a plain or weighted mean of both base models' logits, cross-fitted over folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit
from sklearn.utils import gen_batches

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.bootstrap import Interval, f1_gain_interval, f1_interval
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import CHUNK_TILES

KINDS = ("plain", "weighted")
"""From the simplest. ``plain`` gives each model half of the weight and fits nothing."""

LIMIT = 12.0
"""Logits are clipped to ±12 (a probability of 6e-6): beyond, a difference says nothing."""

L2 = 1.0
"""Penalty on the weights of standardised logits, as scikit-learn's ``1 / C``."""

SAMPLE_PIXELS = 300_000
"""Most pixels that weights are fitted to."""

LEAST_GAIN = 0.002
"""Smallest gain in F1 that is worth a less simple learner: learners of the same two maps differ by
so little, and so evenly, that an interval can exclude zero where nobody would see a difference."""

LEAST_GAIN_ALONE = 0.01
"""Likewise where there are too few blocks for an interval."""

BATCH_TILES = 4 * CHUNK_TILES
"""Tiles in memory at once: whole chunks of score files."""


class Learner(BaseModel):
    """``logit = (weight_pixel · pixel + (1 − weight_pixel) · unet) / temperature + intercept``.

    Attributes
    ----------
    kind : {'plain', 'weighted'}
    weight_pixel : float
        Weight of the pixel classifier; the rest is the U-Net's.
    temperature : float
        Above 1 where the two together are overconfident.
    intercept : float
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["plain", "weighted"]
    weight_pixel: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    intercept: float

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the pixel classifier and the U-Net; their sum is 1."""
        return self.weight_pixel, 1 - self.weight_pixel

    def predict_proba(self, pixel: ArrayLike, unet: ArrayLike) -> NDArray[np.float32]:
        """Probability of landslide, float32 (...), from logits of both models, shape (...)."""
        p, u = (np.clip(np.asarray(a, np.float32), -LIMIT, LIMIT) for a in (pixel, unet))
        a, b = (np.float32(w / self.temperature) for w in self.weights)
        logit = a * p + b * u + np.float32(self.intercept)
        return np.asarray(expit(logit), dtype=np.float32)


PLAIN = Learner(kind="plain", weight_pixel=0.5, temperature=1.0, intercept=0.0)


@dataclass(frozen=True)
class OutOfFold:
    """Tiles that a stack is fitted to.

    Attributes
    ----------
    pixel, unet, y : array, shape (tile, y, x)
        Logits and reference masks, of numpy, zarr or xarray: a few tiles are read at a time.
    fold, tile : int64 array, shape (tile,)
        Fold and id of each.
    """

    pixel: Any
    unet: Any
    y: Any
    fold: NDArray[np.int64]
    tile: NDArray[np.int64]

    def batches(
        self, label: str
    ) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
        """Positions of a few tiles, both logits and reference masks; log how far it is."""
        n = len(self.fold)
        for at in track(gen_batches(n, BATCH_TILES), label, -(-n // BATCH_TILES)):
            pixel, unet = (np.asarray(a[at], dtype=np.float32) for a in (self.pixel, self.unet))
            yield at, pixel, unet, np.asarray(self.y[at]) == 1


class Sample(NamedTuple):
    """Pixels that weights are fitted to: logits (pixel, 2), reference, fold and id of the tile."""

    logits: NDArray[np.float32]
    reference: NDArray[np.bool_]
    fold: NDArray[np.int64]
    tile: NDArray[np.int64]


def draw(data: OutOfFold, *, seed: int = 0, size: int = SAMPLE_PIXELS) -> Sample:
    """Draw pixels at their prevalence, equally many of every tile and at most `size`.

    Which pixels of a tile depends on its id and the seed, not on the other tiles.
    """
    tiles, *edges = data.y.shape
    each = max(1, min(math.prod(edges), size // max(tiles, 1)))
    logits = np.empty((tiles, each, 2), np.float32)
    reference = np.empty((tiles, each), bool)
    for at, pixel, unet, masks in data.batches("stack: drawing pixels"):
        for n, i in enumerate(range(at.start, at.stop)):
            rng = np.random.default_rng([seed, int(data.tile[i])])
            chosen = rng.choice(masks[n].size, each, replace=False)
            logits[i] = np.stack([a[n].ravel()[chosen] for a in (pixel, unet)], axis=1)
            reference[i] = masks[n].ravel()[chosen]
    fold, tile = (np.repeat(a, each) for a in (data.fold, data.tile))
    return Sample(logits.reshape(-1, 2), reference.ravel(), fold, tile)


def cross_fit(
    kind: str, sample: Sample, allowed: Mapping[int, ArrayLike] | None = None
) -> tuple[Learner, dict[int, Learner]]:
    """Fit a learner on all folds, and for each fold on the others.

    Parameters
    ----------
    kind : {'plain', 'weighted'}
    sample : Sample
    allowed : mapping of int to int array, optional
        Ids of the tiles that may be fitted on to score a fold; without it, all of other folds.

    Returns
    -------
    learner : Learner
        Fitted on all folds.
    of_fold : dict of int to Learner
        The one that scores each fold.
    """
    folds = [int(k) for k in np.unique(sample.fold)]
    if kind == "plain":
        return PLAIN, dict.fromkeys(folds, PLAIN)
    of_fold = {}
    for k in folds:
        keep = sample.fold != k
        if allowed is not None:
            keep &= np.isin(sample.tile, allowed[k])
        of_fold[k] = fit_weighted(sample.logits[keep], sample.reference[keep])
    return fit_weighted(sample.logits, sample.reference), of_fold


def fit_weighted(logits: NDArray[np.float32], reference: NDArray[np.bool_]) -> Learner:
    """Fit the weighted mean to pixels drawn at their prevalence.

    A logistic regression on two inputs without negative weights is a weighted mean with a
    temperature: the shares of the weights are those of the mean, their sum is one over the
    temperature. More evidence from either model then never lowers the answer, and a misleading
    model gets weight zero instead of a sign that happens to fit (Breiman 1996, Stacked
    regressions, Machine Learning 24).

    Parameters
    ----------
    logits : float32 array, shape (pixel, 2)
    reference : bool array, shape (pixel,)

    Raises
    ------
    DataError
        If the pixels are of one class only.
    """
    if reference.all() or not reference.any():
        raise DataError(
            "the meta-learner needs pixels of both classes",
            found=f"{int(reference.sum())} landslide pixels among {reference.size}",
            fix="give more tiles with landslides, or fewer folds",
        )
    rows = np.clip(logits, -LIMIT, LIMIT)
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    found = _least_log_loss((rows - mean) / scale, reference)
    weight = found[:-1] / scale
    intercept = float(found[-1]) - float(weight @ mean)
    # Where neither model is informative both weights are zero, and the prevalence is the answer.
    total = max(float(weight.sum()), 1e-6)
    share = float(weight[0]) / total if weight.sum() > 0 else 0.5
    return Learner(kind="weighted", weight_pixel=share, temperature=1 / total, intercept=intercept)


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
    """Choose the simplest learner whose F1 is not shown to be below the best one's.

    Each is scored at its own best pooled threshold. A paired gain is shown where its interval over
    spatial blocks is above zero and it is `LEAST_GAIN` or more; without an interval, where it is
    `LEAST_GAIN_ALONE` or more. The choice is made on the tiles that are scored: the chosen one's
    score is slightly optimistic.

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
        Other models, then kinds from the simplest: ``name, f1, threshold, low, high`` (F1 and its
        interval), ``average_precision, calibration_error``, ``behind`` (the best kind's gain over
        this one: ``over, value, low, high, shown``), ``gain`` (this one's gain over the chosen
        one, likewise), ``within_noise, chosen, why``.
    """
    kinds = [kind for kind in KINDS if kind in histograms]
    order = [*(name for name in histograms if name not in kinds), *kinds]
    pooled = {name: histograms[name].pooled() for name in order}
    best_of = {name: pooled[name].best() for name in order}
    counts = {name: histograms[name].counts(best_of[name].value) for name in order}

    def paired(name: str, over: str) -> dict[str, Any]:
        gain = f1_gain_interval(counts[name], counts[over], blocks, seed=seed)
        bounds = {"value": gain.value, "low": gain.low, "high": gain.high}
        return {"over": over, **bounds, "shown": _is_shown(gain)}

    best = max(kinds, key=lambda name: best_of[name].f1)
    behind = {name: paired(best, name) for name in order}
    chosen = next(name for name in kinds if name == best or not behind[name]["shown"])
    rows = []
    for name in order:
        interval = f1_interval(counts[name], blocks, seed=seed)
        rows.append(
            {
                "name": name,
                "f1": best_of[name].f1,
                "threshold": best_of[name].value,
                "low": interval.low,
                "high": interval.high,
                "average_precision": pooled[name].average_precision(),
                "calibration_error": pooled[name].expected_calibration_error(),
                "behind": behind[name],
                "gain": paired(name, chosen),
                "within_noise": name == best or not behind[name]["shown"],
                "chosen": name == chosen,
                "why": _why(name, chosen, best, behind[name]),
            }
        )
    return rows


def _is_shown(found: Interval) -> bool:
    if found.low is None:
        return found.value >= LEAST_GAIN_ALONE
    return found.is_above_zero and found.value >= LEAST_GAIN


def _why(name: str, chosen: str, best: str, behind: Mapping[str, Any]) -> str:
    points = f"{100 * behind['value']:.1f} points"
    if name not in KINDS:
        return "a base model alone, to compare with"
    if name == chosen:
        if name == best:
            return "the best, and no simpler one is within noise of it"
        return f"the simplest within noise of the best ({best}, {points} ahead)"
    if name == best:
        return f"the best, but {chosen} is simpler and no gain over it is shown"
    if behind["shown"]:
        return f"{best} is better by {points}"
    return f"within noise of the best, but {chosen} is simpler"


def _least_log_loss(x: NDArray[Any], reference: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights of at least 0 and a free intercept, the last one, of the least log-loss."""
    from scipy.optimize import minimize

    sign = np.where(reference, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, intercept = weights[:-1], weights[-1]
        margin = sign * (x @ slope + intercept)
        pull = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + 0.5 * L2 * slope @ slope
        gradient = np.append(x.T @ pull + L2 * slope, pull.sum())
        return float(value / len(reference)), gradient / len(reference)

    prevalence = float(reference.mean())
    found = minimize(
        loss,
        np.append(np.full(x.shape[1], 1.0 / x.shape[1]), np.log(prevalence / (1 - prevalence))),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * x.shape[1] + [(None, None)],
        options={"maxiter": 500, "ftol": 1e-10},
    )
    return np.asarray(found.x, dtype=np.float64)
