"""Logits of whole tiles: one path for out-of-fold scores and for predictions."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.unet.hardware import LAYOUT, Hardware, choose
from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel

if TYPE_CHECKING:
    import xarray as xr

READ_TILES = {"cpu": 64, "cuda": 512}
"""Tiles read at once: on a CPU few, so that a kill loses little; on a GPU many, to keep it busy."""

CPU_PIXELS = 8 * 128 * 128
"""Pixels at once on a CPU. Measured: 8 tiles of 128 x 128 are as fast as any number below, and a
third faster a tile than 32, of which the activations no longer fit a cache."""

CUDA_TILES = 256
"""Tiles at once on a GPU, as long as its memory holds them: more keep it no busier."""


class Predictor:
    """Applies the networks of one fold to tiles.

    Parameters
    ----------
    model : FoldModel or sequence of FoldModel
        One network, or several of a fold that were trained from other seeds: their mean logit
        counts.
    hardware : Hardware
    tta : bool
        Average the logits over the eight symmetries of the square.

    Attributes
    ----------
    networks : tuple of Module
    normalisation : Normalisation
        Of all of them.
    batch : int
        Tiles scored at once so far; 0 before the first.

    Raises
    ------
    ValueError
        If there is no network, or they do not see the same inputs.
    """

    def __init__(
        self, model: FoldModel | Sequence[FoldModel], hardware: Hardware, *, tta: bool
    ) -> None:
        models = (model,) if isinstance(model, FoldModel) else tuple(model)
        if not models or any(m.normalisation != models[0].normalisation for m in models):
            raise ValueError("a fold has at least one network, and all see the same inputs")
        self.networks = tuple(hardware.place(copy.deepcopy(m.network)).eval() for m in models)
        self.normalisation = models[0].normalisation
        self.hardware = hardware
        self.symmetries = range(augment.SYMMETRIES if tta else 1)
        self.batch = 0

    def __call__(self, tiles: TileSet, positions: ArrayLike) -> NDArray[np.float32]:
        """Logits of the tiles at `positions`, float32 (n, y, x).

        Raises
        ------
        ModelError
            If the tiles have other bands than the networks were trained on.
        """
        return self.score(tiles, positions).cpu().numpy()

    @torch.inference_mode()
    def score(self, tiles: TileSet, positions: ArrayLike) -> torch.Tensor:
        """Logits of the tiles at `positions`, float32 (n, y, x), on the device."""
        self.normalisation.require(tiles.sensor)
        index = torch.as_tensor(np.asarray(positions, np.int64), device=tiles.counts.device)
        parts, done = [tiles.scale.new_empty(0, *tiles.counts.shape[-2:])], 0
        cuda = self.hardware.device.type == "cuda"
        self.batch = self.batch or (CUDA_TILES if cuda else fits_cpu(tiles.counts.shape[-1]))
        while done < len(index):
            some = index[done : done + self.batch]
            scored = self._scored(tiles, some)
            if scored is None:
                self.batch = max(1, len(some) // 2)
                torch.cuda.empty_cache()
                continue
            parts.append(scored)
            done += len(some)
        return torch.cat(parts)

    @torch.inference_mode()
    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Mean logits (n, y, x) of inputs over networks and symmetries, float32."""
        total: torch.Tensor | None = None
        for number in self.symmetries:
            turned = augment.apply_symmetry(x, number)
            turned = turned.contiguous(memory_format=LAYOUT)
            for network in self.networks:
                with self.hardware.autocast():
                    y = network(turned)
                back = augment.undo_symmetry(y.float(), number)
                total = back if total is None else total + back
        if total is None:
            raise ValueError("no symmetry to average over")
        return total[:, 0] / (len(self.symmetries) * len(self.networks))

    def _scored(self, tiles: TileSet, index: torch.Tensor) -> torch.Tensor | None:
        """Logits of one batch; None if the memory is not enough for it and it can be halved."""
        shown = index
        if self.hardware.device.type == "cuda":
            shown = to_power_of_two(index)
        try:
            return self.logits(self.normalisation.inputs(tiles, shown))[: len(index)]
        except torch.OutOfMemoryError:
            if len(index) == 1:
                raise
            return None


def fits_cpu(size_px: int) -> int:
    """Tiles of a size at once on a CPU."""
    return max(1, CPU_PIXELS // size_px**2)


def to_power_of_two(index: torch.Tensor) -> torch.Tensor:
    """Repeat the last position until their number is a power of two.

    cuDNN searches its best algorithm anew for every size of a batch: let there be few sizes.
    """
    more = (1 << (len(index) - 1).bit_length()) - len(index)
    return torch.cat([index, index[-1:].expand(more)])


def stage(ctx: StageContext) -> Summary:
    """Score the tiles to predict with the networks of every fold.

    Writes ``logit.zarr``: ``logit (fold_model, patch, y, x)``. A killed run goes on with the tiles
    that are missing.

    Raises
    ------
    ModelError
        If the tiles are not of the sensor that the model was trained on.
    ConfigError
        If the device cannot be had.
    """
    from l4s_ensemble.data.store import open_store, positions_of, sensor_of
    from l4s_ensemble.scenes.folds import patches_to_predict

    started = time.monotonic()
    config = ctx.config.unet
    hardware = choose(ctx.device, config.precision, ctx.jobs)
    ids = patches_to_predict(ctx)["patch"].values
    store = open_store(ctx.input(str(ctx.params["data"])))
    model = UNetModel.load(ctx.input("unet"))
    model.require(sensor_of(store))
    predictors = [
        Predictor(members, hardware, tta=config.tta)
        for members in model.folds_for(_split_of_the_fit(ctx))
    ]
    scores = score_file(
        ctx.out / "logit.zarr", ids, (store.sizes["y"], store.sizes["x"]),
        seed=model.seed, models=len(predictors),
    )  # fmt: skip
    positions = positions_of(store, ids)
    row = np.full(store.sizes["patch"], -1)
    row[positions] = np.arange(len(ids))
    todo = [positions[b] for b in scores.missing()]
    asked = np.concatenate([*todo, np.empty(0, np.int64)])
    each = READ_TILES[hardware.device.type]
    blocks = _score_blocks(store, asked, predictors, each)
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:
        for at, logit in track(blocks, "unet: scoring blocks of tiles", -(-len(asked) // each)):
            if writing is not None:
                writing.result()
            writing = writer.submit(_write, scores, row[at], logit.cpu().numpy())
        if writing is not None:
            writing.result()
    seconds = time.monotonic() - started
    return {
        "patches": len(ids),
        "adapted_to": model.adapted_to,
        "fold_models": len(predictors),
        "seeds": len(predictors[0].networks),
        "device": str(hardware.device),
        "precision": hardware.precision,
        "tta": config.tta,
        "batch": predictors[0].batch,
        "seconds": seconds,
        "patches_per_s": len(asked) / seconds,
    }


def _score_blocks(
    store: xr.Dataset, asked: NDArray[np.int64], predictors: Sequence[Predictor], each: int
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Score tiles of a store with the networks of every fold, reading ahead by a block.

    Yields
    ------
    positions : int64 array, shape (n,)
        Of some of the tiles.
    logit : float32 Tensor, shape (n, fold, y, x)
    """

    def read(at: NDArray[np.int64]) -> TileSet:
        return load(store, at, masks=False).to(predictors[0].hardware.device)

    parts = [asked[i : i + each] for i in range(0, len(asked), each)]
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(read, part) for part in parts[:1]]
        for i, part in enumerate(parts):
            tiles = coming.pop().result()
            coming += [reader.submit(read, p) for p in parts[i + 1 : i + 2]]
            every = np.arange(len(part))
            yield part, torch.stack([p.score(tiles, every) for p in predictors], dim=1)


def score_file(
    path: Path,
    patch: ArrayLike,
    size: tuple[int, int],
    *,
    seed: int,
    models: int | None = None,
    fold: ArrayLike | None = None,
) -> ScoreFile:
    """File for logits of a U-Net, as float16 that reads as float32.

    Measured on 1,306 tiles out of fold: probabilities move by 1e-4 at most, F1 at a threshold by
    3e-6, the calibration error by 2e-6.

    Parameters
    ----------
    patch, size, models, fold
        See `l4s_ensemble.run.scores.ScoreFile`.
    seed : int
    """
    return ScoreFile(
        path, patch, size, models=models, fold=fold, attrs={"seed": seed, "model": "unet"},
        dtype="float16",
    )  # fmt: skip


def _split_of_the_fit(ctx: StageContext) -> str | None:
    """Split that is predicted; None if its tiles are of another folder than the fit's."""
    split = str(ctx.params.get("split", ""))
    return split if ctx.params.get("folder") == f"predict/{split}" else None


def _write(scores: ScoreFile, rows: NDArray[np.int64], logit: NDArray[np.float32]) -> None:
    """Store the logits (tile, fold, y, x) of some rows, those in a row at once."""
    order = np.argsort(rows)
    for run in np.split(order, np.flatnonzero(np.diff(rows[order]) != 1) + 1):
        first = int(rows[run[0]])
        scores.write(slice(first, first + len(run)), np.moveaxis(logit[run], 0, 1))
