"""Logistic regression on both logits, the lower one, and their means around the pixel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from l4s_ensemble.config import StackConfig
from l4s_ensemble.stack import inputs
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.learners.linear import fit_weights, plain_weights
from l4s_ensemble.stack.model import FILE, check_inputs, not_whole, read_model, write_model


@dataclass(frozen=True)
class LogisticLearner:
    """Logistic regression on standardised inputs.

    Attributes
    ----------
    windows_px : tuple of int
        Edges of the neighbourhood means.
    names : tuple of str
        Inputs, in order.
    mean, scale, coefficient : tuple of float
        One value an input. The coefficient belongs to the standardised input.
    intercept : float
    """

    windows_px: tuple[int, ...]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficient: tuple[float, ...]
    intercept: float

    kind = "logistic"

    def probability(self, seen: Seen) -> NDArray[np.float32]:
        """Probability of landslide of one tile, float32 (y, x)."""
        layers = inputs.compute(seen, self.windows_px)
        weight, offset = plain_weights(self.mean, self.scale, self.coefficient, self.intercept)
        z = np.tensordot(weight.astype(np.float32), layers, axes=1) + np.float32(offset)
        return np.asarray(expit(z), dtype=np.float32)

    def told(self) -> dict[str, Any]:
        """``inputs``, ``coefficients`` (of standardised inputs), ``intercept``, ``weights``."""
        rows = [{"name": n, "value": c} for n, c in zip(self.names, self.coefficient, strict=True)]
        plain, _ = plain_weights(self.mean, self.scale, self.coefficient, self.intercept)
        return {
            "inputs": list(self.names),
            "coefficients": rows,
            "intercept": self.intercept,
            "weights": [
                {"name": n, "value": float(w)} for n, w in zip(self.names, plain, strict=True)
            ],
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json``."""
        write_model(folder, self.kind, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> LogisticLearner:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the file is of another form, or its inputs are not those of this version.
        """
        try:
            model = cls(**read_model(folder, cls.kind))
        except TypeError as error:
            raise not_whole(folder / FILE, error) from None
        check_inputs(folder / FILE, model.names, inputs.names(model.windows_px))
        return model


def rows_of(seen: Seen, settings: StackConfig) -> NDArray[np.float32]:
    """Inputs of one tile, float32 (input, y, x)."""
    return inputs.compute(seen, settings.windows_px)


def fit(
    rows: NDArray[np.float32], labels: NDArray[np.bool_], settings: StackConfig
) -> LogisticLearner:
    """Fit on drawn pixels; see `fit_weights`.

    Parameters
    ----------
    rows : float32 array, shape (pixel, input)
    labels : bool array, shape (pixel,)
    """
    found = fit_weights(rows, labels, l2=settings.l2, objective=settings.objective)
    return LogisticLearner(
        windows_px=tuple(settings.windows_px),
        names=inputs.names(settings.windows_px),
        mean=tuple(found.mean.tolist()),
        scale=tuple(found.scale.tolist()),
        coefficient=tuple(found.coefficient.tolist()),
        intercept=found.intercept,
    )
