"""Scores of patches, in memory or in files, and how a few patches are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import bin_index
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.run.files import write_arrays
from l4s_ensemble.run.scores import ScoreArray
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.threshold import SceneThreshold

Arrays = Mapping[str, NDArray[Any]]


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


@dataclass(frozen=True)
class Kept:
    """Features that a prediction keeps, of the pixels that explain landslides.

    A file in ``kept/`` for each block of patches, named by the id of its first one, holds ``patch``
    and ``pixel`` (row by row), both of shape (pixel,), and ``values (pixel, feature)``.
    """

    folder: Path  # of the prediction
    seed: int  # of the draws

    def of(self, tile: NDArray[np.float32], mask: NDArray[np.uint8], patch: int) -> Arrays:
        """Keep of a patch's features (feature, y, x) those of some pixels of its mask."""
        from l4s_ensemble.pixel.landslides import draw_of_parts  # takes long to import

        pixel = draw_of_parts(mask, patch, seed=self.seed)
        values = tile.reshape(len(tile), -1)[:, pixel].T
        return {"patch": np.full(len(pixel), patch), "pixel": pixel, "values": values}

    def write(self, patches: Sequence[Arrays], first: int) -> None:
        """Write what is kept of the patches of a block, the first of which has the id `first`."""
        write_arrays(self.folder / "kept" / f"{first}.npz", _joined(patches))

    def read(self) -> Arrays:
        """Read what is kept of all patches."""
        parts = []
        for path in sorted((self.folder / "kept").glob("*.npz")):
            with np.load(path, allow_pickle=False) as file:
                parts.append(dict(file))
        return _joined(parts)


def _joined(parts: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def score_block(
    source: FeatureSource,
    pixel: PixelModel,
    stack: Stack,
    patch: NDArray[np.int64],
    unet: NDArray[np.float32],
    kept: Kept | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Arrays]]:
    """Score a few patches by the pixel classifiers and the stack.

    Parameters
    ----------
    source : FeatureSource
    pixel : PixelModel
    stack : Stack
    patch : int64 array, shape (tile,)
        Ids.
    unet : float32 array, shape (fold_model, tile, y, x)
        Logits of the U-Nets; pixel classifiers of the same folds are applied.
    kept : Kept, optional

    Returns
    -------
    logit : float32 array, shape (fold_model, tile, y, x)
        Of the pixel classifiers.
    probability : float32 array, shape (tile, y, x)
        Of the stack.
    kept : list of mapping
        See `Kept.of`; empty without it.
    """
    logit, probability, found = np.empty(unet.shape, np.float32), [], []
    tiles = source.each(source.positions(patch))
    for i, (number, tile) in enumerate(zip(patch.tolist(), tiles, strict=True)):
        for k, classifier in enumerate(pixel.folds[: len(unet)]):
            logit[k, i] = classifier.predict_logit_image(tile)
        probability.append(stack.predict_proba(logit[:, i], unet[:, i], fold_axis=0))
        if kept is not None:
            found.append(kept.of(tile, stack.predict(probability[-1]), number))
    return logit, np.stack(probability), found
