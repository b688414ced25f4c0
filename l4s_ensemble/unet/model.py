"""The U-Nets of a run: one estimator a fold, and what belongs to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreArray
from l4s_ensemble.unet.classifier import MODEL_FILE, Saved, UNetClassifier, read_saved
from l4s_ensemble.unet.inputs.tileset import TileSet, load

READ_TILES = {"cpu": 64, "cuda": 512}
"""Tiles read at once: on a CPU few, so that a kill loses little; on a GPU many, to keep it busy."""


class SavedModel(Saved):
    """Content of ``model.json``."""

    sensor: Sensor
    folds: int
    adapted_to: str | None


@dataclass(frozen=True)
class UNetModel:
    """All folds of a fitted U-Net.

    Attributes
    ----------
    folds : sequence of UNetClassifier
    adapted_to : str, optional
        Split whose images the networks were shown.
    target : sequence of UNetClassifier
        As `folds`, with the batch statistics of that split; empty without one.
    """

    folds: Sequence[UNetClassifier]
    adapted_to: str | None = None
    target: Sequence[UNetClassifier] = ()

    @property
    def sensor(self) -> Sensor:
        """Of the training tiles."""
        sensor: Sensor = self.folds[0].sensor_
        return sensor

    def folds_for(self, split: str | None) -> Sequence[UNetClassifier]:
        """Models that score a split of the folder that was fitted on; None: another folder's."""
        return self.target if self.target and split == self.adapted_to else self.folds

    def save(self, folder: Path) -> None:
        """Write the models into ``fold_<k>/`` and ``target_<k>/``, and ``model.json``."""
        for name, models in (("fold", self.folds), ("target", self.target)):
            for k, model in enumerate(models):
                model.save(folder / f"{name}_{k}")
        words = {"folds": len(self.folds), "adapted_to": self.adapted_to}
        write_json(folder / MODEL_FILE, SavedModel(sensor=self.sensor, **words))

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto", n_jobs: int = 1) -> UNetModel:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If it is not a U-Net, or of another version, or a part is missing or damaged.
        """
        saved = read_saved(folder, SavedModel)
        names = ("fold",) if saved.adapted_to is None else ("fold", "target")
        models = [
            [
                UNetClassifier.load(folder / f"{name}_{k}", device=device, n_jobs=n_jobs)
                for k in range(saved.folds)
            ]
            for name in names
        ]
        return cls(models[0], saved.adapted_to, *models[1:])


def score_tiles(
    scores: ScoreArray,
    patches: xr.Dataset,
    positions: NDArray[np.int64],
    models: Sequence[UNetClassifier],
) -> None:
    """Write the logits of all tiles that `scores` lack.

    The next block is read, and the last one written, while a block is scored.

    Parameters
    ----------
    scores : ScoreArray or ScoreFile
        ``(fold_model, tile, y, x)``.
    patches : xarray.Dataset
        ``image (patch, band, y, x)``.
    positions : int64 array, shape (tile,)
        Of the tiles along ``patch``.
    models : sequence of UNetClassifier
        Of each fold.
    """
    missing = (np.arange(b.start, b.stop) for b in scores.missing())
    rows = np.concatenate([np.empty(0, np.int64), *missing])
    predictors = [model.predictor() for model in models]
    device = predictors[0].hardware.device
    each = READ_TILES[device.type]
    parts = [rows[i : i + each] for i in range(0, len(rows), each)]

    def read(part: NDArray[np.int64]) -> TileSet:
        return load(patches, positions[part], masks=False).to(device)

    def write(part: NDArray[np.int64], logit: NDArray[np.float32]) -> None:
        for run in np.split(np.arange(len(part)), np.flatnonzero(np.diff(part) != 1) + 1):
            scores.write(slice(part[run[0]], part[run[-1]] + 1), logit[:, run])

    with ThreadPoolExecutor(2) as pool:
        coming = [pool.submit(read, part) for part in parts[:1]]
        writing: Future[None] | None = None
        for i, part in enumerate(track(parts, "unet: scoring blocks of tiles", len(parts))):
            tiles = coming.pop().result()
            coming += [pool.submit(read, after) for after in parts[i + 1 : i + 2]]
            logit = torch.stack([predictor(tiles) for predictor in predictors]).cpu().numpy()
            if writing is not None:
                writing.result()
            writing = pool.submit(write, part, logit)
        if writing is not None:
            writing.result()
