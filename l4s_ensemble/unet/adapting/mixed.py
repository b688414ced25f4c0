"""Batches of a round of adaptation: training tiles, and tiles that the networks labelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.unet.inputs import sampling
from l4s_ensemble.unet.inputs.batches import Batches

_MIX, _PLAIN = 5, 6  # first word of a key: what the draw is for


class MixedBatches(Batches):
    """Batches in which tiles to predict have a set share, ``unet.adapt.share``.

    Parameters
    ----------
    tiles : TileSet
        Training tiles, then tiles to predict, see `l4s_ensemble.unet.adapting.target.joined`.
    positions : array_like of int
        Those to learn from, of both kinds.
    first_target : int
        Position of the first tile to predict.
    more
        As for `Batches`.
    """

    def __init__(
        self, tiles: Any, positions: ArrayLike, *more: Any, first_target: int, **named: Any
    ) -> None:
        super().__init__(tiles, positions, *more, **named)
        is_target = self.positions >= first_target
        self._target = np.flatnonzero(is_target)
        own = np.flatnonzero(~is_target)
        self._own: tuple[NDArray[np.int64], ...] = (own,)
        if self.landslide is not None and 0 < self.landslide[own].sum() < len(own):
            self._own = own[self.landslide[own]], own[~self.landslide[own]]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Samples of an epoch: as many as tiles of both kinds, shuffled.

        Within a kind no tile is shown twice more than another. Training tiles with a landslide have
        the share that ``unet.landslide_share`` says.
        """
        rng = np.random.default_rng([_MIX, *self.key, epoch])
        chosen = self._mixture(rng, len(self.positions))
        return sampling.tickets(self.positions[chosen], len(self.tiles))

    def plain(self, count: int, batch: int) -> Iterator[torch.Tensor]:
        """Inputs, not augmented, of tiles of both kinds, in the shares that batches have."""
        count = max(1, min(count, len(self.positions)) // batch) * batch
        rng = np.random.default_rng([_PLAIN, *self.key])
        chosen = self.positions[self._mixture(rng, count)]
        for where in np.split(chosen, count // batch):
            index = torch.from_numpy(where).to(self.tiles.counts.device)
            yield self.normalisation.inputs(self.tiles, index)

    def _mixture(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Places in `positions`, shuffled."""
        of_target = round(self.config.adapt.share * count)
        rest, kinds = count - of_target, [(self._target, of_target)]
        if len(self._own) == 2 and self.config.landslide_share is not None:
            wanted = round(self.config.landslide_share * rest)
            kinds += [(self._own[0], wanted), (self._own[1], rest - wanted)]
        else:
            kinds.append((self._own[0], rest))
        return rng.permutation(np.concatenate([sampling.evenly(rng, *kind) for kind in kinds]))
