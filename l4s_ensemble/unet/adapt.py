"""Adaptation of trained networks to the images of a split that they have never seen.

Batch norm gets mean and deviation of that split's own tiles instead of those of the training tiles
(Li et al. 2016, https://arxiv.org/abs/1603.04779). Weights stay, masks are never read. A network
then has two sets of statistics: out-of-fold scores use those of the training tiles, the split that
was adapted to is scored with its own.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.inputs.batches import plain_batches
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.training.average import recalibrate

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

HOLDOUT = "holdout"
"""The split whose images are in the store of the training tiles."""

STATISTICS_TILES = 1024
"""Most tiles that batch statistics come from."""

STATE = "target"
"""`FoldModel.state` of a network with the batch statistics of the split to predict."""


def load_target(
    ctx: StageContext,
    split: str,
    folds: Folds,
    *,
    fitted_hashes: frozenset[str],
    device: torch.device,
) -> TileSet:
    """Read the images of a split onto a device, without masks.

    Tiles without terrain, and tiles that the folds hold too, are left out: the first say nothing,
    and the others would be adapted to by the networks that score them.

    Parameters
    ----------
    ctx : StageContext
        Of the U-Net's stage.
    split : {'valid', 'test', 'holdout'}
    folds : Folds
        Of the training tiles.
    fitted_hashes : frozenset of str
        Content hashes of the tiles to fit on.
    device : torch.device

    Raises
    ------
    DataError
        If no tile is left.
    """
    from l4s_ensemble.data.store import open_store, positions_of

    store = open_store(ctx.input("data/train" if split == HOLDOUT else f"adapt/{split}"))
    at = np.arange(store.sizes["patch"])
    if split == HOLDOUT:
        at = positions_of(store, folds.holdout_ids)
    hashes = store["content_hash"].values[at]
    known = np.isin(hashes, list(fitted_hashes))
    usable = ~known & ~store["degenerate"].values[at].astype(bool)
    if known.any():
        log.warning(
            "unet: %d of %d tiles of %s are training tiles too; nothing is adapted to them",
            known.sum(), len(at), split,
        )  # fmt: skip
    if not usable.any():
        raise DataError(
            "no tile to adapt to", where=f"split {split}", found=f"{len(at)} tiles",
            allowed="tiles with terrain that are no training tiles", fix="fit without --adapt",
        )  # fmt: skip
    return load(store, np.sort(at[usable]), masks=False).to(device)


def adapted(
    models: Sequence[FoldModel], tiles: TileSet, batch: int, hardware: Hardware
) -> tuple[FoldModel, ...]:
    """Networks with the batch statistics of a split; none if they have no batch norm.

    Parameters
    ----------
    models : sequence of FoldModel
        Of a fold; left as they are.
    tiles : TileSet
        As `load_target` gives them.
    batch : int
        Tiles shown at once.
    hardware : Hardware
    """
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in models[0].network.modules()):
        log.warning("unet: the network has no batch norm, so nothing is adapted")
        return ()
    out = []
    for model in models:
        network = hardware.place(copy.deepcopy(model.network))
        inputs = plain_batches(
            tiles, np.arange(len(tiles)), model.normalisation, most=STATISTICS_TILES, batch=batch
        )
        with hardware.autocast():
            recalibrate(network, inputs)
        out.append(replace(model, network=network, state=STATE))
    return tuple(out)
