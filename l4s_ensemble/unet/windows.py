"""Windows cut from tiles and their neighbours, on the device.

A window belongs to a tile. Where it reaches over the edge it shows the neighbour, or the mirrored
tile where there is none. The mask of such mirrored pixels is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from l4s_ensemble.unet.inputs import TileSet, plain


@dataclass(frozen=True)
class Windows:
    """Windows of some tiles.

    Attributes
    ----------
    units : float32 Tensor, shape (n, band, y, x), channels last in memory
        As `TileSet.units` gives them: relief bands about the median of the window's own tile.
    mask : uint8 Tensor, shape (n, y, x), or None
    known : uint8 Tensor, shape (n, y, x)
        1 where the pixel is one of a tile and its mask may be learnt from.
    """

    units: torch.Tensor
    mask: torch.Tensor | None
    known: torch.Tensor


def cut(
    tiles: TileSet,
    index: torch.Tensor,
    size_px: int,
    *,
    offset_px: torch.Tensor | None = None,
    symmetry: torch.Tensor | None = None,
    alone: torch.Tensor | None = None,
) -> Windows:
    """Cut a window for each of some tiles.

    Parameters
    ----------
    tiles : TileSet
    index : int64 Tensor, shape (n,)
        Positions of the windows' tiles.
    size_px : int
        Height and width, at most three times those of a tile.
    offset_px : int64 Tensor, shape (n, 2), optional
        Row and column of the window's first pixel from the first pixel of its tile; by default the
        window is about the middle of the tile.
    symmetry : int64 Tensor, shape (n,), optional
        Symmetry of each window, as `l4s_ensemble.unet.augment.apply_symmetry` numbers them.
    alone : bool Tensor, shape (n,), optional
        Windows for which the neighbours count as missing.

    Returns
    -------
    Windows

    Raises
    ------
    ValueError
        If a window reaches beyond the eight neighbours.
    """
    device, tile_px = tiles.counts.device, tiles.counts.shape[-1]
    if offset_px is None:
        first = -((size_px - tile_px) // 2)
        offset_px = torch.full((len(index), 2), first, dtype=torch.int64, device=device)
    low, high = int(offset_px.min()), int(offset_px.max())
    if low < -tile_px or high + size_px > 2 * tile_px:
        raise ValueError("a window reaches beyond the eight neighbours")
    source, pixel, known = _sources(tiles, index, size_px, offset_px, symmetry, alone)
    bands, area = tiles.counts.shape[1], tile_px * tile_px
    where = source * (bands * area) + pixel
    band = torch.arange(bands, device=device) * area
    raw = tiles.counts.reshape(-1)[where.unsqueeze(-1) + band]
    scale = tiles.scale[source]
    if tiles.own is not None:
        light = torch.from_numpy(tiles.spectral).to(device)
        own = tiles.own[index][:, None, None, None]
        scale = torch.where(light, scale * own, scale)
    units = plain(raw) * scale - tiles.centre[index][:, None, None, :]
    flat = source * area + pixel
    mask = None if tiles.mask is None else tiles.mask.reshape(-1)[flat]
    if tiles.known is not None:
        known = known & tiles.known.reshape(-1)[flat].bool()
    return Windows(units.permute(0, 3, 1, 2), mask, known.to(torch.uint8))


def _sources(
    tiles: TileSet,
    index: torch.Tensor,
    size_px: int,
    offset_px: torch.Tensor,
    symmetry: torch.Tensor | None,
    alone: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tile and pixel that every pixel of the windows shows, and whether it is the true one.

    All of shape (n, y, x).
    """
    device, tile_px, n = tiles.counts.device, tiles.counts.shape[-1], len(index)
    plane = torch.arange(size_px, device=device)
    y, x = (p.expand(n, -1, -1) for p in torch.meshgrid(plane, plane, indexing="ij"))
    if symmetry is not None:
        code = symmetry[:, None, None]
        # As apply_symmetry does it, in coordinates: flips are the last step, so here the first.
        x = torch.where(code & 1 > 0, size_px - 1 - x, x)
        y = torch.where(code & 2 > 0, size_px - 1 - y, y)
        swap = code & 4 > 0
        y, x = torch.where(swap, x, y), torch.where(swap, y, x)
    y = y + offset_px[:, 0, None, None]
    x = x + offset_px[:, 1, None, None]
    down, right = (torch.div(c, tile_px, rounding_mode="floor") for c in (y, x))
    around = _around(tiles, index)
    if alone is not None:
        single = torch.full_like(around, -1)
        single[:, 1, 1] = index
        around = torch.where(alone[:, None, None], single, around)
    lines = torch.arange(n, device=device)[:, None, None]
    none = torch.zeros_like(down)
    # Where a corner is missing, the tile beside it is mirrored, so that it has no step.
    wanted = around[lines, down + 1, right + 1]
    beside = around[lines, down + 1, none + 1]
    above = around[lines, none + 1, right + 1]
    known = wanted >= 0
    use_beside = ~known & (beside >= 0)
    use_above = ~known & ~use_beside & (above >= 0)
    source = torch.where(known, wanted, torch.where(use_beside, beside, above))
    source = torch.where(source >= 0, source, index[:, None, None])
    row = torch.where(known | use_beside, y - down * tile_px, _mirrored(y, tile_px))
    column = torch.where(known | use_above, x - right * tile_px, _mirrored(x, tile_px))
    return source, row * tile_px + column, known


def _around(tiles: TileSet, index: torch.Tensor) -> torch.Tensor:
    if tiles.around is not None:
        return tiles.around[index]
    alone = torch.full((len(index), 3, 3), -1, dtype=torch.int64, device=index.device)
    alone[:, 1, 1] = index
    return alone


def _mirrored(at: torch.Tensor, size: int) -> torch.Tensor:
    """Coordinate within the tile that mirrors one beyond its edge; the edge is shown twice."""
    inside = torch.where(at < 0, -1 - at, at)
    return torch.where(inside >= size, 2 * size - 1 - inside, inside)
