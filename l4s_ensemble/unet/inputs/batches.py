"""From tiles on the device to the batches that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.inputs import augment, sampling
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet
from l4s_ensemble.unet.inputs.tileset import BLOCK_TILES, sent
from l4s_ensemble.unet.inputs.windows import cut


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
    """Makes the batches of a fold; every sample depends on its key alone.

    Windows may reach into neighbours that are held out or in the buffer of this fold: their pixels
    are seen, their masks never count.

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

    Raises
    ------
    ConfigError
        If windows are to be shifted by more than a tile.
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
        tile_px = tiles.counts.shape[-1]
        if config.shift_px > tile_px:
            raise ConfigError(
                "a window cannot be shifted beyond the neighbouring tiles", where="unet.shift_px",
                found=config.shift_px, allowed=f"0 to {tile_px}",
            )  # fmt: skip
        self.positions: NDArray[np.int64] = np.asarray(positions, np.int64)
        self.learnt = np.zeros(len(tiles), bool)
        self.learnt[self.positions] = True
        self.tiles = _without_other_masks(normalisation.prepare(tiles), self.learnt)
        self.normalisation = normalisation
        self.config = config
        self.key = key
        self.landslide = (
            None if config.landslide_share is None else _landslides(self.tiles, self.positions)
        )

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Samples of an epoch, in the order in which they are shown; as many as training tiles.

        Each is the position of its tile, plus the size of the set for every time that the epoch
        has shown the tile before.
        """
        if self.landslide is None or self.config.landslide_share is None:
            return self.positions[sampling.order(self.key, epoch, len(self.positions))]
        chosen = sampling.balanced(self.key, epoch, self.landslide, self.config.landslide_share)
        return sampling.tickets(self.positions[chosen], len(self.tiles))

    def make(self, epoch: int, where: NDArray[np.int64]) -> Batch:
        """Augmented inputs and targets of the samples `where`, as `order` gives them."""
        position, repeat = sampling.read_tickets(where, len(self.tiles))
        if not self.learnt[position].all():
            raise ValueError("a sample is no training tile of this fold")
        draw = self._draw(epoch, position, repeat)
        batch = self._cut(position, draw)
        mixed = np.flatnonzero(draw.mixed)
        if len(mixed) and len(self.positions) > 1:
            self._mix(batch, epoch, position, draw, mixed)
        if not draw.shown.all():
            batch.x.mul_(sent(draw.shown, batch.x.device)[:, :, None, None])
        return batch

    def plain(self, count: int, batch: int) -> Iterator[torch.Tensor]:
        """Inputs, not augmented, of up to `count` training tiles spread over the fold.

        Batches are of equal size, so that statistics are the mean of theirs.
        """
        count = min(count, len(self.positions)) // batch * batch
        spread = np.linspace(0, len(self.positions) - 1, count).round().astype(np.int64)
        for where in np.split(self.positions[spread], count // batch):
            index = sent(where, self.tiles.counts.device)
            yield self.normalisation.inputs(self.tiles, index)

    def _draw(
        self, epoch: int, position: NDArray[np.int64], repeat: NDArray[np.int64]
    ) -> augment.Draw:
        tiles, n = self.tiles, len(position)
        near = np.zeros((n, 3, 3), bool)
        if self.config.shift_px and tiles.around is not None:
            near = self._near[position]
        samples = augment.Samples(
            tiles.patch[position],
            repeat,
            np.full(n, -1) if tiles.scene is None else tiles.scene[position],
            near,
            tiles.spectral,
            len(self.normalisation.channels),
        )
        return augment.draw(self.key, epoch, samples, self.config)

    def _cut(self, position: NDArray[np.int64], draw: augment.Draw) -> Batch:
        """Windows of tiles, as inputs and targets, before they are mixed and channels dropped."""
        tiles, device = self.tiles, self.tiles.counts.device
        index = sent(position, device)
        seen = cut(
            tiles,
            index,
            tiles.counts.shape[-1],
            offset_px=torch.from_numpy(draw.offset_px) if draw.offset_px.any() else None,
            symmetry=torch.from_numpy(draw.symmetry) if draw.symmetry.any() else None,
        )
        if seen.mask is None:
            raise ValueError("training needs masks")
        gain = sent(draw.gain, device)
        x = self.normalisation.apply(seen.units, gain, tiles.middle_of(index))
        return Batch(x, seen.mask[:, None].float(), seen.known[:, None].float())

    def _mix(
        self,
        batch: Batch,
        epoch: int,
        position: NDArray[np.int64],
        draw: augment.Draw,
        mixed: NDArray[np.int64],
    ) -> None:
        """Paste rectangles of other training tiles, in place.

        The partner is the tile as the epoch shows it first, before anything is pasted into it:
        drawn from the whole fold, it does not depend on who else is in the batch.
        """
        # All but the tile itself: skip its place.
        number = np.floor(draw.partner[mixed] * (len(self.positions) - 1)).astype(np.int64)
        itself = self._place[position[mixed]]
        partner = self.positions[number + (number >= itself)]
        other = self._cut(partner, self._draw(epoch, partner, np.zeros_like(partner)))
        for k, i in enumerate(mixed):
            rows, columns = augment.rectangle(draw.rectangle[i], batch.x.shape[-1])
            for name in ("x", "target", "weight"):
                into, source = getattr(batch, name), getattr(other, name)
                into[i, :, rows, columns] = source[k, :, rows, columns]

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Place of each tile of the set among the training tiles."""
        place = np.full(len(self.tiles), -1)
        place[self.positions] = np.arange(len(self.positions))
        return place

    @cached_property
    def _near(self) -> NDArray[np.bool_]:
        """Which neighbours each tile of the set has, (tile, 3, 3)."""
        around = self.tiles.around
        if around is None:
            return np.zeros((len(self.tiles), 3, 3), bool)
        return np.asarray(around.cpu().numpy() >= 0)


def _without_other_masks(tiles: TileSet, learnt: NDArray[np.bool_]) -> TileSet:
    """The set with `known` 0 on all tiles that are not learnt from."""
    if learnt.all():
        return tiles
    ours = torch.from_numpy(learnt).to(tiles.counts.device).to(torch.uint8)[:, None, None]
    if tiles.known is not None:
        return replace(tiles, known=tiles.known * ours)
    size = (len(tiles), *tiles.counts.shape[-2:])
    return replace(tiles, known=ours.expand(size).contiguous())


def _landslides(tiles: TileSet, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which tiles have a landslide that may be learnt from."""
    if tiles.mask is None:
        raise ValueError("training needs masks")
    out = np.empty(len(positions), bool)
    for start in range(0, len(positions), BLOCK_TILES):
        part = slice(start, start + BLOCK_TILES)
        index = torch.from_numpy(positions[part]).to(tiles.counts.device)
        slide = tiles.mask[index] > 0
        if tiles.known is not None:
            slide &= tiles.known[index] > 0
        out[part] = slide.flatten(1).any(dim=1).cpu().numpy()
    return out
