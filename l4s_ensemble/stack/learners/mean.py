"""A weighted mean of the two logits: one weight, a temperature, an intercept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from l4s_ensemble.config import StackConfig
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.learners.linear import fit_weights
from l4s_ensemble.stack.model import FILE, not_whole, read_model, write_model

NAMES = ("logit_pixel", "logit_unet")


@dataclass(frozen=True)
class MeanLearner:
    """``logit = (weight_pixel · pixel + (1 − weight_pixel) · unet) / temperature + intercept``.

    Attributes
    ----------
    weight_pixel : float
        In [0, 1].
    temperature : float
        Above 1 where the two together are too sure of themselves.
    intercept : float
    """

    weight_pixel: float
    temperature: float
    intercept: float

    kind = "mean"

    def logit(self, seen: Seen) -> NDArray[np.float32]:
        """Log-odds of one tile, float32 (y, x)."""
        p, u = seen.clipped()
        a, b = (np.float32(w / self.temperature) for w in self._shares())
        return np.asarray(a * p + b * u + np.float32(self.intercept), dtype=np.float32)

    def probability(self, seen: Seen) -> NDArray[np.float32]:
        """Probability of landslide of one tile, float32 (y, x)."""
        return np.asarray(expit(self.logit(seen)), dtype=np.float32)

    def told(self) -> dict[str, Any]:
        """``inputs``, ``weights`` (they add up to one), ``temperature``, ``intercept``."""
        return {
            "inputs": list(NAMES),
            "weights": [
                {"name": n, "value": w} for n, w in zip(NAMES, self._shares(), strict=True)
            ],
            "temperature": self.temperature,
            "intercept": self.intercept,
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json``."""
        write_model(folder, self.kind, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> MeanLearner:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the file is of another form.
        """
        try:
            return cls(**read_model(folder, cls.kind))
        except TypeError as error:
            raise not_whole(folder / FILE, error) from None

    def _shares(self) -> tuple[float, float]:
        return self.weight_pixel, 1 - self.weight_pixel


def rows_of(seen: Seen, settings: StackConfig) -> NDArray[np.float32]:
    """Both logits of one tile, float32 (2, y, x)."""
    del settings  # every learner's inputs are asked for in the same way
    return np.stack(seen.clipped())


def fit(rows: NDArray[np.float32], labels: NDArray[np.bool_], settings: StackConfig) -> MeanLearner:
    """Fit on drawn pixels.

    A logistic regression on two inputs without negative weights is a weighted mean with a
    temperature: the weights' shares are the mean's, their sum is one over the temperature.

    Parameters
    ----------
    rows : float32 array, shape (pixel, 2)
    labels : bool array, shape (pixel,)
    """
    found = fit_weights(rows, labels, l2=settings.l2, objective=settings.objective)
    (pixel, unet), intercept = found.plain()
    # Where neither model tells anything both weights are zero: then the prevalence is the answer.
    total = max(float(pixel + unet), 1e-6)
    share = float(pixel) / total if pixel + unet > 0 else 0.5
    return MeanLearner(share, 1 / total, intercept)
