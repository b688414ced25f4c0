"""What the prediction of a split left on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.predict.submission import read_mask
from l4s_ensemble.run.scores import open_scores


def open_logits(folder: Path, model: str) -> xr.Dataset:
    """Logits of a base model in the folder of a result: ``logit (fold_model, patch, y, x)``."""
    return open_scores(folder / f"{model}.zarr")


def open_probability(folder: Path) -> xr.Dataset:
    """Calibrated probabilities in the folder of a result, ``probability (patch, y, x)``."""
    return open_scores(folder / "probability.zarr")


def open_uncertainty(folder: Path) -> xr.Dataset:
    """Uncertainty, 0 (certain) to 1 (at the threshold), ``probability (patch, y, x)``."""
    return open_scores(folder / "uncertainty.zarr")


def open_masks(folder: Path, patch: ArrayLike) -> NDArray[np.uint8]:
    """Predicted masks, uint8 (patch, y, x), 1 = landslide.

    Parameters
    ----------
    folder : Path
        Of the result.
    patch : array_like of int, shape (patch,)
        Ids, in order.
    """
    return np.stack([read_mask(folder / "masks" / f"mask_{int(i)}.h5") for i in np.asarray(patch)])
