"""Scores of patches, in memory or in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.histogram import bin_index
from l4s_ensemble.run.scores import ScoreArray
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.threshold import SceneThreshold


@dataclass(frozen=True)
class Maps:
    """Where the scores of patches are kept: in memory or in files.

    Attributes
    ----------
    pixel, unet : ScoreArray or ScoreFile
        ``logit (fold_model, patch, y, x)`` of each base model.
    probability, uncertainty : ScoreArray or ScoreFile
        ``(patch, y, x)``.
    """

    pixel: ScoreArray
    unet: ScoreArray
    probability: ScoreArray
    uncertainty: ScoreArray

    @classmethod
    def make(cls, make: Callable[..., ScoreArray], folds: int) -> Maps:
        """Make all four by `make(name, models=..., dtype=...)`, see `ScoreArray`."""
        return cls(
            make("pixel", models=folds),
            # Measured on 1,306 tiles: as float16 probabilities move by 1e-4 at most.
            make("unet", models=folds, dtype="float16"),
            make("probability"),
            make("uncertainty", dtype="float16"),
        )

    def histograms(self, scene: NDArray[np.int64], bins: int) -> dict[int, NDArray[np.int64]]:
        """Count the pixels of each scene by bin of probability, int64 (bin,), in one pass.

        Parameters
        ----------
        scene : int array, shape (patch,)
            Number of the scene of each patch.
        bins : int
        """
        counts = {int(s): np.zeros(bins, np.int64) for s in np.unique(scene)}
        for block in self.probability.blocks():
            for one, s in zip(self.probability.read(block), scene[block], strict=True):
                counts[int(s)] += np.bincount(bin_index(one.ravel(), bins), minlength=bins)
        return counts


def scene_thresholds(
    stack: Stack,
    histograms: Mapping[int, NDArray[np.int64]],
    fitted: frozenset[int] = frozenset(),
) -> dict[int, SceneThreshold | None]:
    """Threshold of each scene; None where it is the one chosen in training.

    Parameters
    ----------
    stack : Stack
    histograms : mapping of int to int64 array, shape (bin,)
        By the number of the scene, see `Maps.histograms`.
    fitted : frozenset of int
        Scenes that the models were fitted on parts of.
    """
    return {s: stack.scene_threshold(n, seen=s in fitted) for s, n in histograms.items()}


def masks_of(
    stack: Stack,
    probability: NDArray[np.float32],
    scene: NDArray[np.int64],
    thresholds: Mapping[int, SceneThreshold | None],
) -> NDArray[np.uint8]:
    """Masks of some patches, uint8 (patch, y, x), each at the threshold of its scene."""
    chosen = [thresholds[int(s)] for s in scene]
    made = [
        stack.predict(one, None if t is None else t.threshold)
        for one, t in zip(probability, chosen, strict=True)
    ]
    return np.stack(made)
