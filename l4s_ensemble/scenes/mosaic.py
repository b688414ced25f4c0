"""Windows of a scene that reach over the edges of tiles, and say which pixels are real.

Where no tile is known, pixels are continued by odd reflection, ``2 * edge - mirrored``, as
``numpy.pad(mode="reflect", reflect_type="odd")`` does. It is exact on a plane, so slopes keep
their value; it can leave the range of the data (a reflectance below zero): the reader may clip.

The rule for a cell of the grid without a tile, in this order:

1. Tiles on its left, right, upper or lower side are reflected over their common side. Of several,
   the mean is taken with weights ``1 / distance**2``, so it is continuous with each of them.
2. With tiles at its corners only, these are reflected over both axes; several are weighted alike.
3. Further than one tile from anything known: the mean of the known pixels of the window.

So a tile without any neighbour is padded exactly as ``numpy.pad`` pads it. A tile of n pixels
mirrors n - 1 of them; the n-th pixel of a hole repeats the one before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.placing import STEPS

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


class Mosaic:
    """Tiles in their places.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x), or xarray.Dataset
        Anything that gives a numpy array for a slice of tiles; of a dataset, its ``image``.
    placement : Placement
        Of the same tiles, in the same order.
    gain : array-like, shape (tile,) or (tile, band), optional
        Factors that the tiles are multiplied by, for example ``exp`` of the log-gains of
        `l4s_ensemble.scenes.harmonise.harmonise` for the spectral bands and 1 for the others.
    cache_tiles : int
        Tiles kept in memory.

    Raises
    ------
    DataError
        If the placement or the gains are of another number of tiles.
    """

    def __init__(
        self, images: Any, placement: Placement, *, gain: Any = None, cache_tiles: int = 64
    ) -> None:
        self.images = images["image"] if hasattr(images, "data_vars") else images
        self.placement = placement
        self.cache_tiles = cache_tiles
        n, bands, self.height, self.width = self.images.shape
        if n != len(placement):
            raise DataError("the placement is not of these tiles", found=len(placement), allowed=n)
        self.bands = int(bands)
        factors = np.ones(n, np.float32) if gain is None else np.asarray(gain, np.float32)
        if factors.shape not in {(n,), (n, bands)}:
            raise DataError("the gains are not of these tiles", where="gain",
                            found=factors.shape, allowed=f"({n},) or ({n}, {bands})")  # fmt: skip
        self._gain = np.broadcast_to(factors.reshape(n, -1), (n, bands))
        self._cells = placement.cells()
        self._cache: OrderedDict[int, Floats] = OrderedDict()

    def tile(self, position: int, margin: int) -> tuple[Floats, Flags]:
        """Give a tile with a margin of its neighbours' pixels.

        Parameters
        ----------
        position : int
            Position of the tile (see `Placement.positions`). A tile without a place has only
            itself.
        margin : int
            Pixels on each side, less than a tile.

        Returns
        -------
        image : ndarray of float32, shape (band, y + 2 margin, x + 2 margin)
        valid : ndarray of bool, shape (y + 2 margin, x + 2 margin)
            True where the pixel is one of a tile.
        """
        if not 0 <= margin < min(self.height, self.width):
            raise DataError("the margin must be smaller than a tile", found=margin,
                            allowed=f"0 to {min(self.height, self.width) - 1}")  # fmt: skip
        place = self.placement
        if place.placed[position]:
            cells = self._cells
            scene, row, col = (int(a[position]) for a in (place.scene, place.row, place.col))
        else:
            cells, scene, row, col = {(-1, 0, 0): int(position)}, -1, 0, 0
        return self._window(
            cells, scene, row * self.height - margin, col * self.width - margin,
            self.height + 2 * margin, self.width + 2 * margin,
        )  # fmt: skip

    def window(
        self, scene: int, top: int, left: int, height: int, width: int
    ) -> tuple[Floats, Flags]:
        """Give any window of a scene.

        Parameters
        ----------
        scene : int
        top, left : int
            First row and column in pixels of the scene; may lie outside of it.
        height, width : int
            Pixels, at least 1.

        Returns
        -------
        image : ndarray of float32, shape (band, height, width)
        valid : ndarray of bool, shape (height, width)
            True where the pixel is one of a tile.

        Raises
        ------
        DataError
            If there is no such scene or the window is empty.
        """
        if scene < 0 or scene not in self.placement.scene:
            known = np.unique(self.placement.scene[self.placement.placed]).tolist()
            raise DataError("no such scene", found=scene, allowed=known)
        if height < 1 or width < 1:
            raise DataError("the window is empty", found=(height, width), allowed="at least 1 x 1")
        return self._window(self._cells, scene, top, left, height, width)

    def _window(
        self, cells: dict[tuple[int, int, int], int], scene: int, top: int, left: int,
        height: int, width: int,
    ) -> tuple[Floats, Flags]:  # fmt: skip
        image = np.zeros((self.bands, height, width), np.float32)
        valid = np.zeros((height, width), bool)
        filled = np.zeros((height, width), bool)
        holes = []
        for row in range(top // self.height, (top + height - 1) // self.height + 1):
            for col in range(left // self.width, (left + width - 1) // self.width + 1):
                y, into_y = _overlap(row * self.height, self.height, top, height)
                x, into_x = _overlap(col * self.width, self.width, left, width)
                tile = cells.get((scene, row, col))
                if tile is None:
                    holes.append((row, col, y, x, into_y, into_x))
                    continue
                image[:, into_y, into_x] = self._read(tile)[:, y, x]
                valid[into_y, into_x] = filled[into_y, into_x] = True
        for row, col, y, x, into_y, into_x in holes:
            around = {step: cells[scene, row + step[0], col + step[1]]
                      for step in (*STEPS, *CORNERS)
                      if (scene, row + step[0], col + step[1]) in cells}  # fmt: skip
            if around:
                image[:, into_y, into_x] = self._reflect(around, y, x)
                filled[into_y, into_x] = True
        if not filled.all():
            known = image[:, valid].mean(1) if valid.any() else np.zeros(self.bands, np.float32)
            image[:, ~filled] = known[:, None]
        return image, valid

    def _reflect(self, around: dict[tuple[int, int], int], y: slice, x: slice) -> Floats:
        """Pixels of a cell without a tile, from the tiles around it."""
        sides = {step: tile for step, tile in around.items() if step in STEPS}
        rows, cols = np.arange(y.start, y.stop), np.arange(x.start, x.stop)
        total = np.zeros((self.bands, len(rows), len(cols)), np.float32)
        weight = np.zeros((len(rows), len(cols)), np.float32)
        for (down, right), tile in (sides or around).items():
            part = self._read(tile)
            part, far_y = _mirror(part, rows, down, 1)
            part, far_x = _mirror(part, cols, right, 2)
            if sides:
                w = 1 / (far_y[:, None] + far_x[None]) ** 2
            else:
                w = 1 / (far_y[:, None] ** 2 + far_x[None] ** 2)
            total += part * w
            weight += w
        return np.asarray(total / weight)

    def _read(self, tile: int) -> Floats:
        found = self._cache.get(tile)
        if found is None:
            counts = np.asarray(self.images[tile : tile + 1])[0]
            found = counts.astype(np.float32) * self._gain[tile][:, None, None]
            self._cache[tile] = found
            while len(self._cache) > self.cache_tiles:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(tile)
        return found


def window(
    images: Any, placement: Placement, tile: int, margin: int, *, gain: Any = None
) -> tuple[Floats, Flags]:
    """Give one tile with a margin; for many, make a `Mosaic` and ask it.

    Parameters
    ----------
    images, placement, gain
        See `Mosaic`.
    tile : int
        Position of the tile.
    margin : int
        Pixels on each side, less than a tile.

    Returns
    -------
    image : ndarray of float32, shape (band, y + 2 margin, x + 2 margin)
    valid : ndarray of bool, shape (y + 2 margin, x + 2 margin)
    """
    return Mosaic(images, placement, gain=gain).tile(tile, margin)


def _overlap(cell: int, size: int, start: int, length: int) -> tuple[slice, slice]:
    """Part of a cell that lies in the window, in pixels of the cell and of the window."""
    low, high = max(cell, start), min(cell + size, start + length)
    return slice(low - cell, high - cell), slice(low - start, high - start)


def _mirror(part: Floats, at: NDArray[np.intp], side: int, axis: int) -> tuple[Floats, Floats]:
    """Pixels `at` a line of a cell, continued oddly from the tile on one side of it.

    Parameters
    ----------
    part : ndarray, shape (band, y, x)
        The tile.
    at : ndarray of int
        Positions within the cell, along `axis`.
    side : int
        -1: the tile lies before the cell; 1: after it; 0: beside it along the other axis.

    Returns
    -------
    continued : ndarray
    distance : ndarray of float32, shape (pixel,)
        From the tile, in pixels; 0 for side 0.
    """
    size = part.shape[axis]
    if side == 0:
        return part.take(at, axis), np.zeros(len(at), np.float32)
    distance = at + 1 if side < 0 else size - at
    depth = np.minimum(distance, size - 1)
    edge, inner = (size - 1, size - 1 - depth) if side < 0 else (0, depth)
    continued = 2 * part.take([edge], axis) - part.take(inner, axis)
    return continued, distance.astype(np.float32)
