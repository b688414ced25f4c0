"""Which tiles of two runs may be held against each other, and the intervals of differences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.report import words
from l4s_ensemble.report.compare.sides import TRAIN, Side


@dataclass(frozen=True)
class Pairing:
    """Tiles of one place that both runs scored.

    Attributes
    ----------
    place : str
    ids : int64 array, shape (tile,)
        Tiles with the same id, the same content and as many landslide pixels in both runs.
    block : int64 array, shape (tile,)
        What the bootstrap draws as one.
    spatial : bool
        Whether blocks are neighbours; else each tile is a block of its own.
    tiles : tuple of int
        How many tiles A and B score there.
    shared : int
        Ids that both have, whatever is in them.
    other_content, other_truth : int
        Shared ids that are left out, for their images or their masks differ.
    """

    place: str
    ids: NDArray[np.int64]
    block: NDArray[np.int64]
    spatial: bool
    tiles: tuple[int, int]
    shared: int
    other_content: int
    other_truth: int

    @property
    def whole(self) -> bool:
        """Whether these are all tiles of both runs."""
        return self.tiles == (len(self.ids), len(self.ids))

    def sentence(self, name: str) -> str:
        """Say which tiles are compared at this place."""
        a, b = (f"{n:,}" for n in self.tiles)
        n = words.plural(len(self.ids), "tile")
        if self.whole:
            return (
                f"{name}: both runs score the same {n}, with the same images and masks, so that "
                "differences are paired tile by tile."
            )
        if not len(self.ids):
            why = "no tile is in both"
            if self.shared:
                why = f"the {words.plural(self.shared, 'tile')} of the same id hold other data"
            return (
                f"{name}: {why} (A scores {a}, B {b}). Their scores stand side by side, and no "
                "difference between them is reckoned."
            )
        left = ""
        if self.other_content or self.other_truth:
            left = (
                f" Of the shared ids {self.other_content:,} hold another image and "
                f"{self.other_truth:,} another mask; they are left out."
            )
        return (
            f"{name}: {n} are the same in both (A scores {a}, B {b}). Differences are of these "
            f"alone, the scores beside them of all tiles of each run.{left}"
        )


def pair(a: Side, b: Side, place: str) -> Pairing | None:
    """Find the tiles that are the same in both runs; None where counts are not kept."""
    found = []
    for side in (a, b):
        counted = next((c for m in side.rows(place) if (c := side.counts(place, m))), None)
        if counted is None:
            return None
        found.append(counted)
    (patch_a, counts_a), (patch_b, counts_b) = found
    shared = np.intersect1d(patch_a, patch_b)
    hashes = [side.hashes(place) for side in (a, b)]
    same = np.array([_same(hashes[0].get(i), hashes[1].get(i)) for i in shared.tolist()], bool)
    real_a, real_b = (
        _at(patch, c.tp + c.fn, shared) for patch, c in ((patch_a, counts_a), (patch_b, counts_b))
    )
    equal = real_a == real_b
    ids = shared[same & equal]
    block, spatial = blocks(a, b, place, ids)
    return Pairing(
        place, ids, block, spatial, (len(patch_a), len(patch_b)), len(shared),
        int((~same).sum()), int((same & ~equal).sum()),
    )  # fmt: skip


def blocks(a: Side, b: Side, place: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """Blocks of neighbouring tiles; of the two runs' the larger ones, for they promise less."""
    known = []
    for side in (a, b):
        if side.source.data_stage(place) == "data/train" and "scenes" in side.source:
            from l4s_ensemble.scenes.folds import load_folds

            folds = load_folds(side.source["scenes"].folder)
            known.append((np.asarray(folds.of(ids, "block"), np.int64), folds.grid != "none"))
        elif side.source.data_stage(place) in side.source:
            from l4s_ensemble.predict.score import bootstrap_blocks

            edge = side.source.config.scenes.bootstrap_tiles
            block, kind = bootstrap_blocks(side.source.store(place).sel(patch=ids), edge)
            known.append((block, kind == "spatial"))
    if not known:
        return np.arange(len(ids), dtype=np.int64), False
    return min(known, key=lambda one: len(np.unique(one[0])))


def aligned(side: Side, pairing: Pairing, model: str) -> Counts | None:
    """Counts of a model on the paired tiles, in their order."""
    found = side.counts(pairing.place, model)
    if found is None:
        return None
    patch, c = found
    return Counts(*(_at(patch, kind, pairing.ids) for kind in (c.tp, c.fp, c.fn, c.tn)))


def difference(
    a: Side, b: Side, pairing: Pairing, model: str, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any] | None:
    """Paired difference of F1, B minus A, with its interval; None where nothing can be paired.

    Returns
    -------
    dict
        ``value, low, high, blocks, level, f1_a, f1_b`` (on the paired tiles) and ``verdict``.
    """
    one, other = aligned(a, pairing, model), aligned(b, pairing, model)
    if one is None or other is None or not len(pairing.ids):
        return None
    found = f1_gain_interval(other, one, pairing.block, resamples=resamples, seed=seed)
    return {
        **asdict(found), "f1_a": f1_pooled(one), "f1_b": f1_pooled(other),
        "verdict": verdict(found.value, found.low, found.high),
    }  # fmt: skip


def verdict(value: float, low: float | None, high: float | None) -> str:
    """Name a difference by its interval."""
    if low is None or high is None:
        return "too few blocks for an interval"
    if low == high == value == 0:
        return "the same masks"
    if low > 0:
        return "gain shown"
    return "loss shown" if high < 0 else "no gain shown"


def folds_alike(a: Side, b: Side, ids: NDArray[np.int64]) -> bool | None:
    """Whether tiles are held out together in the same way; None where folds are not known."""
    if "scenes" not in a.source or "scenes" not in b.source:
        return None
    from l4s_ensemble.scenes.folds import load_folds

    of = [load_folds(side.source["scenes"].folder).of(ids, "fold") for side in (a, b)]
    both = {(int(x), int(y)) for x, y in zip(*of, strict=True)}
    return len(both) == len({x for x, _ in both}) == len({y for _, y in both})


def title(place: str) -> str:
    """Name of a place on a page."""
    return "Out-of-fold on training tiles" if place == TRAIN else place.capitalize()


def short(place: str) -> str:
    """Name of a place in a table."""
    return title(place).split(" ")[0]


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and one == other


def _at(patch: NDArray[np.int64], values: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[Any]:
    order = np.argsort(patch)
    return np.asarray(values)[order[np.searchsorted(patch, ids, sorter=order)]]
