"""Logits of whole tiles: one path for out-of-fold scores and for predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from l4s_ensemble.unet.hardware import LAYOUT, Hardware
from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.inputs.tileset import TileSet

CPU_PIXELS = 8 * 128 * 128
"""Pixels at once on a CPU. Measured: 8 tiles of 128 x 128 are as fast as any number below, and a
third faster a tile than 32, of which the activations no longer fit a cache."""

CUDA_TILES = 256
"""Tiles at once on a GPU, as long as its memory holds them: more keep it no busier."""


class Predictor:
    """Applies networks that see the same inputs to tiles.

    Parameters
    ----------
    networks : sequence of Module
        Their mean logit counts. They are moved to the device.
    normalisation : Normalisation
    hardware : Hardware
    symmetries : bool
        Average the logits over the eight symmetries of the square.

    Attributes
    ----------
    batch : int
        Tiles scored at once so far; 0 before the first.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        normalisation: Normalisation,
        hardware: Hardware,
        *,
        symmetries: bool = False,
    ) -> None:
        self.networks = tuple(hardware.place(network).eval() for network in networks)
        self.normalisation = normalisation
        self.hardware = hardware
        self.symmetries = range(augment.SYMMETRIES if symmetries else 1)
        self.batch = 0

    @torch.inference_mode()
    def __call__(self, tiles: TileSet) -> torch.Tensor:
        """Logits of tiles, float32 (n, y, x), on the device."""
        tiles = tiles.to(self.hardware.device)
        index = torch.arange(len(tiles), device=tiles.counts.device)
        parts, done = [tiles.scale.new_empty(0, *tiles.counts.shape[-2:])], 0
        cuda = self.hardware.device.type == "cuda"
        self.batch = self.batch or (CUDA_TILES if cuda else fits_cpu(tiles.counts.shape[-1]))
        while done < len(index):
            some = index[done : done + self.batch]
            # cuDNN searches its best algorithm anew for every size of a batch: let there be few.
            shown = to_power_of_two(some) if cuda else some
            scored = self._scored(tiles, shown)
            if scored is None:
                self.batch = max(1, len(some) // 2)
                torch.cuda.empty_cache()
                continue
            parts.append(scored[: len(some)])
            done += len(some)
        return torch.cat(parts)

    def _scored(self, tiles: TileSet, index: torch.Tensor) -> torch.Tensor | None:
        """Logits of one batch; None if the memory is not enough for it and it can be halved."""
        try:
            return self.logits(self.normalisation.inputs(tiles, index))
        except torch.OutOfMemoryError:
            if len(index) == 1:
                raise
            return None

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
        assert total is not None
        return total[:, 0] / (len(self.symmetries) * len(self.networks))


def fits_cpu(size_px: int) -> int:
    """Tiles of a size at once on a CPU."""
    return max(1, CPU_PIXELS // size_px**2)


def to_power_of_two(index: torch.Tensor) -> torch.Tensor:
    """Repeat the last position until their number is a power of two."""
    more = (1 << (len(index) - 1).bit_length()) - len(index)
    return torch.cat([index, index[-1:].expand(more)])
