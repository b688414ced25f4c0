"""From tiles on the device to the batches that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.hardware import LAYOUT
from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet
from l4s_ensemble.unet.inputs.tileset import sent

_ORDER = 2  # first word of a key: what the draw is for


class Batch(NamedTuple):
    """What a network sees, and what it should say.

    Attributes
    ----------
    x : float32 Tensor, shape (n, channel, y, x)
    target : float32 Tensor, shape (n, 1, y, x)
        1 = landslide.
    """

    x: torch.Tensor
    target: torch.Tensor


class Batches:
    """Makes the batches of a fold; every sample depends on its key alone.

    Parameters
    ----------
    tiles : TileSet
        On the device, with masks.
    positions : array_like of int
        Training tiles, positions in `tiles`.
    normalisation : Normalisation
    config : UNetConfig
    key : sequence of int
        Seed and fold.
    """

    def __init__(
        self,
        tiles: TileSet,
        positions: ArrayLike,
        normalisation: Normalisation,
        config: UNetConfig,
        key: tuple[int, ...],
    ) -> None:
        self.positions: NDArray[np.int64] = np.asarray(positions, np.int64)
        self.tiles = normalisation.prepare(tiles)
        self.normalisation = normalisation
        self.config = config
        self.key = key

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the training tiles in the order in which an epoch shows them."""
        rng = np.random.default_rng([_ORDER, *self.key, epoch])
        return self.positions[rng.permutation(len(self.positions))]

    def make(self, epoch: int, where: NDArray[np.int64]) -> Batch:
        """Augmented inputs and targets of the training tiles at `where`.

        Raises
        ------
        ValueError
            If one of them is no training tile of the fold, or the tiles have no masks.
        """
        tiles, device = self.tiles, self.tiles.counts.device
        if tiles.mask is None:
            raise ValueError("training needs masks")
        if not np.isin(where, self.positions).all():
            raise ValueError("a sample is no training tile of this fold")
        draw = augment.draw(self.key, epoch, tiles.patch[where], tiles.spectral, self.config)
        index = sent(where, device)
        counts, mask = tiles.counts[index], tiles.mask[index]
        if draw.symmetry.any():
            counts, mask = (augment.apply_symmetries(v, draw.symmetry) for v in (counts, mask))
        x = self.normalisation.apply(tiles.units(index, counts), sent(draw.gain, device))
        return Batch(x, mask[:, None].float())


def plain_batches(
    tiles: TileSet,
    positions: NDArray[np.int64],
    normalisation: Normalisation,
    *,
    most: int,
    batch: int,
) -> Iterator[torch.Tensor]:
    """Inputs, not augmented, of up to `most` of the tiles at `positions`, evenly spread.

    Batches are of equal size, so that statistics are the mean of theirs.
    """
    batch = min(batch, len(positions))
    count = min(most, len(positions)) // batch
    for where in np.split(spread(positions, count * batch), count):
        x = normalisation.inputs(tiles, sent(where, tiles.counts.device))
        yield x.contiguous(memory_format=LAYOUT)


def spread(positions: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Up to `most` of some positions, evenly spread."""
    at = np.linspace(0, len(positions) - 1, min(most, len(positions)))
    return positions[at.round().astype(np.int64)]
