"""Log-odds, from pixels, that two tiles share a seam.

The last line of one tile and the first line of the next are two views of nearly the same ground.
Their profiles are taken apart into frequencies along the seam and compared under a Gaussian model
of two correlated views, fitted to cuts inside the tiles. Its log-likelihood ratio (same ground
against unrelated ground) is a scalar product, so all pairs of tiles cost one matrix product, which
is made in blocks: what is kept are the few good pairs.

How high the ratio climbs by chance is read off pairs that cannot adjoin: two right edges, two
left ones. Odds are given in units of that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.scenes.profiles import AXES, Flags, Floats, Lines, read_lines

log = logging.getLogger("l4s_ensemble")

RHO_MAX = 0.995
RHO_MIN = 0.05
QUIET = 1e-5
ODDS_MAX = 12.0
MEDIAN_ODDS = 10.0

AT_ONCE = 4_000_000
"""Numbers in memory at a time while pairs of tiles are scored."""
MOST = 64
"""Candidates kept for one side of a tile: more than it has, unless it is there many times."""


@dataclass(frozen=True)
class Block:
    """One group of coefficients of a profile that is scaled and silenced as one."""

    bands: NDArray[np.intp]  # those that take part
    # For frequencies low..high: low, high, the bands' mean (band,), the turn to uncorrelated
    # components of unit variance (band, component), each component's correlation across a seam.
    groups: list[tuple[int, int, NDArray[Any], NDArray[Any], NDArray[Any]]] = field(repr=False)
    level: bool  # frequency zero; other blocks are scaled to their own contrast


@dataclass(frozen=True)
class Seams:
    """Evidence for seams along one axis.

    Odds are counted in a factor e, or more, in the chance of so good a score among pairs that do
    not adjoin; at zero at most about one tile in a thousand has a stranger that scores as well.
    """

    last: Floats  # (tile, term): last[a] @ first[b] is the score of b right of or below a
    first: Floats  # (tile, term)
    speaks_last: Flags  # (tile,): whether the edge says anything; if not, odds are zero
    speaks_first: Flags  # (tile,)
    zero: float  # score at which odds are zero
    unit: float  # score that one unit of odds is worth

    def odds(self, before: NDArray[np.intp], after: NDArray[np.intp]) -> Floats:
        """Odds of seams between tiles, shape (pair,)."""
        out = np.empty(len(before), np.float32)
        step = max(1, AT_ONCE // self.last.shape[1])
        for start in range(0, len(before), step):
            a, b = before[start : start + step], after[start : start + step]
            score = np.einsum("pk,pk->p", self.last[a], self.first[b])
            speaks = self.speaks_last[a] & self.speaks_first[b]
            out[start : start + step] = self._scaled(score) * speaks
        return out

    def candidates(self) -> Any:
        """Pairs of positive odds, the best `MOST` of each tile: sparse (before, after).

        Scores of all pairs are computed, and dropped, in blocks of `AT_ONCE`.
        """
        from scipy.sparse import csr_array

        n = len(self.last)
        rows, columns = [], []
        for start, score in _scores(self.last, self.first):
            score[:, ~self.speaks_first] = -np.inf
            score[~self.speaks_last[start : start + len(score)]] = -np.inf
            score[np.arange(len(score)), start + np.arange(len(score))] = -np.inf
            if n > MOST:
                least = np.partition(score, n - MOST, axis=1)[:, n - MOST]
                score[score < least[:, None]] = -np.inf
            row, column = np.nonzero(self._scaled(score) > 0)
            rows.append(start + row)
            columns.append(column)
        at = (np.concatenate(rows), np.concatenate(columns))
        return csr_array((np.ones(len(at[0]), np.int8), at), shape=(n, n))

    def _scaled(self, score: Floats) -> Floats:
        odds = (score - np.float32(self.zero)) / np.float32(self.unit)
        return np.asarray(np.clip(odds, -ODDS_MAX, ODDS_MAX))


@dataclass(frozen=True)
class Odds:
    """Evidence for seams between tiles, side by side (`right`) and one `below` the other."""

    right: Seams
    below: Seams

    def __len__(self) -> int:
        return len(self.right.last)


def weigh(images: Any, spectral: Flags, relative: bool) -> Odds:
    """Weigh all possible seams.

    Parameters
    ----------
    images : array-like, shape (tile, band, y, x)
        Counts. A numpy array, or anything that gives one for a slice of tiles.
    spectral : ndarray of bool, shape (band,)
        Bands of reflectance.
    relative : bool
        The level of each tile is unknown: spectral bands are compared up to one common factor.
    """
    lines, original = read_lines(images, spectral)
    single = np.unique(original)
    return Odds(*(_seams(lines.pop(axis), spectral, relative, single, axis) for axis in AXES))


def _seams(
    lines: Lines, spectral: Flags, relative: bool, single: NDArray[np.intp], axis: str
) -> Seams:
    lines = replace(
        lines,
        last=_spectrum(lines.last, spectral, relative),
        first=_spectrum(lines.first, spectral, relative),
        before=_spectrum(lines.before, spectral, relative),
        after=_spectrum(lines.after, spectral, relative),
    )
    blocks = learn(lines, spectral)
    last, last_as_first = code(lines.last, lines.last_silent, blocks)
    first_as_last, first = code(lines.first, lines.first_silent, blocks)
    speaks_last, speaks_first = (
        np.asarray(~s.all(1)) for s in (lines.last_silent, lines.first_silent)
    )
    a, b = single[speaks_last[single]], single[speaks_first[single]]
    chance = np.concatenate(
        [_best_other(last[a], last_as_first[a]), _best_other(first_as_last[b], first[b])]
    )
    known = np.concatenate([_known(lines, c, blocks) for c in range(len(lines.before))])
    # Fewer than two tiles that say anything: no score is good.
    zero, unit = _scale(chance, known) if chance.size else (np.inf, 1.0)
    log.debug("seams %s: odds are 0 at %.1f, one unit is %.1f", axis, zero, unit)
    return Seams(last, first, speaks_last, speaks_first, zero, unit)


def _scores(left: Floats, right: Floats) -> Iterator[tuple[int, Floats]]:
    """Scores of all pairs, in blocks of rows: first row, and an array (row, tile)."""
    step = max(1, AT_ONCE // max(1, len(right)))
    for start in range(0, len(left), step):
        yield start, left[start : start + step] @ right.T


def _best_other(left: Floats, right: Floats) -> Floats:
    """Best score of each tile among pairs that cannot adjoin."""
    if len(left) < 2:
        return np.empty(0, np.float32)
    best = []
    for start, score in _scores(left, right):
        score[np.arange(len(score)), start + np.arange(len(score))] = -np.inf
        best.append(score.max(1))
    return np.concatenate(best)


def _scale(chance: Floats, known: Floats) -> tuple[float, float]:
    """Score at which odds are zero, and the score that one unit of odds is worth.

    Parameters
    ----------
    chance : ndarray
        Best score of each tile among pairs that cannot adjoin.
    known : ndarray
        Scores of cuts inside tiles.
    """
    high, top = np.quantile(chance, [0.9, 0.99])
    low, median = np.quantile(known, [0.01, 0.5])
    # The chance of a score falls by ten from the 90 % to the 99 % quantile: once more to 99.9 %.
    # Few tiles leave the quantiles themselves uncertain.
    limit = top + (top - high) * (1 + (10 / len(chance)) ** 0.5)
    decay = max((top - high) / np.log(10), 1e-3)
    # Far above chance, a score must still be one that true seams have.
    zero = max(limit, min(0.0, low))
    rise = max(median - zero, 0.0)
    unit = max(rise / MEDIAN_ODDS, rise / ((zero - limit + rise) / decay + 1e-9), 1e-3)
    return float(zero), float(unit if rise > 0 else decay)


def _known(lines: Lines, cut: int, blocks: list[Block]) -> Floats:
    """Scores of the two sides of a cut inside the tiles."""
    last, _ = code(lines.before[cut], lines.cut_silent, blocks)
    _, first = code(lines.after[cut], lines.cut_silent, blocks)
    return np.asarray(np.einsum("nk,nk->n", last, first))


def learn(lines: Lines, spectral: Flags) -> list[Block]:
    """Fit the model of two views to the spectra of cuts inside the tiles.

    Within a group of frequencies the bands are turned so that components are independent and of
    unit variance, and their correlations across the cut are kept (canonical correlations, both
    views treated alike). Other bands stand alone: they may be silent.
    """
    parts = [np.flatnonzero(spectral)] if spectral.any() else []
    parts += [np.array([b]) for b in np.flatnonzero(~spectral)]
    blocks = []
    for bands in parts:
        use = ~lines.cut_silent[:, bands].all(1)
        if not use.any():
            continue
        a, b = (view[:, use][:, :, bands] for view in (lines.before, lines.after))
        for level, bins in ((True, [(0, 1)]), (False, _half_octaves(a.shape[-1]))):
            groups = [
                (low, high, *_turn(a[..., low:high], b[..., low:high], level)) for low, high in bins
            ]
            blocks.append(Block(bands, groups, level))
    return blocks


def _half_octaves(length: int) -> list[tuple[int, int]]:
    """Ranges of frequencies that share one covariance; single frequencies at first."""
    edges = [1]
    while edges[-1] < length:
        edges.append(min(length, max(edges[-1] + 1, round(edges[-1] * 2**0.5))))
    return list(pairwise(edges))


def _spectrum(profiles: Floats, spectral: Flags, relative: bool) -> Floats:
    """Cosine transform along the seam; of relative tiles the common log level is taken out."""
    from scipy.fft import dct

    found = np.asarray(dct(profiles, axis=-1, norm="ortho"), np.float32)
    if relative and spectral.any():
        level = found[..., spectral, :1]
        found[..., spectral, :1] = level - level.mean(-2, keepdims=True)
    return found


def _turn(a: Floats, b: Floats, level: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Canonical components of two views, arrays (cut, tile, band, frequency)."""
    from scipy.linalg import eigh

    tiles, bands, frequencies = a.shape[1:]
    x = a.astype(np.float64).swapaxes(2, 3).reshape(-1, bands)
    y = b.astype(np.float64).swapaxes(2, 3).reshape(-1, bands)
    mean = (x.mean(0) + y.mean(0)) / 2 if level else np.zeros(bands)
    x, y = x - mean, y - mean
    own = (x.T @ x + y.T @ y) / (2 * len(x))
    joint = (x.T @ y + y.T @ x) / (2 * len(x))
    # Few tiles tell little of the covariance between bands: pull it towards none.
    pull = bands / (bands + tiles * frequencies) if bands > 1 else 0.0
    shrink = (1 - pull) + pull * np.eye(bands)
    own, joint = own * shrink, joint * shrink
    own += np.eye(bands) * (1e-6 * np.trace(own) / bands + 1e-12)
    rho, turn = eigh(joint, own)
    return mean, turn, np.clip(rho, 0, RHO_MAX)


def code(spectrum: Floats, silent: Flags, blocks: list[Block]) -> tuple[Floats, Floats]:
    """Turn profiles into two sets of vectors whose product is the log-likelihood ratio.

    For two views x, y of unit variance and correlation r, each component adds
    ``(r x y - r**2 (x**2 + y**2) / 2) / (1 - r**2) - log(1 - r**2) / 2``; a block that is silent
    in either tile adds nothing.

    Parameters
    ----------
    spectrum : ndarray, shape (tile, band, frequency)
    silent : ndarray of bool, shape (tile, band)

    Returns
    -------
    as_last, as_first : ndarray, shape (tile, term)
        ``as_last[a] @ as_first[b]`` is the evidence that b continues a.
    """
    last: list[Floats] = []
    first: list[Floats] = []
    for block in blocks:
        z, rho = _components(spectrum, block)
        speaks = np.asarray(~silent[:, block.bands].all(1))
        if not block.level:
            rms = np.sqrt((z * z).mean(1))
            speaks = speaks & (rms > QUIET)
            z = z / np.maximum(rms, QUIET)[:, None]
        on = speaks[:, None].astype(np.float32)
        energy = -0.5 * (z * z) @ (rho * rho / (1 - rho * rho))[:, None] * on
        constant = np.float32(-0.5 * np.log(1 - rho * rho).sum())
        half = z * np.sqrt(rho / (1 - rho * rho)) * on
        last.append(np.hstack([half, energy + constant * on, on]).astype(np.float32))
        first.append(np.hstack([half, on, energy]).astype(np.float32))
    if not blocks:
        return np.zeros((len(spectrum), 1), np.float32), np.zeros((len(spectrum), 1), np.float32)
    return np.hstack(last), np.hstack(first)


def _components(spectrum: Floats, block: Block) -> tuple[Floats, Floats]:
    """Components (tile, k) of unit variance and their correlations (k,), the weak ones left out."""
    found, rhos = [], []
    for low, high, mean, turn, rho in block.groups:
        strong = rho > RHO_MIN
        if not strong.any():
            continue
        part = spectrum[:, block.bands, low:high] - mean.astype(np.float32)[:, None]
        z = np.einsum("nbf,bc->ncf", part, turn[:, strong].astype(np.float32), optimize=True)
        found.append(z.reshape(len(z), -1))
        rhos.append(np.repeat(rho[strong], high - low))
    if not found:
        return np.zeros((len(spectrum), 1), np.float32), np.zeros(1, np.float32)
    return np.hstack(found), np.concatenate(rhos).astype(np.float32)
