"""How unsure the stack is of each pixel: maps that are high where it is likely to be wrong.

All of them come from what exists at prediction: one pixel model's logits, one U-Net's, and the
stack's probability of the same tile. Each lies in 0 (sure) to 1:

``near_threshold``      1 minus the distance of the stack's log-odds from the threshold's, as a
                        share of `REACH`: no more than the probability map says already
``entropy``             of the stack's probability, bits (Shannon 1948)
``expected_error``      what the probability says of being wrong: 1 - p where called, p elsewhere
``logit_gap``           difference of both logits, as a share of `REACH`
``probability_gap``     difference of both probabilities
``spread``              twice the standard deviation of the stack's probability in `SPREAD_PX`
``combined``            a logistic regression on all of these, fitted to errors; of the expected
                        error it takes the log-odds, so that it can do as well as that alone

`l4s_ensemble.stack.uncertainty_choice` measures which one tells errors, and chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.by_block import TINY
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.stack.inputs import LIMIT
from l4s_ensemble.stack.learners.linear import plain_weights

REACH = 2 * LIMIT
"""Largest difference of two clipped logits."""

SPREAD_PX = 5

PLAIN = "near_threshold"
"""What a map is made of if nothing better is shown."""

COMBINED = "combined"

SINGLE = (PLAIN, "entropy", "expected_error", "logit_gap", "probability_gap", "spread")
"""Measures, in the order of `measures`."""

Float = NDArray[np.float32]


@dataclass(frozen=True)
class ErrorModel:
    """Logistic regression of errors on standardised measures.

    Attributes
    ----------
    names : tuple of str
        Inputs, in order: `SINGLE`.
    mean, scale, coefficient : tuple of float
        One value an input. The coefficient belongs to the standardised input.
    intercept : float
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficient: tuple[float, ...]
    intercept: float

    def map(self, of_tile: Float) -> Float:
        """Probability of an error; `of_tile` has shape (measure, y, x), the map (y, x)."""
        weight, offset = plain_weights(self.mean, self.scale, self.coefficient, self.intercept)
        return sigmoid(np.tensordot(weight, _inputs(of_tile), axes=1) + offset)


@dataclass(frozen=True)
class Uncertainty:
    """The map that was chosen; JSON beside the stack's model.

    Attributes
    ----------
    measure : str
        One of `SINGLE`, or ``combined``.
    threshold : float
        Of the stack's probability.
    model : ErrorModel or None
        For ``combined``.
    """

    measure: str
    threshold: float
    model: ErrorModel | None = None

    def map(self, probability: ArrayLike, logit_pixel: ArrayLike, logit_unet: ArrayLike) -> Float:
        """Uncertainty of one tile, shape (y, x), in 0 to 1.

        Parameters
        ----------
        probability, logit_pixel, logit_unet : array_like, shape (y, x)
            Of one fold's pair and the stack on it. Of several folds, average their maps.
        """
        of_tile = measures(probability, logit_pixel, logit_unet, self.threshold)
        if self.measure == COMBINED and self.model is not None:
            return self.model.map(of_tile)
        chosen: Float = of_tile[SINGLE.index(self.measure)]
        return chosen

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Uncertainty:
        """Read back what `as_dict` gave, from JSON too.

        Raises
        ------
        ModelError
            If it is not whole, or of another version.
        """
        try:
            told = value["model"]
            model = None
            if told is not None:
                plain: dict[str, Any] = {
                    k: tuple(v) if isinstance(v, list) else v for k, v in told.items()
                }
                model = ErrorModel(**plain)
            found = cls(str(value["measure"]), float(value["threshold"]), model)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                "what the uncertainty map is made of cannot be read", found=error,
                fix="run `l4s-ensemble fit stack` again",
            ) from None  # fmt: skip
        usable = found.measure in SINGLE if model is None else found.measure == COMBINED
        if not usable or (model is not None and model.names != SINGLE):
            raise ModelError(
                "the uncertainty map is made of what this version does not know",
                found=found.measure if model is None else model.names,
                allowed=", ".join((*SINGLE, COMBINED)), fix="run `l4s-ensemble fit stack` again",
            )  # fmt: skip
        return found


def measures(
    probability: ArrayLike, logit_pixel: ArrayLike, logit_unet: ArrayLike, threshold: float
) -> Float:
    """All measures of one tile; see the module.

    Parameters
    ----------
    probability : array_like, shape (y, x)
        The stack's.
    logit_pixel, logit_unet : array_like, shape (y, x)
        Natural log-odds.
    threshold : float
        A pixel is called at this probability or above.

    Returns
    -------
    float32 array, shape (measure, y, x)
        In the order of `SINGLE`.
    """
    from scipy.ndimage import uniform_filter

    raw = np.asarray(probability, dtype=np.float64)
    p = np.clip(raw, TINY, 1 - TINY)
    pixel, unet = (
        np.clip(np.asarray(a, dtype=np.float64), -LIMIT, LIMIT) for a in (logit_pixel, logit_unet)
    )
    away = np.clip(_log_odds(p), -LIMIT, LIMIT) - np.clip(_log_odds(threshold), -LIMIT, LIMIT)
    mean = uniform_filter(p, SPREAD_PX, mode="reflect")
    square = uniform_filter(p * p, SPREAD_PX, mode="reflect")
    layers = (
        1 - np.abs(away) / REACH,
        -(p * np.log2(p) + (1 - p) * np.log2(1 - p)),
        np.where(raw >= threshold, 1 - p, p),
        np.abs(pixel - unet) / REACH,
        np.abs(sigmoid(pixel) - sigmoid(unet)),
        # No values in 0 to 1 spread farther than a half.
        2 * np.sqrt(np.maximum(square - mean * mean, 0)),
    )
    clipped: Float = np.clip(np.stack(layers), 0, 1).astype(np.float32)
    return clipped


def fit_errors(rows: Float, wrong: NDArray[np.bool_], *, l2: float = 1.0) -> ErrorModel:
    """Fit the logistic regression that tells errors.

    Parameters
    ----------
    rows : float32 array, shape (pixel, measure)
        In the order of `SINGLE`, drawn at the true prevalence of errors.
    wrong : bool array, shape (pixel,)
    l2 : float
        Strength of the ridge, as scikit-learn's ``1 / C``.

    Raises
    ------
    ValueError
        If all pixels are right, or all are wrong.
    """
    from sklearn.linear_model import LogisticRegression

    if wrong.all() or not wrong.any():
        raise ValueError(f"{int(wrong.sum())} of {len(wrong)} pixels are wrong: nothing to learn")
    x = _inputs(rows.T).T
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0
    fitted = LogisticRegression(C=1 / l2, max_iter=300).fit((x - mean) / scale, wrong)
    return ErrorModel(
        names=SINGLE,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficient=tuple(fitted.coef_[0].tolist()),
        intercept=float(fitted.intercept_[0]),
    )


def _inputs(of_pixels: Float) -> NDArray[np.float64]:
    """What `ErrorModel` takes of measures, each (measure, ...)."""
    out = of_pixels.astype(np.float64)
    at = SINGLE.index("expected_error")
    out[at] = _log_odds(out[at])
    return out


def _log_odds(p: Any) -> NDArray[np.float64]:
    q = np.clip(np.asarray(p, dtype=np.float64), TINY, 1 - TINY)
    odds: NDArray[np.float64] = np.log(q) - np.log1p(-q)
    return odds
