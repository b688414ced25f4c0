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
from pydantic import ConfigDict
from safetensors import torch as safetensors

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreArray
from l4s_ensemble.unet.classifier import MODEL_FILE, Saved, Tiles, UNetClassifier, read_saved
from l4s_ensemble.unet.inputs.tileset import TileSet, load

READ_TILES = {"cpu": 64, "cuda": 512}
"""Tiles read at once: on a CPU few, so that a kill loses little; on a GPU many, to keep it busy."""


class SavedModel(Saved):
    """Content of ``model.json``; earlier models say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sensor: Sensor
    folds: int


@dataclass(frozen=True)
class UNetModel:
    """All folds of a fitted U-Net.

    Attributes
    ----------
    folds : sequence of UNetClassifier
    """

    folds: Sequence[UNetClassifier]

    @property
    def sensor(self) -> Sensor:
        """Of the training tiles."""
        sensor: Sensor = self.folds[0].sensor_
        return sensor

    def adapted(self, tiles: Tiles) -> UNetModel:
        """Give the same weights the batch statistics of a place, see `adapt_statistics`."""
        return UNetModel([model.adapt_statistics(tiles) for model in self.folds])

    def statistics(self) -> bytes:
        """Batch statistics of all networks: what an adapted model differs by."""
        return safetensors.save({k: v.cpu().contiguous() for k, v in self._buffers().items()})

    def take(self, statistics: bytes) -> None:
        """Take the `statistics` of another model of the same weights."""
        own = self._buffers()
        for name, value in safetensors.load(statistics).items():
            own[name].copy_(value)

    def _buffers(self) -> dict[str, torch.Tensor]:
        return {
            f"{k}.{number}.{name}": buffer
            for k, model in enumerate(self.folds)
            for number, network in enumerate(model.networks_)
            for name, buffer in network.named_buffers()
        }

    def save(self, folder: Path) -> None:
        """Write the models into ``fold_<k>/``, and ``model.json``."""
        for k, model in enumerate(self.folds):
            model.save(folder / f"fold_{k}")
        write_json(folder / MODEL_FILE, SavedModel(sensor=self.sensor, folds=len(self.folds)))

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto", n_jobs: int = 1) -> UNetModel:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If it is not a U-Net, or of another version, or a part is missing or damaged.
        """
        return cls(
            [
                UNetClassifier.load(folder / f"fold_{k}", device=device, n_jobs=n_jobs)
                for k in range(read_saved(folder, SavedModel).folds)
            ]
        )


def score_tiles(
    scores: ScoreArray,
    patches: xr.Dataset,
    positions: NDArray[np.int64],
    models: Sequence[UNetModel],
    group: NDArray[np.int64],
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
    models : sequence of UNetModel
        Of each group of tiles.
    group : int64 array, shape (tile,)
        Number of the group of each tile: its models score it.
    """
    missing = (np.arange(b.start, b.stop) for b in scores.missing())
    rows = np.concatenate([np.empty(0, np.int64), *missing])
    predictors = [[model.predictor() for model in one.folds] for one in models]
    device = predictors[0][0].hardware.device
    each = READ_TILES[device.type]
    parts = [rows[i : i + each] for i in range(0, len(rows), each)]

    def read(part: NDArray[np.int64]) -> TileSet:
        return load(patches, positions[part], masks=False).to(device)

    def score(tiles: TileSet, group: NDArray[np.int64]) -> NDArray[np.float32]:
        logit = np.empty((len(predictors[0]), len(tiles), *tiles.counts.shape[-2:]), np.float32)
        for g in np.unique(group):
            own = np.flatnonzero(group == g)
            some = tiles if len(own) == len(group) else tiles.at(own)
            # On a GPU all networks are launched before the first result is waited for.
            logit[:, own] = torch.stack([p(some) for p in predictors[g]]).cpu().numpy()
        return logit

    def write(part: NDArray[np.int64], logit: NDArray[np.float32]) -> None:
        for run in np.split(np.arange(len(part)), np.flatnonzero(np.diff(part) != 1) + 1):
            scores.write(slice(part[run[0]], part[run[-1]] + 1), logit[:, run])

    with ThreadPoolExecutor(2) as pool:
        coming = [pool.submit(read, part) for part in parts[:1]]
        writing: Future[None] | None = None
        for i, part in enumerate(track(parts, "unet: scoring blocks of tiles", len(parts))):
            tiles = coming.pop().result()
            coming += [pool.submit(read, after) for after in parts[i + 1 : i + 2]]
            logit = score(tiles, group[part])
            if writing is not None:
                writing.result()
            writing = pool.submit(write, part, logit)
        if writing is not None:
            writing.result()
