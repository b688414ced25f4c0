"""Logits of whole tiles: one path for out-of-fold scores and for predictions."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.run.progress import track
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.unet import augment
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.inputs import TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel

if TYPE_CHECKING:
    import xarray as xr

BATCH = {"cpu": 16, "cuda": 128}
"""Tiles at once: on a CPU more do not fit its cache, on a GPU fewer leave it idle."""

BLOCK_TILES = 64
"""Tiles read at once when a whole split is predicted."""


class Predictor:
    """Applies the network of one fold to tiles.

    Parameters
    ----------
    model : FoldModel
    hardware : Hardware
    tta : bool
        Average the logits over the eight symmetries of the square.
    """

    def __init__(self, model: FoldModel, hardware: Hardware, *, tta: bool) -> None:
        self.network = hardware.place(copy.deepcopy(model.network)).eval()
        self.normalisation = model.normalisation
        self.hardware = hardware
        self.symmetries = range(augment.SYMMETRIES if tta else 1)

    def __call__(self, tiles: TileSet, positions: ArrayLike) -> NDArray[np.float32]:
        """Logits of the tiles at `positions`, float32 (n, y, x).

        Raises
        ------
        ModelError
            If the tiles have other bands than the network was trained on.
        """
        self.normalisation.require(tiles.sensor)
        index = torch.as_tensor(np.asarray(positions, np.int64), device=tiles.counts.device)
        parts = [self._logits(tiles, some) for some in torch.split(index, self.batch)]
        out = torch.cat(parts) if parts else tiles.counts.new_empty(0, *tiles.counts.shape[2:])
        return out.float().cpu().numpy()

    @property
    def batch(self) -> int:
        """Tiles at once."""
        return BATCH.get(self.hardware.device.type, 16)

    def _logits(self, tiles: TileSet, index: torch.Tensor) -> torch.Tensor:
        return self.logits(self.inputs(tiles, index))

    @torch.inference_mode()
    def inputs(self, tiles: TileSet, index: torch.Tensor) -> torch.Tensor:
        """What the network sees of the tiles at `index`, float32 (n, channel, y, x)."""
        return self.normalisation.apply(tiles.units(index))

    @torch.inference_mode()
    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Mean logits (n, y, x) of inputs over the symmetries, float32."""
        total: torch.Tensor | None = None
        for number in self.symmetries:
            turned = augment.apply_symmetry(x, number)
            with self.hardware.autocast():
                y = self.network(turned.contiguous(memory_format=self.hardware.memory_format))
            back = augment.undo_symmetry(y.float(), number)
            total = back if total is None else total + back
        if total is None:
            raise ValueError("no symmetry to average over")
        return total[:, 0] / len(self.symmetries)


def stage(ctx: StageContext) -> Summary:
    """Score the tiles to predict with the network of every fold.

    Writes ``logit.zarr``: ``logit (fold_model, patch, y, x)`` float32.

    Raises
    ------
    ModelError
        If the tiles are not of the sensor that the model was trained on.
    """
    from l4s_ensemble.data.store import sensor_of
    from l4s_ensemble.scenes.folds import patches_to_predict

    started = time.monotonic()
    config = ctx.config.unet
    hardware = choose(ctx.device, config.precision, ctx.jobs)
    dataset = patches_to_predict(ctx)
    model = UNetModel.load(ctx.input("unet"))
    model.require(sensor_of(dataset))
    predictors = [Predictor(m, hardware, tta=config.tta) for m in model.folds]
    logit = np.empty(
        (len(predictors), *(dataset.sizes[d] for d in ("patch", "y", "x"))), np.float32
    )
    blocks = list(_blocks(dataset.sizes["patch"]))
    for block in track(blocks, "unet: scoring tiles", len(blocks)):
        tiles = load(dataset, np.arange(block.start, block.stop), masks=False).to(hardware.device)
        for k, predictor in enumerate(predictors):
            logit[k, block] = predictor(tiles, np.arange(len(tiles)))
    scored = to_dataset(logit, dataset["patch"].values, seed=model.seed)
    scored.to_zarr(ctx.out / "logit.zarr", mode="w", consolidated=False)
    seconds = time.monotonic() - started
    return {
        "patches": int(dataset.sizes["patch"]),
        "fold_models": len(predictors),
        "device": str(hardware.device),
        "precision": hardware.precision,
        "tta": config.tta,
        "seconds": seconds,
        "patches_per_s": dataset.sizes["patch"] / seconds,
    }


def to_dataset(
    logit: NDArray[np.float32], patch: ArrayLike, *, seed: int, fold: ArrayLike | None = None
) -> xr.Dataset:
    """Label logits of tiles, ready to be written.

    Parameters
    ----------
    logit : float32 array, shape ([fold_model,] patch, y, x)
    patch : array_like of int, shape (patch,)
    seed : int
    fold : array_like of int, shape (patch,), optional
    """
    import xarray as xr

    dims = ("fold_model", "patch", "y", "x")[-logit.ndim :]
    out = xr.Dataset(
        {"logit": (dims, logit)},
        coords={"patch": np.asarray(patch, np.int64)},
        attrs={"seed": seed, "model": "unet"},
    )
    if fold is not None:
        out["fold"] = ("patch", np.asarray(fold, np.int64))
    lead = logit.shape[:-3]
    out["logit"].encoding["chunks"] = (*lead, min(16, logit.shape[-3]), *logit.shape[-2:])
    return out


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_TILES):
        yield slice(start, min(start + BLOCK_TILES, count))
