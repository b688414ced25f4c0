"""From tiles on the device to the batches that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet import augment
from l4s_ensemble.unet.inputs import Normalisation, TileSet
from l4s_ensemble.unet.windows import cut


@dataclass(frozen=True)
class Batch:
    """What a network sees, and what it should say.

    Attributes
    ----------
    x : float32 Tensor, shape (n, channel, y, x)
    target : float32 Tensor, shape (n, 1, y, x)
        1 = landslide.
    weight : float32 Tensor, shape (n, 1, y, x)
        How much a pixel counts; 0 where the mask is not known.
    """

    x: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


class Batches:
    """Makes the batches of a fold; every one depends on its key alone.

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
        if tiles.mask is None:
            raise ValueError("training needs masks")
        self.tiles = tiles
        self.positions: NDArray[np.int64] = np.asarray(positions, np.int64)
        self.normalisation = normalisation
        self.config = config
        self.key = key

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the tiles of an epoch, in the order in which they are shown."""
        return self.positions[augment.order(self.key, epoch, len(self.positions))]

    def make(self, epoch: int, where: NDArray[np.int64]) -> Batch:
        """Augmented inputs and targets of the tiles at the positions `where`."""
        draw = augment.draw(
            self.key,
            epoch,
            self.tiles.patch[where],
            self.tiles.spectral,
            jitter_gain=self.config.jitter_gain,
            jitter_band=self.config.jitter_band,
        )
        device = self.tiles.counts.device
        index = torch.from_numpy(where).to(device)
        seen = cut(
            self.tiles, index, self.tiles.counts.shape[-1],
            symmetry=torch.from_numpy(draw.symmetry).to(device),
        )  # fmt: skip
        if seen.mask is None:
            raise ValueError("training needs masks")
        x = self.normalisation.apply(seen.units, torch.from_numpy(draw.gain).to(device))
        return Batch(x, seen.mask[:, None].float(), seen.known[:, None].float())

    def plain(self, count: int, batch: int) -> Iterator[torch.Tensor]:
        """Inputs, not augmented, of up to `count` training tiles spread over the fold.

        Batches are of equal size, so that statistics are the mean of theirs.
        """
        count = min(count, len(self.positions)) // batch * batch
        spread = np.linspace(0, len(self.positions) - 1, count).round().astype(np.int64)
        for where in np.split(self.positions[spread], count // batch):
            index = torch.from_numpy(where).to(self.tiles.counts.device)
            yield self.normalisation.apply(self.tiles.units(index))
