"""Search for post-processing that helps, under cross-fitting over the spatial folds.

For every step a small grid of parameters and thresholds is scored over all tiles. Each fold is
scored at what is best on the other folds, and so is the rival that has the threshold alone. The
difference is the honest gain. A step is kept where the interval of its gain is above zero and
where the folds agree: each fold's parameters, at their best threshold, gain over all tiles at
least half of what the final choice does. First one step on the probability, then steps on the
mask, best first, as long as one helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.metrics.histogram import bin_index
from l4s_ensemble.stack.decision.candidates import (
    THRESHOLD_MOVES,
    mask_candidates,
    probability_candidates,
    scored,
)  # fmt: skip
from l4s_ensemble.stack.decision.postprocess import Float, Step, filtered

BLOCK_TILES = 4
"""Tiles in memory at once: a chunk of the file."""

MOST_ROUNDS = 3

FEWEST_BLOCKS = 30
"""Spatial blocks below which no step is searched: among dozens of candidates a few blocks always
have one that seems to help."""


class Tiles(Protocol):
    """Tiles of known truth, a block at a time."""

    def __len__(self) -> int: ...

    def read(self, block: slice) -> tuple[Float, NDArray[np.bool_], NDArray[Any] | None]:
        """Probability (tile, y, x), truth likewise, and a guide (tile, y, x, channel) or None."""


@dataclass(frozen=True)
class Searched:
    """What was found: ``steps`` in order, the threshold that goes with them, what was tried."""

    steps: tuple[Step, ...]
    threshold: float
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Options:
    """Candidates of one step with their counts: tp, fp, fn by candidate and group."""

    steps: list[Step | None]
    threshold: NDArray[np.float64]
    counts: NDArray[np.int64]

    def best(self, groups: NDArray[np.bool_]) -> int:
        """The best candidate over some groups; the first of equals."""
        return int(np.argmax(_f1(self.counts[:, groups].sum(axis=1))))


def search(
    tiles: Tiles,
    group: NDArray[np.int64],
    fold: NDArray[np.int64],
    block: NDArray[np.int64],
    *,
    threshold: float,
    bins: int = 1000,
    resamples: int = 1000,
    seed: int = 0,
) -> Searched:
    """Search the steps.

    Parameters
    ----------
    tiles : Tiles
        Out-of-fold.
    group : int64 array, shape (tile,)
        Group of each tile, 0, 1 …: tiles of one fold and one bootstrap block.
    fold, block : int64 array, shape (group,)
    threshold : float
        Best without any step.

    Returns
    -------
    Searched
        ``told``: ``f1`` (cross-fitted, without any step), ``kept`` (steps), ``tried``: rows of
        ``step, candidates, f1, gain, low, high, shown, agree, kept, chosen, folds``.
    """
    if len(np.unique(fold)) < 2:
        why = "one fold only: nothing can be chosen on others"
        return Searched((), threshold, {"f1": None, "kept": [], "tried": [], "reason": why})
    blocks = len(np.unique(block))
    if blocks < FEWEST_BLOCKS:
        why = f"{blocks} spatial blocks are too few to show that a step helps"
        return Searched((), threshold, {"f1": None, "kept": [], "tried": [], "reason": why})
    judge = _Judge(fold, block, resamples, seed)
    kept: tuple[Step, ...] = ()
    with_guide = tiles.read(slice(0, 1))[2] is not None
    options = _on_probability(tiles, group, probability_candidates(with_guide), len(fold), bins)
    rival = options.pop("none")
    first = _f1(judge.crossed(rival)[0].sum(axis=1)[np.newaxis])[0]
    tried, winner = judge.rows(options, rival, on_top_of=kept)
    if winner is not None:
        kept, threshold = (_step(winner),), float(winner.threshold[0])
        rival = options[kept[0].name]
    for _ in range(MOST_ROUNDS):
        options = _on_mask(tiles, group, kept, threshold, len(fold), bins)
        same = options.pop("none")
        # Beyond the first mask step the rival has the kept steps; its thresholds are the grid's.
        rival = same if any(not s.on_probability for s in kept) else rival
        more, winner = judge.rows(options, rival, on_top_of=kept)
        tried += more
        if winner is None or not options:
            break
        kept, threshold = (*kept, _step(winner)), float(winner.threshold[0])
    told = {
        "f1": float(first), "kept": [s.as_dict() for s in kept], "tried": tried, "reason": None
    }  # fmt: skip
    return Searched(kept, threshold, told)


@dataclass(frozen=True)
class _Judge:
    fold: NDArray[np.int64]
    block: NDArray[np.int64]
    resamples: int
    seed: int

    def crossed(self, options: _Options) -> tuple[NDArray[np.int64], list[int]]:
        """Counts (3, group) of each fold at what is best on the others, and what that is."""
        out = np.zeros(options.counts.shape[1:][::-1], np.int64)
        picked = []
        for k in np.unique(self.fold):
            held = self.fold == k
            best = options.best(~held)
            picked.append(best)
            out[:, held] = options.counts[best][held].T
        return out, picked

    def rows(
        self, options: dict[str, _Options], rival: _Options, *, on_top_of: tuple[Step, ...]
    ) -> tuple[list[dict[str, Any]], _Options | None]:
        """A row a step; and the final choice of the best one shown, alone in its `_Options`."""
        everywhere = np.ones(len(self.fold), bool)
        base, _ = self.crossed(rival)
        plain = float(_f1(rival.counts[rival.best(everywhere)].sum(axis=0)))
        out, winner, most = [], None, 0.0
        for name, option in options.items():
            got, picked = self.crossed(option)
            gain = f1_gain_interval(
                _counts(got), _counts(base), self.block, resamples=self.resamples, seed=self.seed
            )
            final = option.best(everywhere)
            gained = _f1(option.counts.sum(axis=1)) - plain
            agree = gained[final] > 0 and all(
                # Each fold's step at its best threshold: that folds want other thresholds is
                # no fault of the step.
                gained[[s == option.steps[i] for s in option.steps]].max() >= gained[final] / 2
                for i in picked
            )
            keep = gain.is_above_zero and agree
            if keep and gain.value > most:
                most = gain.value
                winner = _Options(
                    [option.steps[final]], option.threshold[[final]], option.counts[[final]]
                )
            out.append(
                {
                    "step": name,
                    "on_top_of": [s.as_dict() for s in on_top_of],
                    "candidates": len(option.steps),
                    "f1": f1_pooled(_counts(got)),
                    "gain": gain.value, "low": gain.low, "high": gain.high,
                    "shown": gain.is_above_zero, "agree": bool(agree), "kept": False,
                    "chosen": _told(option, final),
                    "folds": [_told(option, i) for i in picked],
                }
            )  # fmt: skip
        if winner is not None:
            for row in out:
                row["kept"] = row["step"] == _step(winner).name
        return out, winner


def _on_probability(
    tiles: Tiles, group: NDArray[np.int64], steps: list[Step], groups: int, bins: int
) -> dict[str, _Options]:
    """Score steps on the probability, at every threshold."""
    every: list[Step | None] = [None, *steps]
    histogram = np.zeros((len(every), 2, groups, bins), np.int32)
    for i, p, truth, guide in _each(tiles):
        for c, step in enumerate(every):
            q = p if step is None else filtered(p, (step,), guide)
            index = bin_index(q.ravel(), bins) + bins * truth.ravel()
            counted = np.bincount(index, minlength=2 * bins).reshape(2, bins)
            histogram[c, :, group[i]] += counted.astype(np.int32)
    out = {}
    for name in ("none", *dict.fromkeys(s.name for s in steps)):
        these = [c for c, s in enumerate(every) if (s.name if s else "none") == name]
        called = histogram[these, ..., ::-1].cumsum(axis=-1, dtype=np.int64)[..., ::-1]
        tp, fp = (np.moveaxis(called[:, k], -1, 1) for k in (1, 0))
        counts = np.stack([tp, fp, tp[:, :1] - tp], axis=-1).reshape(-1, groups, 3)
        edges = np.tile(np.arange(bins) / bins, len(these))
        out[name] = _Options([every[c] for c in these for _ in range(bins)], edges, counts)
    return out


def _on_mask(
    tiles: Tiles,
    group: NDArray[np.int64],
    kept: tuple[Step, ...],
    threshold: float,
    groups: int,
    bins: int,
) -> dict[str, _Options]:
    """Score steps on the mask, at a few thresholds around the best one without them."""
    z = np.log(threshold / (1 - threshold)) if 0 < threshold < 1 else 0.0
    cuts = np.unique(np.round(bins / (1 + np.exp(-(z + np.array(THRESHOLD_MOVES))))) / bins)
    steps = mask_candidates(skip={s.name for s in kept})
    names = ["none", *dict.fromkeys(s.name for s in steps)]
    of_name: dict[str, list[Step | None]] = {"none": [None]}
    of_name |= {n: [s for s in steps if s.name == n] for n in names[1:]}
    counts = {n: np.zeros((len(of_name[n]), len(cuts), groups, 3), np.int64) for n in names}
    for i, p, truth, guide in _each(tiles):
        q = filtered(p, [s for s in kept if s.on_probability], guide)
        on_mask = [s for s in kept if not s.on_probability]
        for t, cut in enumerate(cuts):
            for name, found in scored(q, truth, float(cut), on_mask, of_name).items():
                counts[name][:, t, group[i]] += found
    return {
        n: _Options(
            [s for s in of_name[n] for _ in cuts],
            np.tile(cuts, len(of_name[n])),
            counts[n].reshape(-1, groups, 3),
        )
        for n in names
    }


def _each(
    tiles: Tiles,
) -> Iterator[tuple[int, Float, NDArray[np.bool_], NDArray[Any] | None]]:
    for start in range(0, len(tiles), BLOCK_TILES):
        p, truth, guide = tiles.read(slice(start, min(start + BLOCK_TILES, len(tiles))))
        for j in range(len(p)):
            yield start + j, p[j], truth[j], None if guide is None else guide[j]


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of counts whose last axis is tp, fp, fn."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    below = 2 * tp + fp + fn
    return np.asarray(np.where(below > 0, 2 * tp / np.maximum(below, 1), 0.0))


def _counts(found: NDArray[np.int64]) -> Counts:
    tp, fp, fn = found
    return Counts(tp, fp, fn, np.zeros_like(tp))


def _step(option: _Options) -> Step:
    (step,) = option.steps
    if step is None:
        raise ValueError("no step")
    return step


def _told(option: _Options, at: int) -> dict[str, Any]:
    step = option.steps[at]
    return {"threshold": float(option.threshold[at]), **(dict(step.parameters) if step else {})}
