"""Labels that a fold's own networks give to tiles without masks, where they are sure.

Self-training after Lee 2013 (pseudo-labels) with a threshold for each class, as Zou et al. 2018,
https://arxiv.org/abs/1810.07911, use it to adapt a segmentation to another place: what the networks
are not sure of is not learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.config import AdaptConfig
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.unet.inputs.tileset import BLOCK_TILES, TileSet

UNKNOWN = 255
"""Label of a pixel that the networks are not sure of."""

USABLE_SHARE = 0.25
"""A tile is learnt from if this share of its pixels is sure: a few dark pixels are no tile."""

COLLAPSE = 4.0
"""A share of landslides this many times too large or too small is not believed."""


@dataclass(frozen=True)
class PseudoLabels:
    """What networks are sure of.

    Attributes
    ----------
    label : uint8 array, shape (tile, y, x)
        1 landslide, 0 none, `UNKNOWN`.
    expected : float
        Share of landslides in the masks that the networks learned from, see `expected_share`.
    """

    label: NDArray[np.uint8]
    expected: float

    @classmethod
    def of(cls, logit: NDArray[np.float32], config: AdaptConfig, expected: float) -> PseudoLabels:
        """Labels by probability, logit (tile, y, x)."""
        label = np.full(logit.shape, UNKNOWN, np.uint8)
        for i, z in enumerate(logit):
            probability = sigmoid(z)
            label[i][probability >= config.sure] = 1
            label[i][probability < config.sure_not] = 0
        return cls(label, expected)

    @cached_property
    def usable(self) -> NDArray[np.int64]:
        """Positions of the tiles that are learnt from."""
        sure = (self.label != UNKNOWN).mean(axis=(1, 2))
        return np.flatnonzero(sure >= USABLE_SHARE)

    @cached_property
    def landslide_share(self) -> float:
        """Share of the sure pixels of usable tiles that are landslides; 0 without any."""
        label = self.label[self.usable]
        sure = int((label != UNKNOWN).sum())
        return int((label == 1).sum()) / sure if sure else 0.0

    @property
    def ratio(self) -> float:
        """How many times more landslides there are than in the masks that were learnt from."""
        return self.landslide_share / self.expected

    @property
    def doubt(self) -> str | None:
        """Why nothing should be learnt from these labels; None if nothing speaks against it."""
        if not len(self.usable):
            return f"no tile has {USABLE_SHARE:.0%} sure pixels"
        if not 1 / COLLAPSE <= self.ratio <= COLLAPSE:
            return (
                f"{self.landslide_share:.2%} of the sure pixels are landslides, {self.ratio:.2f} "
                f"times what the masks lead to expect; 1/{COLLAPSE:g} to {COLLAPSE:g} is believed"
            )
        return None

    def apply(self, tiles: TileSet) -> TileSet:
        """The tiles with these labels as their masks; what is not sure is not known."""
        device = tiles.counts.device
        label = torch.from_numpy(self.label).to(device)
        known = label != UNKNOWN
        return replace(
            tiles,
            mask=torch.where(known, label, torch.zeros_like(label)),
            known=known.to(torch.uint8),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the progress of a fold."""
        return {
            "tiles": len(self.usable),
            "sure_share": float((self.label != UNKNOWN).mean()),
            "landslide_share": self.landslide_share,
            "expected_share": self.expected,
            "ratio": self.ratio,
        }


def expected_share(
    tiles: TileSet, positions: NDArray[np.int64], landslide_share: float | None
) -> float:
    """Share of landslides that networks expect: that of the masks, as an epoch shows them.

    Where ``unet.landslide_share`` shows tiles with a landslide more often than they are, the
    networks learned from more landslides than there are, and expect them: the share of the masks
    is corrected for that.

    Parameters
    ----------
    tiles : TileSet
        With masks.
    positions : int64 array
        Training tiles.
    landslide_share : float, optional
        Share of the shown tiles that have one; None where tiles are shown as they are.
    """
    if tiles.mask is None:
        raise ValueError("training needs masks")
    share = np.empty(len(positions))
    for start in range(0, len(positions), BLOCK_TILES):
        part = slice(start, start + BLOCK_TILES)
        index = torch.from_numpy(positions[part]).to(tiles.counts.device)
        slide = (tiles.mask[index] > 0).flatten(1).float()
        known = torch.ones_like(slide)
        if tiles.known is not None:
            known = tiles.known[index].flatten(1).float()
        found = (slide * known).sum(dim=1) / known.sum(dim=1).clamp_min(1)
        share[part] = found.cpu().numpy()
    has = share > 0
    if landslide_share is None or has.all() or not has.any():
        return float(share.mean())
    return float(landslide_share * share[has].mean())
