"""Weights that are never negative, fitted by log-loss or by a smooth F1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from l4s_ensemble.errors import RunError

Objective = Literal["log_loss", "smooth_f1"]
Array = NDArray[np.float64]
Loss = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class Weights:
    """A logit that is linear in standardised inputs.

    Attributes
    ----------
    mean, scale, coefficient : float64 array, shape (input,)
    intercept : float
    """

    mean: Array
    scale: Array
    coefficient: Array
    intercept: float

    def plain(self) -> tuple[Array, float]:
        """Weights and intercept of the inputs as they are."""
        return plain_weights(self.mean, self.scale, self.coefficient, self.intercept)


def plain_weights(
    mean: ArrayLike, scale: ArrayLike, coefficient: ArrayLike, intercept: float
) -> tuple[Array, float]:
    """Weights and intercept of inputs as they are, from those of standardised ones."""
    weight = np.asarray(coefficient) / np.asarray(scale)
    return weight, intercept - float(weight @ np.asarray(mean))


def fit_weights(
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    *,
    l2: float,
    objective: Objective = "log_loss",
) -> Weights:
    """Fit weights that are not negative.

    More evidence from either model then never lowers the answer, and a model that is no good gets
    weight zero instead of a sign that happens to fit (Breiman 1996, Stacked regressions, Machine
    Learning 24). The pixels are drawn at their true prevalence, so that probabilities hold.

    Parameters
    ----------
    rows : float32 array, shape (pixel, input)
    labels : bool array, shape (pixel,)
    l2 : float
        Penalty as scikit-learn's ``1 / C``.
    objective : {'log_loss', 'smooth_f1'}
        ``smooth_f1`` starts from the fit by log-loss and raises the F1 of expected counts,
        ``2 Σ p y / (Σ p + Σ y)``. That drives probabilities to 0 and 1, so its direction is
        kept, and scale and intercept are fitted to it by log-loss again: it stays calibrated.

    Raises
    ------
    RunError
        If only one class was drawn.
    """
    require_both(labels)
    mean = rows.mean(axis=0, dtype=np.float64)
    scale = rows.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    x = (rows - mean) / scale
    count = rows.shape[1]
    share = float(labels.mean())
    start = np.append(np.full(count, 1.0 / count), np.log(share / (1 - share)))
    found = minimum(log_loss(x, labels, l2), start)
    if objective == "smooth_f1":
        # Where p = 1/2 the gradient is largest: there lies the best threshold of an F1.
        best = minimum(_smooth_loss(x, labels, l2), found - _best_cut(x, labels, found))
        score = (x @ best[:-1])[:, np.newaxis]
        slope, intercept = minimum(log_loss(score, labels, 0.0), np.array([1.0, best[-1]]))
        found = np.append(slope * best[:-1], intercept)
    return Weights(mean, scale, found[:-1], float(found[-1]))


def require_both(labels: NDArray[np.bool_]) -> None:
    """Refuse pixels of one class.

    Raises
    ------
    RunError
    """
    if labels.all() or not labels.any():
        raise RunError(
            "the meta-learner needs pixels of both classes", found=f"{int(labels.sum())} landslide "
            f"pixels among {labels.size}", fix="give more tiles with landslides, or fewer folds",
        )  # fmt: skip


def log_loss(x: Array, labels: NDArray[np.bool_], l2: float) -> Loss:
    """Mean log-loss with the penalty scikit-learn uses, and its gradient."""
    sign = np.where(labels, 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        slope, intercept = weights[:-1], weights[-1]
        margin = sign * (x @ slope + intercept)
        pull = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + 0.5 * l2 * slope @ slope
        gradient = np.append(x.T @ pull + l2 * slope, pull.sum())
        return float(value / len(labels)), gradient / len(labels)

    return loss


def smooth_f1(probability: Array, labels: NDArray[np.bool_]) -> float:
    """F1 of expected counts."""
    return float(2 * probability[labels].sum() / (probability.sum() + labels.sum()))


def _smooth_loss(x: Array, labels: NDArray[np.bool_], l2: float) -> Loss:
    truth = labels.astype(np.float64)

    def loss(weights: Array) -> tuple[float, Array]:
        p = expit(x @ weights[:-1] + weights[-1])
        above, below = 2 * (p @ truth), p.sum() + truth.sum()
        # d(above / below) / dp, then dp / dz.
        pull = (above / below - 2 * truth) / below * p * (1 - p)
        push = l2 / len(labels) * weights[:-1]
        value = 1 - above / below + 0.5 * push @ weights[:-1]
        return float(value), np.append(x.T @ pull + push, pull.sum())

    return loss


def _best_cut(x: Array, labels: NDArray[np.bool_], weights: Array) -> Array:
    """What to take from the weights so that the best threshold for F1 is a logit of 0."""
    score = x @ weights[:-1] + weights[-1]
    order = np.argsort(-score)
    found = labels[order].cumsum()
    f1 = 2 * found / (np.arange(1, len(score) + 1) + labels.sum())
    out = np.zeros_like(weights)
    out[-1] = score[order[int(np.argmax(f1))]]
    return out


def minimum(loss: Loss, start: Array) -> Array:
    """Where a loss is least, with weights of at least 0 and a free intercept, the last one."""
    from scipy.optimize import minimize

    bounds = [(0, None)] * (len(start) - 1) + [(None, None)]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 500, "ftol": 1e-10},
    )  # fmt: skip
    return np.asarray(found.x, dtype=np.float64)
