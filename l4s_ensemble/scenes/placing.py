"""Put tiles together from the odds of their seams.

All tiles start as parts of one tile. In each round every empty cell beside a part asks for the tile
that fits all its known neighbours best; a tile joins, with the part it belongs to, if the cell and
the tile choose each other with a margin over every rival. Cells with more neighbours know more, so
later rounds place what was doubtful before. Parts that no single seam can join may still be joined
by many weak ones along a common rim. What stays doubtful is not placed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.scenes.evidence import Odds
from l4s_ensemble.scenes.profiles import Flags, Floats

log = logging.getLogger("l4s_ensemble")

ACCEPT = 2.0
"""Least odds, and least margin over a rival, for a tile to join."""
ACCEPT_BRIDGE = 3.0
"""The same where two parts of several tiles would hang on a single seam."""
EVEN = -6.0
"""Odds at which a seam of a given place, not the best of many, is as likely true as not."""
ACCEPT_RIM = 30.0
"""Least sum of ``odds - EVEN`` over the seams of a rim, at least three, that joins two parts."""
DOUBT = 0.01
"""Chance of a wrong place at odds of zero; on the careful side, see `Odds`."""
CELLS_AT_ONCE = 2048

LEFT, RIGHT, UP, DOWN = range(4)
STEPS = ((0, -1), (0, 1), (-1, 0), (1, 0))
OPPOSITE = (RIGHT, LEFT, DOWN, UP)

Cell = tuple[int, int]


@dataclass(frozen=True)
class Parts:
    """Tiles put together.

    Attributes
    ----------
    part : ndarray of int, shape (tile,)
        Label of the part; a tile on its own has a label of its own.
    at : ndarray of int, shape (tile, 2)
        Row and column within the part.
    odds : ndarray, shape (tile,)
        The lesser of: odds of all seams of the tile; margin over the best rival for its cell.
    """

    part: NDArray[np.intp]
    at: NDArray[np.intp]
    odds: NDArray[np.float64]


def assemble(odds: Odds) -> Parts:
    """Put tiles together by their seams alone.

    Parameters
    ----------
    odds : Odds
        Evidence for all pairs of tiles.
    """
    work = _Assembly(odds)
    while work.play_round() or work.join_rims():
        log.debug("seams: %d parts", len(work.cells))
    work.drop_unsupported()
    return Parts(work.part, work.at, work.final_odds())


class _Assembly:
    """Parts under construction.

    ``toward[s][a, t]``: odds that tile t lies on side s of tile a.
    """

    def __init__(self, odds: Odds) -> None:
        n = len(odds.right)
        self.toward: tuple[Floats, ...] = (
            np.ascontiguousarray(odds.right.T),
            odds.right,
            np.ascontiguousarray(odds.below.T),
            odds.below,
        )
        self.part = np.arange(n)
        self.at = np.zeros((n, 2), np.intp)
        self.cells: dict[int, dict[Cell, int]] = {t: {(0, 0): t} for t in range(n)}

    def play_round(self) -> int:
        """Join what fits; return how many joins were made."""
        n = len(self.part)
        where, near = self._frontier()
        parts = np.array([part for part, _ in where])
        taken = self._taken()
        best = np.empty(len(where), np.intp)
        gain, rival = (np.empty(len(where), np.float32) for _ in range(2))
        # For each side of each tile: the best two cells that claim it from there.
        claim = np.full((4, 2, n), -np.inf, np.float32)
        claimant = np.full((4, n), -1)
        for start in range(0, len(where), CELLS_AT_ONCE):
            here = slice(start, start + CELLS_AT_ONCE)
            fit = self._fit(near[here])
            for side in range(4):
                fit[np.ix_(near[here, side] >= 0, taken[OPPOSITE[side]])] = -np.inf
            fit[parts[here, None] == self.part[None]] = -np.inf
            best[here], gain[here], rival[here] = _best_two(fit)
            for side in range(4):
                asking = np.flatnonzero(near[here, side] >= 0)
                if len(asking):
                    _claim(claim[side], claimant[side], fit[asking], start + asking)
        sure = []
        for i in np.flatnonzero(gain >= ACCEPT).tolist():
            tile = int(best[i])
            other = max(0.0, float(rival[i]))
            for side in np.flatnonzero(near[i] >= 0).tolist():
                other = max(other, float(claim[side, int(claimant[side, tile] == i), tile]))
            margin = float(gain[i]) - other
            if margin >= ACCEPT:
                sure.append((min(float(gain[i]), margin), i, tile))
        joins = 0
        for strength, i, tile in sorted(sure, reverse=True):
            side = int(np.flatnonzero(near[i] >= 0)[0])
            joins += self._join(int(near[i, side]), tile, STEPS[side], strength)
        return joins

    def _frontier(self) -> tuple[list[tuple[int, Cell]], NDArray[np.intp]]:
        """Empty cells beside parts, and the tile on each side of them (-1: none).

        ``near[i, s]``: the tile that has cell i on its side s.
        """
        found: dict[tuple[int, Cell], list[int]] = {}
        for part, cells in self.cells.items():
            for (row, col), tile in cells.items():
                for side, (down, right) in enumerate(STEPS):
                    cell = (row + down, col + right)
                    if cell not in cells:
                        found.setdefault((part, cell), [-1] * 4)[side] = tile
        return list(found), np.array(list(found.values()), np.intp).reshape(-1, 4)

    def _taken(self) -> Flags:
        """Sides of tiles where their part already has a neighbour, shape (side, tile)."""
        taken = np.zeros((4, len(self.part)), bool)
        for cells in self.cells.values():
            if len(cells) > 1:
                for (row, col), tile in cells.items():
                    for side, (down, right) in enumerate(STEPS):
                        taken[side, tile] = (row + down, col + right) in cells
        return taken

    def _fit(self, near: NDArray[np.intp]) -> Floats:
        """Odds of every tile for cells with these neighbours, shape (cell, tile)."""
        fit = np.zeros((len(near), len(self.part)), np.float32)
        for side in range(4):
            known = near[:, side] >= 0
            fit[known] += self.toward[side][near[known, side]]
        return fit

    def _join(self, anchor: int, tile: int, step: Cell, strength: float) -> bool:
        """Move the part of `tile` to the part of `anchor`, if all their common seams agree."""
        keep, move, shift = self._shift(anchor, tile, step)
        if keep == move:
            return False
        seams = self._seams(keep, move, shift)
        if sum(seams) < ACCEPT:
            return False
        alone = min(len(self.cells[keep]), len(self.cells[move])) == 1
        if len(seams) == 1 and not alone and strength < ACCEPT_BRIDGE:
            return False
        self._merge(keep, move, shift)
        return True

    def _shift(self, anchor: int, tile: int, step: Cell) -> tuple[int, int, Cell]:
        """Part that stays, part that moves (the smaller), and by how much."""
        keep, move = int(self.part[anchor]), int(self.part[tile])
        down, right = (self.at[anchor] + step - self.at[tile]).tolist()
        if (len(self.cells[keep]), keep) < (len(self.cells[move]), move):
            return move, keep, (-down, -right)
        return keep, move, (down, right)

    def _seams(self, keep: int, move: int, shift: Cell) -> list[float]:
        """Odds of the seams that two parts would share; none if they collide."""
        cells = self.cells[keep]
        seams = []
        for (row, col), t in self.cells[move].items():
            r, c = row + shift[0], col + shift[1]
            if (r, c) in cells:
                return []
            for side, (down, right) in enumerate(STEPS):
                other = cells.get((r + down, c + right))
                if other is not None:
                    seams.append(float(self.toward[side][t, other]))
        return seams

    def _merge(self, keep: int, move: int, shift: Cell) -> None:
        for (row, col), t in self.cells.pop(move).items():
            cell = (row + shift[0], col + shift[1])
            self.cells[keep][cell] = t
            self.part[t], self.at[t] = keep, cell

    def join_rims(self) -> int:
        """Join parts that share a rim of several seams, none of them sure on its own."""
        size = np.array([len(self.cells[int(p)]) for p in self.part])
        large = np.flatnonzero(size >= 3)
        sums: dict[tuple[int, int, Cell], float] = {}
        for side in (RIGHT, DOWN):
            odds = self.toward[side][np.ix_(large, large)]
            for a, b in np.argwhere(odds > 0).tolist():
                keep, move, shift = self._shift(int(large[a]), int(large[b]), STEPS[side])
                if keep == move or (keep, move, shift) in sums:
                    continue
                seams = self._seams(keep, move, shift)
                good = len(seams) >= 3 and np.mean(seams) > EVEN / 2
                sums[keep, move, shift] = sum(s - EVEN for s in seams) if good else 0.0
        joins = 0
        ranked = sorted(sums.items(), key=lambda item: -item[1])
        moved: set[int] = set()
        for (keep, move, shift), total in ranked:
            rivals = (v for k, v in ranked if k[:2] == (keep, move) and k[2] != shift)
            rival = max(rivals, default=0.0)
            if total < ACCEPT_RIM or rival > total / 2 or {keep, move} & moved:
                continue
            self._merge(keep, move, shift)
            moved |= {keep, move}
            joins += 1
        return joins

    def _beside(self, tile: int) -> list[tuple[int, int]]:
        """Side and position of the tiles that adjoin a tile."""
        row, col = self.at[tile].tolist()
        cells = self.cells[int(self.part[tile])]
        return [(side, cells[row + down, col + right])
                for side, (down, right) in enumerate(STEPS)
                if (row + down, col + right) in cells]  # fmt: skip

    def drop_unsupported(self) -> None:
        """Take out tiles that their neighbours, now complete, speak against."""
        while True:
            weak = [t for t in range(len(self.part))
                    if len(self.cells[int(self.part[t])]) > 1
                    and self._denied(t)]  # fmt: skip
            if not weak:
                return
            for t in weak:
                cells = self.cells[int(self.part[t])]
                if len(cells) > 1:
                    del cells[int(self.at[t, 0]), int(self.at[t, 1])]
                    self._found(t)
            self._split()

    def _denied(self, tile: int) -> bool:
        seams = [float(self.toward[side][tile, other]) for side, other in self._beside(tile)]
        return sum(seams) < ACCEPT and sum(seams) < len(seams) * EVEN / 2

    def _found(self, tile: int) -> None:
        """Make a tile a part of its own."""
        label = max(self.cells) + 1
        self.part[tile], self.at[tile] = label, 0
        self.cells[label] = {(0, 0): tile}

    def _split(self) -> None:
        """Part what no good seam holds together any more."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self.part)
        links = np.array([(t, o) for t in range(n) for s, o in self._beside(t)
                          if self.toward[s][t, o] > 0], np.intp).reshape(-1, 2)  # fmt: skip
        graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
        self.part = connected_components(graph, directed=False)[1].astype(np.intp)
        self.cells = {}
        for t in range(n):
            row, col = self.at[t].tolist()
            self.cells.setdefault(int(self.part[t]), {})[row, col] = t

    def final_odds(self) -> NDArray[np.float64]:
        """For each tile the lesser of its seams' odds and its margin; -inf for a lone tile."""
        n = len(self.part)
        near = np.full((n, 4), -1, np.intp)
        for t in range(n):
            for side, other in self._beside(t):
                near[t, OPPOSITE[side]] = other
        lone = (near < 0).all(1)
        found = np.full(n, -np.inf)
        for start in range(0, n, CELLS_AT_ONCE):
            here = np.arange(start, min(n, start + CELLS_AT_ONCE))
            fit = self._fit(near[here])
            own = fit[np.arange(len(here)), here].astype(np.float64)
            fit[np.arange(len(here)), here] = -np.inf
            found[here] = np.minimum(own, own - np.maximum(0, fit.max(1)))
        found[lone] = -np.inf
        return found


def _best_two(fit: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Best column of each row, its value, and the next best value."""
    rows = np.arange(len(fit))
    best = fit.argmax(1)
    value = fit[rows, best]
    fit[rows, best] = -np.inf
    second = fit.max(1)
    fit[rows, best] = value
    return best, value, second


def _claim(claim: Floats, claimant: NDArray[np.intp], fit: Floats, cells: NDArray[np.intp]) -> None:
    """Merge new cells into each tile's best two claims (2, tile) and best claimant (tile,)."""
    who, value, second = _best_two(np.ascontiguousarray(fit.T))
    better = value > claim[0]
    claim[1] = np.where(better, np.maximum(claim[0], second), np.maximum(claim[1], value))
    claimant[:] = np.where(better, cells[who], claimant)
    claim[0] = np.maximum(claim[0], value)
