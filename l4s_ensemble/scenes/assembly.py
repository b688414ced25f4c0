"""Assemble tiles into scenes from the odds of their seams.

All tiles start as parts of one tile. In each round every empty cell beside a part asks for the tile
that fits all its known neighbours best; a tile joins, with the part it belongs to, if the cell and
the tile choose each other with a margin over every rival. Cells with more neighbours know more, so
later rounds place what was doubtful before. What stays doubtful is not placed.

A tile fits a cell only if a seam of it has positive odds, and only rivals of positive odds count:
so the few pairs of positive odds are candidates, and odds of other pairs are computed when asked.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.scenes.evidence import Odds
from l4s_ensemble.scenes.profiles import Flags, Floats

log = logging.getLogger("l4s_ensemble")

ACCEPT = 2.0
"""Least odds, and least margin over a rival, for a tile to join."""
ACCEPT_BRIDGE = 3.0
"""The same where two parts of several tiles would hang on a single seam."""

LEFT, RIGHT, UP, DOWN = range(4)
STEPS = ((0, -1), (0, 1), (-1, 0), (1, 0))
OPPOSITE = (RIGHT, LEFT, DOWN, UP)

Cell = tuple[int, int]
Ints = NDArray[np.intp]


def assemble(odds: Odds) -> tuple[Ints, Ints]:
    """Assemble tiles into scenes from their seams alone.

    Parameters
    ----------
    odds : Odds
        Evidence for pairs of tiles.

    Returns
    -------
    part : ndarray of int, shape (tile,)
        Label of the part; a tile on its own has a label of its own.
    at : ndarray of int, shape (tile, 2)
        Row and column within the part.
    """
    work = _Assembly(odds)
    while work.play_round():
        log.debug("seams: %d parts", len(work.cells))
    return work.part, work.at


class _Assembly:
    """Scenes while they are assembled.

    ``good[s]``, sparse (tile, tile): where an entry stands at (a, t), the odds that tile t lies on
    side s of tile a are positive.
    """

    def __init__(self, odds: Odds) -> None:
        n = len(odds)
        self.odds = odds
        good = {RIGHT: odds.right.candidates(), DOWN: odds.below.candidates()}
        self.good = [good[RIGHT].T.tocsr(), good[RIGHT], good[DOWN].T.tocsr(), good[DOWN]]
        self.part = np.arange(n)
        self.at = np.zeros((n, 2), np.intp)
        self.cells: dict[int, dict[Cell, int]] = {t: {(0, 0): t} for t in range(n)}

    def toward(self, side: Ints, tile: Ints, other: Ints) -> Floats:
        """Odds that `other` lies on a side of `tile`, all of shape (pair,)."""
        out = np.empty(len(tile), np.float32)
        for s in range(4):
            here = side == s
            seams = self.odds.right if s in (LEFT, RIGHT) else self.odds.below
            pair = (tile[here], other[here])
            out[here] = seams.odds(*(pair if s in (RIGHT, DOWN) else pair[::-1]))
        return out

    def play_round(self) -> int:
        """Join tiles whose seams agree; return the number of joins."""
        where, near = self._frontier()
        cell, tile = self._candidates(near)
        fit = self._fit(near[cell], tile)
        taken = self._taken()
        free = self.part[tile] != np.array([part for part, _ in where], np.intp)[cell]
        for side in range(4):
            free &= ~((near[cell, side] >= 0) & taken[OPPOSITE[side]][tile])
        cell, tile, fit = (a[free & (fit > 0)] for a in (cell, tile, fit))
        best, rival = _best_two(cell, fit, len(where))
        # For each side of each tile: the best two cells that claim it from there.
        claims = []
        for side in range(4):
            asking = np.flatnonzero(near[cell, side] >= 0)
            found, second = _best_two(tile[asking], fit[asking], len(self.part))
            claims.append((np.append(asking, -1)[found], second))
        sure = []
        for i in np.flatnonzero(best >= 0).tolist():
            pair = int(best[i])
            gain, most, t = float(fit[pair]), float(rival[i]), int(tile[pair])
            sides = np.flatnonzero(near[i] >= 0).tolist()
            for side in sides:
                first, next_best = claims[side]
                claimed = int(first[t])
                most = max(most, float(next_best[t] if claimed == pair else fit[claimed]))
            if gain - most >= ACCEPT:
                sure.append((gain - most, i, t, sides[0]))
        joins = 0
        for strength, i, t, side in sorted(sure, reverse=True):
            joins += self._join(int(near[i, side]), t, STEPS[side], strength)
        return joins

    def _frontier(self) -> tuple[list[tuple[int, Cell]], Ints]:
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
            for (row, col), tile in cells.items():
                for side, (down, right) in enumerate(STEPS):
                    taken[side, tile] = (row + down, col + right) in cells
        return taken

    def _candidates(self, near: Ints) -> tuple[Ints, Ints]:
        """Pairs of a cell and a tile that some neighbour of the cell has positive odds for."""
        found = []
        for side in range(4):
            known = np.flatnonzero(near[:, side] >= 0)
            row, tile = self.good[side][near[known, side]].nonzero()
            found.append(known[row] * len(self.part) + tile)
        cell, tile = np.divmod(np.unique(np.concatenate(found)), len(self.part))
        return cell, tile

    def _fit(self, near: Ints, tile: Ints) -> Floats:
        """Sum of the odds of a tile over the known neighbours of a cell, shape (pair,)."""
        fit = np.zeros(len(tile), np.float32)
        for side in range(4):
            known = near[:, side] >= 0
            ask = near[known, side]
            fit[known] += self.toward(np.full(len(ask), side), ask, tile[known])
        return fit

    def _join(self, anchor: int, tile: int, step: Cell, strength: float) -> bool:
        """Join the parts of two tiles (the smaller moves), if all their common seams agree."""
        keep, move = int(self.part[anchor]), int(self.part[tile])
        down, right = (self.at[anchor] + step - self.at[tile]).tolist()
        if (len(self.cells[keep]), keep) < (len(self.cells[move]), move):
            keep, move, down, right = move, keep, -down, -right
        if keep == move:
            return False
        seams = self._seams(keep, move, (down, right))
        if seams.sum() < ACCEPT:
            return False
        alone = min(len(self.cells[keep]), len(self.cells[move])) == 1
        if len(seams) == 1 and not alone and strength < ACCEPT_BRIDGE:
            return False
        for (row, col), t in self.cells.pop(move).items():
            cell = (row + down, col + right)
            self.cells[keep][cell] = t
            self.part[t], self.at[t] = keep, cell
        return True

    def _seams(self, keep: int, move: int, shift: Cell) -> Floats:
        """Odds of the seams that two parts would share; none if they collide."""
        cells = self.cells[keep]
        seams = []
        for (row, col), t in self.cells[move].items():
            r, c = row + shift[0], col + shift[1]
            if (r, c) in cells:
                return np.empty(0, np.float32)
            for side, (down, right) in enumerate(STEPS):
                other = cells.get((r + down, c + right))
                if other is not None:
                    seams.append((side, t, other))
        return self.toward(*np.array(seams, np.intp).reshape(-1, 3).T)


def _best_two(group: Ints, value: Floats, groups: int) -> tuple[Ints, Floats]:
    """Position of the largest value of each group (-1: none), and the next largest (0: none)."""
    order = np.lexsort((-value, group))
    sorted_group = group[order]
    first = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]][: len(order)])
    best, second = np.full(groups, -1, np.intp), np.zeros(groups, np.float32)
    best[sorted_group[first]] = order[first]
    after = first + 1
    after = after[(after < len(order))]
    follows = after[sorted_group[after] == sorted_group[after - 1]]
    second[sorted_group[follows]] = value[order[follows]]
    return best, second
