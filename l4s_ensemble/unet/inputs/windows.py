"""Windows cut from tiles and their neighbours, on the device.

A window belongs to a tile. Where it reaches over the edge it shows the neighbour, or the mirrored
tile where there is none. The mask of such mirrored pixels is not known.

There are three ways to the same bits. A window that is its tile is copied. On a CPU other windows
are laid together from rectangles and turned; on a GPU, where many small copies cost more than one
large one, every pixel is looked up where it will stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.tileset import TileSet, plain, sent


@dataclass(frozen=True)
class Windows:
    """Windows of some tiles.

    Attributes
    ----------
    units : float32 Tensor, shape (n, band, y, x)
        As `TileSet.units` gives them: relief bands about the median of the window's own tile, light
        at its level.
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
        Symmetry of each window, as `l4s_ensemble.unet.inputs.augment.apply_symmetry` numbers
        them. It and the offsets lie on the CPU whatever the device: nobody waits for a GPU to tell
        them.
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
    low = high = -((size_px - tile_px) // 2)
    if offset_px is not None and len(index):
        low, high = int(offset_px.min()), int(offset_px.max())
    if low < -tile_px or high + size_px > 2 * tile_px:
        raise ValueError("a window reaches beyond the eight neighbours")
    on_cpu = device.type == "cpu"
    if size_px == tile_px and low == high == 0 and (on_cpu or symmetry is None):
        return _turned(_whole(tiles, index), symmetry)
    if offset_px is None:
        offset_px = torch.full((len(index), 2), low, dtype=torch.int64, device=device)
    around = _around(tiles, index, alone)
    if on_cpu:
        return _turned(_laid(tiles, index, size_px, offset_px, around), symmetry)
    return looked_up(tiles, index, size_px, offset_px, around, symmetry)


def _whole(tiles: TileSet, index: torch.Tensor) -> Windows:
    """Windows that are their tiles."""
    mask = None if tiles.mask is None else tiles.mask[index]
    size = (len(index), *tiles.counts.shape[-2:])
    known = torch.ones(size, dtype=torch.uint8, device=tiles.counts.device)
    return Windows(tiles.units(index), mask, known if tiles.known is None else tiles.known[index])


def _turned(windows: Windows, symmetry: torch.Tensor | None) -> Windows:
    if symmetry is None:
        return windows
    number = symmetry.numpy()
    turn = augment.apply_symmetries
    mask = None if windows.mask is None else turn(windows.mask, number)
    return Windows(turn(windows.units, number), mask, turn(windows.known, number))


def _laid(
    tiles: TileSet, index: torch.Tensor, size_px: int, offset_px: torch.Tensor, around: torch.Tensor
) -> Windows:
    """Windows laid together from rectangles of tiles, each copied at once."""
    n, bands, tile_px = len(index), tiles.counts.shape[1], tiles.counts.shape[-1]
    raw = torch.empty((n, bands, size_px, size_px), dtype=tiles.counts.dtype)
    known = torch.zeros((n, size_px, size_px), dtype=torch.uint8)
    mask = None if tiles.mask is None else torch.empty_like(known)
    laid = []
    first, near = offset_px.tolist(), around.tolist()
    for i in range(n):
        for down, rows, straight_y, mirrored_y in _spans(first[i][0], size_px, tile_px):
            for right, columns, straight_x, mirrored_x in _spans(first[i][1], size_px, tile_px):
                source, own_row, own_column = _source(near[i], down, right)
                y = straight_y if own_row else mirrored_y
                x = straight_x if own_column else mirrored_x
                # Where both are true the pixels are those of the place; else they are mirrored.
                _copy(raw[i, :, rows, columns], tiles.counts[source], y, x)
                if mask is not None and tiles.mask is not None:
                    _copy(mask[i, rows, columns], tiles.mask[source], y, x)
                if own_row and own_column:
                    if tiles.known is None:
                        known[i, rows, columns] = 1
                    else:
                        _copy(known[i, rows, columns], tiles.known[source], y, x)
                laid.append((i, source, rows, columns))
    units = plain(raw)
    scale = _scale(tiles, torch.tensor([s for _, s, *_ in laid], dtype=torch.int64),
                   index[[i for i, *_ in laid]])[:, :, None, None]  # fmt: skip
    for factor, (i, _, rows, columns) in zip(scale, laid, strict=True):
        units[i, :, rows, columns] *= factor
    return Windows(units.sub_(tiles.centre[index][:, :, None, None]), mask, known)


Span = tuple[int, slice, slice, slice]


def _spans(first: int, size: int, tile_px: int) -> Iterator[Span]:
    """Cut one side of a window at the edges of tiles.

    Yields the step to the tile (-1, 0, 1), the span in the window, in that tile, and in the tile
    of the window where it is mirrored: to be read backwards, which a slice of torch cannot say.
    """
    for step in (-1, 0, 1):
        start, stop = max(first, step * tile_px), min(first + size, (step + 1) * tile_px)
        if start < stop:
            straight = slice(start - step * tile_px, stop - step * tile_px)
            mirrored = slice(tile_px - straight.stop, tile_px - straight.start, -1)
            yield step, slice(start - first, stop - first), straight, mirrored


def _source(near: list[list[int]], down: int, right: int) -> tuple[int, bool, bool]:
    """Tile shown at a step from a window's own, and whether in its own rows and columns.

    Where a corner is missing, the tile beside it is mirrored, so that it has no step.
    """
    for r, c in ((down, right), (down, 0), (0, right)):
        if near[r + 1][c + 1] >= 0:
            return near[r + 1][c + 1], r == down, c == right
    return near[1][1], down == 0, right == 0


def _copy(into: torch.Tensor, tile: torch.Tensor, y: slice, x: slice) -> None:
    """Copy a rectangle of a tile; a slice with step -1 reads its span backwards."""
    part = tile[..., slice(y.start, y.stop), slice(x.start, x.stop)]
    axes = [axis for axis, span in ((-2, y), (-1, x)) if span.step == -1]
    into.copy_(part.flip(axes) if axes else part)


def _scale(tiles: TileSet, source: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Factors from counts of tiles to units at the level of windows' own tiles, (..., band)."""
    scale = tiles.scale[source]
    if tiles.own is None:
        return scale
    return torch.where(tiles.light, scale * tiles.own[own].unsqueeze(-1), scale)


def looked_up(
    tiles: TileSet,
    index: torch.Tensor,
    size_px: int,
    offset_px: torch.Tensor,
    around: torch.Tensor,
    symmetry: torch.Tensor | None,
) -> Windows:
    """Windows of which every pixel is looked up; `cut` says what the arguments are.

    Parameters
    ----------
    around : int64 Tensor, shape (n, 3, 3)
        Positions of the tiles about each window's own, -1 where there is none.
    """
    device, tile_px = tiles.counts.device, tiles.counts.shape[-1]
    offset_px = sent(offset_px, device)
    symmetry = None if symmetry is None else sent(symmetry, device)
    source, pixel, known = _sources(tile_px, index, size_px, offset_px, around, symmetry)
    bands, area = tiles.counts.shape[1], tile_px * tile_px
    where = source * (bands * area) + pixel
    band = torch.arange(bands, device=device) * area
    raw = tiles.counts.reshape(-1)[where.unsqueeze(-1) + band]
    scale = _scale(tiles, source, index[:, None, None].expand_as(source))
    units = plain(raw) * scale - tiles.centre[index][:, None, None, :]
    flat = source * area + pixel
    mask = None if tiles.mask is None else tiles.mask.reshape(-1)[flat]
    if tiles.known is not None:
        known = known & tiles.known.reshape(-1)[flat].bool()
    return Windows(units.permute(0, 3, 1, 2), mask, known.to(torch.uint8))


def _sources(
    tile_px: int,
    index: torch.Tensor,
    size_px: int,
    offset_px: torch.Tensor,
    around: torch.Tensor,
    symmetry: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tile and pixel that every pixel of the windows shows, and whether it is the true one.

    All of shape (n, y, x).
    """
    device, n = index.device, len(index)
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


def _around(tiles: TileSet, index: torch.Tensor, alone: torch.Tensor | None) -> torch.Tensor:
    """Positions of the tiles about some tiles, as far as their windows may show them."""
    single = torch.full((len(index), 3, 3), -1, dtype=torch.int64, device=index.device)
    single[:, 1, 1] = index
    if tiles.around is None:
        return single
    around = tiles.around[index]
    return around if alone is None else torch.where(alone[:, None, None], single, around)


def _mirrored(at: torch.Tensor, size: int) -> torch.Tensor:
    """Coordinate within the tile that mirrors one beyond its edge; the edge is shown twice."""
    inside = torch.where(at < 0, -1 - at, at)
    return torch.where(inside >= size, 2 * size - 1 - inside, inside)
