"""The saved meta-learner: standardisation, coefficients, threshold. JSON, never a pickle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from l4s_ensemble.errors import ModelError
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.stack import inputs

FORMAT = 1


@dataclass(frozen=True)
class LogisticStack:
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
    threshold : float
        Probability from which a pixel is called landslide.
    """

    windows_px: tuple[int, ...]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficient: tuple[float, ...]
    intercept: float
    threshold: float = 0.5

    def probability(
        self, logit_pixel: NDArray[np.floating], logit_unet: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Probability of landslide of one tile, shape (y, x)."""
        layers = inputs.compute(logit_pixel, logit_unet, self.windows_px)
        weight = np.asarray(self.coefficient) / np.asarray(self.scale)
        offset = self.intercept - float(weight @ np.asarray(self.mean))
        z = np.tensordot(weight.astype(np.float32), layers, axes=1) + np.float32(offset)
        return np.asarray(expit(z), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the model as JSON."""
        write_json(path, {"format": FORMAT, "kind": "logistic", **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> LogisticStack:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the file is of another form, or its inputs are not those of this version.
        """
        value = read_json(path)
        if not isinstance(value, dict):
            value = {}
        if value.pop("format", None) != FORMAT or value.pop("kind", None) != "logistic":
            raise ModelError(
                "the meta-learner was saved by another version", where=path,
                fix="run `l4s-ensemble fit stack` again",
            )  # fmt: skip
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        try:
            model = cls(**plain)
        except TypeError as error:
            raise ModelError(
                "the meta-learner's file is not whole", where=path, found=error,
                fix="run `l4s-ensemble fit stack` again",
            ) from None  # fmt: skip
        if model.names != inputs.names(model.windows_px):
            raise ModelError(
                "the meta-learner's inputs are not those of this version", where=path,
                found=model.names, allowed=inputs.names(model.windows_px),
                fix="run `l4s-ensemble fit stack` again",
            )  # fmt: skip
        return model
