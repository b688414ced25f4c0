"""The tiles of a split to predict, as a U-Net adapts to them: images, never masks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load, plain

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

HOLDOUT = "holdout"
"""The split whose images are in the store of the training tiles."""


def data_stage_of(split: str) -> str:
    """Name of the stage that keeps the images of a split to adapt to."""
    return "data/train" if split == HOLDOUT else f"adapt/{split}"


@dataclass(frozen=True)
class Target:
    """Tiles to predict, without masks.

    Attributes
    ----------
    split : str
    tiles : TileSet
        On the device. Ids are those of the split.
    """

    split: str
    tiles: TileSet

    def __post_init__(self) -> None:
        if self.tiles.mask is not None:
            raise ValueError("a place to adapt to has no masks")

    def __len__(self) -> int:
        return len(self.tiles)


def load_target(
    ctx: StageContext,
    split: str,
    folds: Folds,
    *,
    fitted_hashes: frozenset[str],
    device: torch.device,
    surroundings: bool,
) -> Target:
    """Read the images of a split.

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
    surroundings : bool
        Whether the training reads neighbours, or levels of scenes.

    Raises
    ------
    DataError
        If no tile is left.
    """
    from l4s_ensemble.data.store import open_store, positions_of
    from l4s_ensemble.scenes.surroundings import measure_surroundings

    store = open_store(ctx.input(data_stage_of(split)))
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
    at = np.sort(at[usable])
    around = None
    if surroundings:
        aside = folds if split == HOLDOUT else None
        around = measure_surroundings(store, aside, cross=ctx.config.unet.neighbours)
    tiles = load(store, at, masks=False, surroundings=around)
    return Target(split, tiles.to(device))


def joined(fit: TileSet, target: TileSet, normalisation: Normalisation) -> TileSet:
    """Training tiles and, after them, tiles of a place to adapt to, in one set.

    Each part is prepared by itself, so that its levels are those that it has alone. The ids of the
    second part are raised above those of the first, for draws are keyed by id; its scenes are
    other scenes, and no tile of one part adjoins one of the other.

    Parameters
    ----------
    fit, target : TileSet
        Of the same sensor, with masks; on one device.
    normalisation : Normalisation
        What the tiles are prepared for.
    """
    a, b = normalisation.prepare(fit), normalisation.prepare(target)
    counts = (a.counts, b.counts)
    if a.counts.dtype != b.counts.dtype:
        counts = (plain(a.counts), plain(b.counts))
    return replace(
        a,
        patch=np.concatenate([a.patch, b.patch + int(a.patch.max()) + 1]),
        counts=torch.cat(counts),
        scale=torch.cat([a.scale, b.scale]),
        centre=torch.cat([a.centre, b.centre]),
        mask=torch.cat([_mask(a), _mask(b)]),
        known=_both(a, b, "known", lambda t: torch.ones_like(_mask(t))),
        own=_both(a, b, "own", lambda t: t.scale.new_ones(len(t))),
        middle=_both(a, b, "middle", lambda t: torch.ones_like(t.scale)),
        around=_around(a, b),
        scene=_scenes(a, b),
    )


def _both(
    a: TileSet, b: TileSet, name: str, nothing: Callable[[TileSet], torch.Tensor]
) -> torch.Tensor | None:
    """An optional array of both parts; None if neither has it."""
    parts: list[torch.Tensor | None] = [getattr(a, name), getattr(b, name)]
    if all(p is None for p in parts):
        return None
    return torch.cat([nothing(t) if p is None else p for t, p in zip((a, b), parts, strict=True)])


def _around(a: TileSet, b: TileSet) -> torch.Tensor | None:
    if a.around is None and b.around is None:
        return None
    parts = []
    for tiles, first in ((a, 0), (b, len(a))):
        near = tiles.around
        if near is None:
            near = torch.full((len(tiles), 3, 3), -1, device=tiles.counts.device)
            near[:, 1, 1] = torch.arange(len(tiles), device=near.device)
        parts.append(torch.where(near >= 0, near + first, near))
    return torch.cat(parts)


def _scenes(a: TileSet, b: TileSet) -> NDArray[np.int64] | None:
    if a.scene is None and b.scene is None:
        return None
    first = np.full(len(a), -1, np.int64) if a.scene is None else a.scene
    second = np.full(len(b), -1, np.int64) if b.scene is None else b.scene
    beyond = max(0, int(first.max(initial=-1)) + 1)
    return np.concatenate([first, np.where(second >= 0, second + beyond, second)])


def _mask(tiles: TileSet) -> torch.Tensor:
    if tiles.mask is None:
        raise ValueError("training needs masks")
    return tiles.mask
