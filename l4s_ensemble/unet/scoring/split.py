"""Scores of a whole split: tiles are read, scored and blended block by block.

The next block is read while one is scored. A window is scored once; its logits are kept until the
last tile that they reach into is blended. Tiles are taken row by row of their scene, so few wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.surroundings import (
    SURROUNDINGS_FILE,
    Surroundings,
    load_surroundings,
    measure_surroundings,
)
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.scoring.blend import Step, among, blend, plan, table_of

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.unet.infer import Predictor

BLOCK_TILES = {"cpu": 64, "cuda": 512}
"""Tiles of a block: on a CPU few, so that a kill loses little; on a GPU many, to keep it busy."""

READ_TILES = 256
"""Tiles read at once where only their medians are wanted."""


def block_tiles(hardware: Hardware) -> int:
    """Tiles that are read and blended at once."""
    return BLOCK_TILES.get(hardware.device.type, 64)


def surroundings_to_predict(
    ctx: StageContext, store: xr.Dataset, model: Path
) -> Surroundings | None:
    """Find what lies around the tiles of a store; None where no window and no level asks for it.

    Tiles of the store that the model was fitted on have it from the fit. Another store's is
    measured from its own pixels and the places that it knows; no label is read.

    Parameters
    ----------
    ctx : StageContext
        Of a prediction.
    store : xarray.Dataset
        All tiles of the store that it reads.
    model : Path
        Folder of the U-Net, with ``surroundings.npz`` where its training used that.
    """
    from l4s_ensemble.scenes.folds import load_folds

    path, config = model / SURROUNDINGS_FILE, ctx.config.unet
    fitted = load_surroundings(path) if path.is_file() else None
    if fitted is None and config.halo_px == 0:
        return None
    of_the_fit = fitted is not None and np.array_equal(fitted.patch, store["patch"].values)
    if of_the_fit and ctx.params["data"] == "data/train":
        return fitted
    folds = load_folds(ctx.input("scenes")) if ctx.params.get("holdout") else None
    cross = config.neighbours if fitted is None else fitted.cross
    return measure_surroundings(store, folds, cross=cross)


def score_split(
    store: xr.Dataset,
    asked: NDArray[np.int64],
    predictors: Sequence[Predictor],
    known: Surroundings | None,
    block: int,
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Score tiles of a store with the networks of every fold.

    A tile that is set aside is scored in the company of all tiles, for its networks are trained;
    any other tile as if those set aside did not exist, as out of fold.

    Parameters
    ----------
    store : xarray.Dataset
        As `l4s_ensemble.data.store.open_store` gives it.
    asked : int64 array, shape (tile,)
        Positions in the store.
    predictors : sequence of Predictor
        One a fold, with the same halo and the same channels.
    known : Surroundings, optional
        Of all tiles of the store. Without it every tile stands alone.
    block : int
        Tiles blended at once.

    Yields
    ------
    positions : int64 array, shape (n,)
        Of some of the tiles.
    logit : float32 Tensor, shape (n, fold, y, x)
    """
    for part, view in _views(asked, known):
        yield from _score(store, part, predictors, view, block)


def _views(
    asked: NDArray[np.int64], known: Surroundings | None
) -> Iterator[tuple[NDArray[np.int64], Surroundings | None]]:
    """Tiles to score, row by row of their scene, and what they may see."""
    if known is None:
        if len(asked):
            yield asked, None
        return
    ordered = asked[np.lexsort((known.col[asked], known.row[asked], known.scene[asked]))]
    for aside in (False, True):
        part = ordered[known.aside[ordered] == aside]
        if len(part):
            yield part, replace(known, aside=np.ones_like(known.aside)) if aside else known


def _score(
    store: xr.Dataset,
    asked: NDArray[np.int64],
    predictors: Sequence[Predictor],
    known: Surroundings | None,
    block: int,
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    halo, device = predictors[0].halo_px, predictors[0].hardware.device
    normalisation = predictors[0].normalisation
    around = table_of(known, store.sizes["patch"])
    middle = _scene_middles(store, asked, known, normalisation)
    steps = list(plan(around, (asked[i : i + block] for i in range(0, len(asked), block)), halo))

    def read(step: Step) -> TileSet:
        tiles = load(store, step.read, masks=False, surroundings=known).to(device)
        tiles = normalisation.prepare(tiles)
        if middle is None:
            return tiles
        return replace(tiles, middle=torch.from_numpy(middle[step.read]).to(device))

    kept: dict[int, torch.Tensor] = {}
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, steps[0])
        for i, step in enumerate(steps):
            tiles = coming.result()
            if i + 1 < len(steps):
                coming = reader.submit(read, steps[i + 1])
            at = np.searchsorted(step.read, step.score)
            scored = torch.stack([p.windows(tiles, at) for p in predictors], dim=1)
            kept.update(zip(step.score.tolist(), scored, strict=True))
            windows = torch.stack([kept[t] for t in step.need.tolist()])
            near = torch.from_numpy(among(around, step.need)).to(device)
            wanted = torch.from_numpy(np.searchsorted(step.need, step.tiles)).to(device)
            yield step.tiles, blend(windows, near, wanted, halo)
            for tile in step.drop:
                del kept[tile]


def _scene_middles(
    store: xr.Dataset,
    asked: NDArray[np.int64],
    known: Surroundings | None,
    normalisation: Normalisation,
) -> NDArray[np.float32] | None:
    """What light of every tile is divided by where that is the scene's, (tile, band).

    A scene's median is over all of its tiles that may be seen, not over those of a block. None
    where another level is shown.
    """
    if known is None or normalisation.shown.level != "scene":
        return None
    out = np.ones((store.sizes["patch"], store.sizes["band"]), np.float32)
    scenes = np.unique(known.scene[asked])
    seen = np.isin(known.scene, scenes[scenes >= 0]) & (known.aside.all() | ~known.aside)
    read = np.union1d(asked, np.flatnonzero(seen))
    for start in range(0, len(read), READ_TILES):
        some = read[start : start + READ_TILES]
        alone = replace(load(store, some, masks=False, surroundings=known), scene=None)
        middle = normalisation.prepare(alone).middle
        if middle is not None:
            out[some] = middle.numpy()
    for scene in scenes[scenes >= 0]:
        own = seen & (known.scene == scene)
        out[own] = torch.from_numpy(out[own]).median(dim=0).values.numpy()
    return out
