"""Scoring an image with boosted trees, exactly as LightGBM does and several times faster.

LightGBM walks one pixel down one tree after the other. Here a block of 8 x 8 pixels goes through
a tree at once, after QuickScorer (Lucchese et al. 2015, doi:10.1145/2766462.2767733): every leaf
is a bit, in order from left to right; a split that sends a pixel to the right clears the bits of
its left side; the lowest bit that remains is the leaf. Neighbouring pixels are alike, so most
splits send a whole block the same way, which one comparison with the block's extremes tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

LEAVES_MOST = 64
"""Bits of a word."""

CUTS_MOST = 255
"""Thresholds of one feature: the place of a value among them is a byte."""

EDGE = 8
_PIXELS = EDGE * EDGE
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
_SHIFT = np.uint64(58)
# Every 6 bits of this number in a row are different, so a single bit times it tells its place.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)

_LEFT_BY_DEFAULT = 2
_PLAIN_SPLITS = {0, _LEFT_BY_DEFAULT}


def _compiled(function: F) -> F:
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@dataclass(frozen=True)
class BitTrees:
    """A booster in the form that `score` reads.

    Attributes
    ----------
    names : tuple of str
        Features in the order of the columns.
    cuts : float32 array, shape (cut,)
        All thresholds, ascending within a feature.
    cut_start : int64 array, shape (feature + 1,)
        Where each feature's thresholds begin.
    tree_start : int64 array, shape (tree + 1,)
        Where each tree's splits begin.
    split_feature : int64 array, shape (split,)
    split_cut : uint8 array, shape (split,)
        The split's threshold, counted within its feature.
    split_left, split_right : uint64 array, shape (split,)
        Leaves on either side, a bit each. Splits stand in the order node, left side, right side.
    split_end : int64 array, shape (split,)
        The split after all that stand below this one.
    leaf : float64 array, shape (tree, 64)
        Values of the leaves, at the place that the multiplication by the magic number gives.
    """

    names: tuple[str, ...]
    cuts: NDArray[np.float32]
    cut_start: NDArray[np.int64]
    tree_start: NDArray[np.int64]
    split_feature: NDArray[np.int64]
    split_cut: NDArray[np.uint8]
    split_left: NDArray[np.uint64]
    split_right: NDArray[np.uint64]
    split_end: NDArray[np.int64]
    leaf: NDArray[np.float64]

    def score(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw score of every pixel: float32 (feature, y, x), finite, to float64 (y, x)."""
        scores: NDArray[np.float64] = _score(
            np.ascontiguousarray(image), self.cuts, self.cut_start, self.tree_start,
            self.split_feature, self.split_cut, self.split_left, self.split_right, self.split_end,
            self.leaf,
        )  # fmt: skip
        return scores


@lru_cache(maxsize=16)
def bit_trees(path: Path, _mtime_ns: int) -> BitTrees | None:
    """Read LightGBM's text; None if its trees are of a kind that `BitTrees` cannot hold.

    Those are trees of more than `LEAVES_MOST` leaves, features of more than `CUTS_MOST`
    thresholds, splits by category, splits that treat zero or NaN apart, linear leaves.
    """
    head, *texts = path.read_text(encoding="utf-8").split("\n\nTree=")
    names = tuple(_fields(head)["feature_names"].split(" "))
    trees = [_fields(t.partition("\nend of trees")[0]) for t in texts]
    if not trees or not all(_holds(t) for t in trees):
        return None
    parts = [_tree(t) for t in trees]
    orders = [p.order for p in parts]
    split_feature = np.concatenate(
        [_numbers(t, "split_feature", int)[o] for t, o in zip(trees, orders, strict=True)]
    )
    limit = _float32_below(
        np.concatenate(
            [_numbers(t, "threshold", float)[o] for t, o in zip(trees, orders, strict=True)]
        )
    )
    by_feature = [np.unique(limit[split_feature == f]) for f in range(len(names))]
    if max(len(c) for c in by_feature) > CUTS_MOST:
        return None
    split_cut = np.empty(len(limit), np.uint8)
    for f, c in enumerate(by_feature):
        own = split_feature == f
        split_cut[own] = np.searchsorted(c, limit[own])
    tree_start = np.cumsum([0, *(len(o) for o in orders)])
    return BitTrees(
        names=names,
        cuts=np.concatenate(by_feature).astype(np.float32),
        cut_start=np.cumsum([0, *(len(c) for c in by_feature)]),
        tree_start=tree_start,
        split_feature=split_feature,
        split_cut=split_cut,
        split_left=np.concatenate([p.left for p in parts]),
        split_right=np.concatenate([p.right for p in parts]),
        split_end=np.concatenate([p.end + s for p, s in zip(parts, tree_start, strict=False)]),
        leaf=np.stack([p.leaf for p in parts]),
    )


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _holds(tree: dict[str, str]) -> bool:
    return (
        int(tree["num_leaves"]) <= LEAVES_MOST
        and int(tree["num_cat"]) == 0
        and int(tree.get("is_linear", "0")) == 0
        and set(_numbers(tree, "decision_type", int).tolist()) <= _PLAIN_SPLITS
    )


def _numbers(tree: dict[str, str], key: str, kind: type) -> NDArray[Any]:
    return np.array([kind(word) for word in tree.get(key, "").split()], dtype=kind)


def _float32_below(value: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give the largest float32 <= value: a float32 pixel is below both or above both."""
    near = value.astype(np.float32)
    low = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > value, low, near)


@dataclass(frozen=True)
class _Tree:
    """One tree, its splits in the order node, left side, right side."""

    order: NDArray[np.int64]
    left: NDArray[np.uint64]
    right: NDArray[np.uint64]
    end: NDArray[np.int64]
    leaf: NDArray[np.float64]


def _tree(fields: dict[str, str]) -> _Tree:
    left_child, right_child = (_numbers(fields, k, int) for k in ("left_child", "right_child"))
    value = _numbers(fields, "leaf_value", float)
    order: list[int] = []
    left, right, end = ([0] * len(left_child) for _ in range(3))
    leaves: list[float] = []

    def span(first: int) -> int:
        return (1 << len(leaves)) - (1 << first)

    # A tree has at most 64 leaves, so this is at most 63 calls deep.
    def walk(node: int) -> None:
        if node < 0:
            leaves.append(float(value[~node]))
            return
        place = len(order)
        order.append(node)
        first = len(leaves)
        walk(int(left_child[node]))
        left[place] = span(first)
        first = len(leaves)
        walk(int(right_child[node]))
        right[place] = span(first)
        end[place] = len(order)

    walk(0 if len(left_child) else ~0)
    table = np.zeros(_PIXELS)
    bits = np.left_shift(_ONE, np.arange(len(leaves), dtype=np.uint64))
    with np.errstate(over="ignore"):
        table[((bits * _DE_BRUIJN) >> _SHIFT).astype(np.int64)] = leaves
    return _Tree(
        np.array(order, np.int64),
        np.array(left, np.uint64),
        np.array(right, np.uint64),
        np.array(end, np.int64),
        table,
    )


@_compiled
def _count_below(cuts: NDArray[np.float32], start: int, end: int, value: np.float32) -> int:
    """Index of the first of ``cuts[start:end]`` that is not below the value."""
    n = end - start
    while n > 1:
        half = n >> 1
        # Written so that the compiler needs no jump: which way it goes cannot be foretold.
        start += half if cuts[start + half - 1] < value else 0
        n -= half
    if n == 1 and cuts[start] < value:
        start += 1
    return start


@_compiled
def _score(
    image: NDArray[np.float32],
    cuts: NDArray[np.float32],
    cut_start: NDArray[np.int64],
    tree_start: NDArray[np.int64],
    split_feature: NDArray[np.int64],
    split_cut: NDArray[np.uint8],
    split_left: NDArray[np.uint64],
    split_right: NDArray[np.uint64],
    split_end: NDArray[np.int64],
    leaf: NDArray[np.float64],
) -> NDArray[np.float64]:
    features, height, width = image.shape
    out = np.empty((height, width))
    value = np.empty(_PIXELS, np.float32)
    count = np.empty(_PIXELS, np.int32)
    place = np.zeros((features, _PIXELS), np.uint8)
    low = np.zeros(features, np.uint8)
    high = np.zeros(features, np.uint8)
    reach = np.empty(_PIXELS, np.uint64)
    total = np.empty(_PIXELS)
    for y0 in range(0, height, EDGE):
        for x0 in range(0, width, EDGE):
            for f in range(features):
                start, end = cut_start[f], cut_start[f + 1]
                if start == end:
                    continue
                least = most = image[f, y0, x0]
                for r in range(_PIXELS):
                    # Beyond the image the last row and column are repeated, and thrown away.
                    y = min(y0 + r // EDGE, height - 1)
                    x = min(x0 + r % EDGE, width - 1)
                    v = image[f, y, x]
                    value[r] = v
                    least = min(least, v)
                    most = max(most, v)
                first = _count_below(cuts, start, end, least)
                last = _count_below(cuts, first, end, most)
                low[f], high[f] = first - start, last - start
                if first == last:
                    place[f] = low[f]
                else:
                    # Comparing all pixels with every threshold between takes no jumps: faster
                    # than a search for each.
                    count[:] = low[f]
                    for c in range(first, last):
                        cut_value = cuts[c]
                        for r in range(_PIXELS):
                            count[r] += cut_value < value[r]
                    for r in range(_PIXELS):
                        place[f, r] = count[r]
            total[:] = 0.0
            for t in range(len(tree_start) - 1):
                common = _ALL
                mixed = False
                j = tree_start[t]
                while j < tree_start[t + 1]:
                    left, right = split_left[j], split_right[j]
                    if (left | right) & common == 0:
                        j = split_end[j]  # no pixel of the block comes here
                        continue
                    f = split_feature[j]
                    cut = split_cut[j]
                    j += 1
                    if high[f] <= cut:
                        common &= ~right
                    elif low[f] > cut:
                        common &= ~left
                    else:
                        if not mixed:
                            reach[:] = _ALL
                            mixed = True
                        row = place[f]
                        for r in range(_PIXELS):
                            reach[r] &= ~left if row[r] > cut else _ALL
                if mixed:
                    for r in range(_PIXELS):
                        left = reach[r] & common
                        total[r] += leaf[t, ((left & (~left + _ONE)) * _DE_BRUIJN) >> _SHIFT]
                else:
                    add = leaf[t, ((common & (~common + _ONE)) * _DE_BRUIJN) >> _SHIFT]
                    for r in range(_PIXELS):
                        total[r] += add
            for r in range(_PIXELS):
                y, x = y0 + r // EDGE, x0 + r % EDGE
                if y < height and x < width:
                    out[y, x] = total[r]
    return out
