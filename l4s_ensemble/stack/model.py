"""The meta-learner: a mean of both models' logits, plain or weighted; saved as ``model.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.run.files import read_json, write_json

FORMAT = 3
FILE = "model.json"
KINDS = ("plain", "weighted")
"""From the simplest. ``plain`` gives each model half of the weight and fits nothing."""

LIMIT = 12.0
"""Logits are clipped to ±12 (a probability of 6e-6): beyond, a difference says nothing."""

L2 = 1.0
"""Penalty on the weights of standardised logits, as scikit-learn's ``1 / C``."""

AGAIN = "run `l4s-ensemble fit stack` again"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Learner:
    """``logit = (weight_pixel · pixel + (1 − weight_pixel) · unet) / temperature + intercept``.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    weight_pixel : float
        Weight of the pixel classifier, in [0, 1]; the rest is the U-Net's.
    temperature : float
        Above 1 where the two together are too sure of themselves.
    intercept : float
    """

    kind: str = "plain"
    weight_pixel: float = 0.5
    temperature: float = 1.0
    intercept: float = 0.0

    def probability(self, pixel: ArrayLike, unet: ArrayLike) -> NDArray[np.float32]:
        """Join the logits of both models.

        Parameters
        ----------
        pixel, unet : array_like, shape (...)
            Natural log-odds of landslide by each model.

        Returns
        -------
        float32 array, shape (...)
            Probability of landslide.
        """
        p, u = (np.clip(np.asarray(a, np.float32), -LIMIT, LIMIT) for a in (pixel, unet))
        a, b = (np.float32(w / self.temperature) for w in self._shares())
        logit = a * p + b * u + np.float32(self.intercept)
        return np.asarray(expit(logit), dtype=np.float32)

    def told(self) -> dict[str, Any]:
        """What it is made of, for a summary: ``weights`` (their sum is 1) and two numbers."""
        names = ("logit_pixel", "logit_unet")
        weights = [{"name": n, "value": w} for n, w in zip(names, self._shares(), strict=True)]
        return {
            "inputs": list(names),
            "weights": weights,
            "temperature": self.temperature,
            "intercept": self.intercept,
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json``."""
        write_json(folder / FILE, {"format": FORMAT, **asdict(self)})

    def _shares(self) -> tuple[float, float]:
        return self.weight_pixel, 1 - self.weight_pixel


def load_learner(folder: Path) -> Learner:
    """Read what `Learner.save` wrote.

    Raises
    ------
    ModelError
        If the file is of another version or not whole.
    """
    path = folder / FILE
    value = read_json(path)
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise ModelError("the meta-learner was saved by another version", where=path, fix=AGAIN)
    numbers = ("weight_pixel", "temperature", "intercept")
    whole = set(value) == {"kind", *numbers} and value["kind"] in KINDS
    if not whole or not all(isinstance(value[n], int | float) for n in numbers):
        raise ModelError(
            "the meta-learner's file is not whole", where=path, found=sorted(value), fix=AGAIN
        )
    return Learner(**value)


def fit_weighted(
    pixel: NDArray[np.float32], unet: NDArray[np.float32], truth: NDArray[np.bool_]
) -> Learner:
    """Fit the weighted mean to pixels drawn at their true prevalence.

    A logistic regression on two inputs without negative weights is a weighted mean with a
    temperature: the shares of the weights are those of the mean, their sum is one over the
    temperature. More evidence from either model then never lowers the answer, and a model that
    misleads gets weight zero instead of a sign that happens to fit (Breiman 1996, Stacked
    regressions, Machine Learning 24).

    Parameters
    ----------
    pixel, unet : float32 array, shape (pixel,)
        Logits.
    truth : bool array, shape (pixel,)

    Raises
    ------
    RunError
        If only one class was drawn.
    """
    if truth.all() or not truth.any():
        raise RunError(
            "the meta-learner needs pixels of both classes", found=f"{int(truth.sum())} landslide "
            f"pixels among {truth.size}", fix="give more tiles with landslides, or fewer folds",
        )  # fmt: skip
    rows = np.clip(np.stack([pixel, unet], axis=1), -LIMIT, LIMIT)
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    found = _minimum((rows - mean) / scale, truth)
    weight = found[:-1] / scale
    intercept = float(found[-1]) - float(weight @ mean)
    # Where neither model tells anything both weights are zero: then the prevalence is the answer.
    total = max(float(weight.sum()), 1e-6)
    share = float(weight[0]) / total if weight.sum() > 0 else 0.5
    return Learner("weighted", share, 1 / total, intercept)


def _minimum(x: Array, truth: NDArray[np.bool_]) -> Array:
    """Weights of at least 0 and a free intercept, the last one, of the least log-loss."""
    from scipy.optimize import minimize

    sign = np.where(truth, 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        slope, intercept = weights[:-1], weights[-1]
        margin = sign * (x @ slope + intercept)
        pull = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + 0.5 * L2 * slope @ slope
        gradient = np.append(x.T @ pull + L2 * slope, pull.sum())
        return float(value / len(truth)), gradient / len(truth)

    share = float(truth.mean())
    start = np.append(np.full(x.shape[1], 1.0 / x.shape[1]), np.log(share / (1 - share)))
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * x.shape[1] + [(None, None)],
        options={"maxiter": 500, "ftol": 1e-10},
    )  # fmt: skip
    return np.asarray(found.x, dtype=np.float64)
