"""What the order of ids tells, where the seams confirm it.

Tiles are often numbered along rows, scene after scene. Then the lower neighbour of a tile has an id
larger by the scene's width, the same all over the scene. Certain vertical seams vote for the width;
where it changes, a new scene begins. Within such a run of ids, tiles are placed by their ids unless
the pixels object. Nothing is concluded where the votes are few or leave a choice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.scenes.evidence import Odds
from l4s_ensemble.scenes.placing import EVEN, STEPS, Cell, Parts

log = logging.getLogger("l4s_ensemble")

CERTAIN = 2.0
"""Least odds of a seam that votes."""
LEAST_VOTES = 3
"""Least number of seams that must agree."""
LEAST_SHARE = 0.8
"""Least share of horizontal seams that follow the ids, or the order is no raster."""
EXPECTED = 12.0
"""Advance of a column where a raster is expected to begin, as odds."""
LEAST_PROOF = 8.0
"""Least lead of the column where rows begin over every other one."""
OBJECTION = EVEN - 1
"""Mean odds below which the pixels object to a place that ids give."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """Ids that lie in one scene, row by row.

    Attributes
    ----------
    first, last : int
        The ids the run speaks for.
    width : int
        Tiles in a row.
    start : int
        An id at column 0, in or above the first row.
    trust : float
        Share of the vertical seams that agree (Laplace's rule).
    """

    first: int
    last: int
    width: int
    start: int
    trust: float

    def place(self, patch: int) -> Cell:
        """Row and column of an id."""
        return divmod(patch - self.start, self.width)


@dataclass(frozen=True)
class _Span:
    """Vertical seams in a row that agree on the width: lowest and highest id among them."""

    low: int
    high: int
    width: int
    votes: int
    against: int


def find_runs(ids: Ints, odds: Odds, parts: Parts) -> list[Run]:
    """Find the rasters in a set of ids.

    Parameters
    ----------
    ids : ndarray of int, shape (tile,)
    odds : Odds
    parts : Parts
        Tiles already put together by the pixels.

    Returns
    -------
    list of Run
        In the order of ids; empty if the ids are no raster, or nothing proves it.
    """
    cells = {(int(p), int(r), int(c)): t
             for t, (p, (r, c)) in enumerate(zip(parts.part, parts.at, strict=True))}  # fmt: skip
    across = [ids[b] - ids[a] for a, b in _certain(cells, odds.right, (0, 1))]
    agree = across.count(1)
    if agree < max(LEAST_VOTES, LEAST_SHARE * len(across)):
        log.info("seams: the ids do not follow the rows (%d of %d seams)", agree, len(across))
        return []
    down = _certain(cells, odds.below, (1, 0))
    spans = _spans(sorted((int(ids[a]), int(ids[b])) for a, b in down if ids[b] > ids[a]))
    edge = _edge_odds(ids, odds)
    runs: list[Run] = []
    for k, span in enumerate(spans):
        before = runs[-1] if runs and runs[-1].last >= spans[k - 1].high else None
        floor = spans[k - 1].high if k else 0
        starts = _starts(span, before, floor, edge)
        if not starts:
            log.info("seams: ids %d-%d lie %d in a row; where rows begin is open",
                     span.low, span.high, span.width)  # fmt: skip
            continue
        if before is not None and starts[0] > floor:
            runs[-1] = replace(before, last=starts[0] - 1)
        row = span.low - (span.low - starts[-1]) % span.width
        end = span.high + (starts[-1] - 1 - span.high) % span.width
        trust = (span.votes + 1) / (span.votes + span.against + 2)
        ceiling = spans[k + 1].low - 1 if k + 1 < len(spans) else end
        first = starts[-1] if before is not None and starts[-1] > floor else max(row, floor + 1)
        runs.append(Run(first, min(end, ceiling), span.width, starts[-1], trust))
    return runs


def _certain(
    cells: dict[tuple[int, int, int], int], odds: NDArray[np.float32], step: Cell
) -> list[tuple[int, int]]:
    """Pairs of tiles that adjoin in their part, by a seam strong enough to vote."""
    found = []
    for (part, row, col), a in cells.items():
        b = cells.get((part, row + step[0], col + step[1]))
        if b is not None and odds[a, b] >= CERTAIN:
            found.append((a, b))
    return found


def _spans(seams: list[tuple[int, int]]) -> list[_Span]:
    """Group vertical seams (upper id, lower id), in order, by their difference.

    A difference that too few seams in a row share is an error, and counts against its span.
    """
    widths = [low - high for high, low in seams]
    while True:
        runs: list[list[int]] = []
        for i, width in enumerate(widths):
            if width and runs and widths[runs[-1][-1]] == width:
                runs[-1].append(i)
            elif width:
                runs.append([i])
        poor = [run for run in runs if len(run) < LEAST_VOTES]
        overlapping = [
            min(a, b, key=len) for a, b in pairwise(runs)
            if max(seams[i][1] for i in a) >= seams[b[0]][0]
        ]  # fmt: skip
        drop = sorted(poor or overlapping, key=len)
        if not drop:
            break
        for i in drop[0]:
            widths[i] = 0
    spans = []
    for run in runs:
        against = sum(widths[i] == 0 for i in range(run[0], run[-1] + 1))
        high = max(seams[i][1] for i in run)
        spans.append(_Span(seams[run[0]][0], high, widths[run[0]], len(run), against))
    return spans


def _edge_odds(ids: Ints, odds: Odds) -> dict[int, float]:
    """For each id whose successor is there: odds that the successor is its right neighbour."""
    where = {int(i): t for t, i in enumerate(ids)}
    return {i: float(odds.right[t, where[i + 1]]) for i, t in where.items() if i + 1 in where}


def _starts(span: _Span, before: Run | None, floor: int, edge: dict[int, float]) -> list[int]:
    """Ids at which the scene of a span may begin: all at the same column, or none.

    Rows end where successive ids do not adjoin. Each column is scored by the odds that it is not
    continued from the column before. A raster is expected to begin at id 1, or right after a full
    row of the scene before it; anything else needs more proof.
    """
    width = span.width
    score = np.zeros(width)
    for patch, value in edge.items():
        if span.low <= patch < span.high and value != 0:  # zero: a tile without structure
            score[(patch + 1) % width] += EVEN - value
    if before is None:
        natural = [1] if floor == 0 else []
    else:
        natural = [s for s in range(floor + 1, span.low + 1)
                   if (s - before.start) % before.width == 0]  # fmt: skip
    for column in {s % width for s in natural}:
        score[column] += EXPECTED
    column = int(score.argmax())
    if score[column] - np.delete(score, column).max(initial=0) < LEAST_PROOF:
        return []
    fitting = [s for s in natural if s % width == column]
    return fitting or [span.low - (span.low - column) % width]


def place_by_ids(
    ids: Ints, odds: Odds, parts: Parts, runs: list[Run]
) -> list[dict[int, tuple[Cell, float]]]:
    """Place tiles in the scenes of their ids, unless the pixels object.

    Parameters
    ----------
    ids : ndarray of int, shape (tile,)
    odds : Odds
    parts : Parts
    runs : list of Run

    Returns
    -------
    list of dict
        For each run: position of a tile -> its cell, and the trust in its id (0 to 1).
    """
    members: dict[int, list[int]] = {}
    for t, part in enumerate(parts.part.tolist()):
        members.setdefault(part, []).append(t)
    scenes = []
    for run in runs:
        inside = (ids >= run.first) & (ids <= run.last)
        units = [unit for part in sorted({int(p) for p in parts.part[inside]})
                 if (unit := _agreeing(members[part], ids, parts, run, inside))]  # fmt: skip
        kept = _without_objections(units, odds)
        scenes.append({t: (cell, run.trust) for unit in kept for t, cell in unit.items()})
    return scenes


def _agreeing(
    tiles: list[int], ids: Ints, parts: Parts, run: Run, inside: NDArray[np.bool_]
) -> dict[int, Cell]:
    """Cells of the tiles of one part, if the ids say the same as the pixels; else nothing."""
    cells = {t: run.place(int(ids[t])) for t in tiles}
    if len(tiles) == 1:
        return cells
    if sum(bool(inside[t]) for t in tiles) * 2 < len(tiles):
        return {}
    shifts = [(cells[t][0] - int(parts.at[t, 0]), cells[t][1] - int(parts.at[t, 1]))
              for t in tiles]  # fmt: skip
    common = max(set(shifts), key=shifts.count)
    if shifts.count(common) < 0.9 * len(tiles):
        return {}
    return {t: cells[t] for t, shift in zip(tiles, shifts, strict=True) if shift == common}


def _without_objections(units: list[dict[int, Cell]], odds: Odds) -> list[dict[int, Cell]]:
    """Leave out, the worst first, the units that do not go with the others at their cells."""
    taken = {cell: (t, u) for u, unit in enumerate(units) for t, cell in unit.items()}
    seams = [(u, v, float(side[t, other]))
             for (row, col), (t, u) in taken.items()
             for side, (down, right) in ((odds.right, STEPS[1]), (odds.below, STEPS[3]))
             for other, v in [taken.get((row + down, col + right), (0, u))]
             if u != v]  # fmt: skip
    if not seams:
        return units
    ends = np.array([s[:2] for s in seams])
    value = np.array([s[2] for s in seams])
    size = np.array([len(unit) for unit in units])
    keep = np.ones(len(units), bool)
    while True:
        both = keep[ends].all(1)
        count, total = np.zeros(len(units)), np.zeros(len(units))
        for end in ends[both].T:
            count += np.bincount(end, minlength=len(units))
            total += np.bincount(end, value[both], minlength=len(units))
        mean = total / np.maximum(count, 1)
        # Of two that object to each other the smaller one goes.
        worst = np.lexsort((size, mean))[0]
        if mean[worst] >= OBJECTION:
            return [unit for unit, stays in zip(units, keep, strict=True) if stays]
        keep[worst] = False
