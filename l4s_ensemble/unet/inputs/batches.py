"""From tiles on the device to the batches that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.hardware import LAYOUT
from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.inputs.tileset import TileSet, sent

_ORDER = 2  # first word of a key: what the draw is for


@dataclass(frozen=True)
class Batches:
    """Makes the batches of a training; every sample depends on its key alone.

    Attributes
    ----------
    tiles : TileSet
        Training tiles, on the device, with masks.
    normalisation : Normalisation
    config : UNetConfig
    key : tuple of int
        Seed and fold, and the number of the network where it is not the first.
    """

    tiles: TileSet
    normalisation: Normalisation
    config: UNetConfig
    key: tuple[int, ...]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the tiles in the order in which an epoch shows them."""
        return np.random.default_rng([_ORDER, *self.key, epoch]).permutation(len(self.tiles))

    def make(self, epoch: int, where: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment the tiles at `where`.

        Returns
        -------
        x : float32 Tensor, shape (n, channel, y, x)
            In the layout of the networks.
        target : float32 Tensor, shape (n, 1, y, x)
            1 = landslide.
        """
        tiles, device = self.tiles, self.tiles.counts.device
        assert tiles.mask is not None
        symmetry, gain = augment.draw(
            self.key, epoch, tiles.patch[where], tiles.spectral, self.config
        )
        index = sent(where, device)
        counts, mask = tiles.counts[index], tiles.mask[index]
        if symmetry.any():
            counts, mask = (augment.apply_symmetries(v, symmetry) for v in (counts, mask))
        x = self.normalisation.inputs(tiles, index, counts, sent(gain, device))
        return x.contiguous(memory_format=LAYOUT), mask[:, None].float()


def plain_batches(
    tiles: TileSet, normalisation: Normalisation, *, most: int, batch: int
) -> Iterator[torch.Tensor]:
    """Inputs, not augmented, of up to `most` tiles, evenly spread.

    Batches are of equal size, so that statistics are the mean of theirs.
    """
    batch = min(batch, len(tiles))
    count = min(most, len(tiles)) // batch
    for where in np.split(spread(len(tiles), count * batch), count):
        x = normalisation.inputs(tiles, sent(where, tiles.counts.device))
        yield x.contiguous(memory_format=LAYOUT)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Up to `most` positions of `count`, evenly spread."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)
