"""Scoring an image with boosted trees, exactly as LightGBM does and many times faster.

LightGBM walks one pixel down one tree after the other. Here a block of 8 x 8 pixels goes down a
tree together, as 64 bits that say which pixels are at a node. A pixel's value is first replaced by
the number of the feature's thresholds below it, a byte, once for all trees; a split then compares
64 bytes with one and has the bits of those that go right. Neighbouring pixels are alike: a tree of
63 leaves shows most blocks two or three of them, and the rest of the tree is never looked at.

That nodes are comparisons of bytes and that bits tell where they lead is the thought of QuickScorer
(Lucchese et al. 2015, doi:10.1145/2766462.2767733). There the bits are the leaves that one pixel
can still reach; here they are the pixels at one node, so that trees may have any number of leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.tree_kernels import AT_FEATURE, AT_TARGET, LEAF, score

CUTS_MOST = 255
"""Thresholds of one feature: the place of a value among them is a byte."""

_LEFT_BY_DEFAULT = 2
_PLAIN_SPLITS = {0, _LEFT_BY_DEFAULT}


@dataclass(frozen=True)
class BitTrees:
    """A booster in the form that `score` reads.

    Attributes
    ----------
    names : tuple of str
        Features in the order of the columns.
    cuts : float32 array, shape (cut,)
        All thresholds, ascending within a feature.
    cut_start : uint64 array, shape (feature + 1,)
        Where each feature's thresholds begin.
    root : uint64 array, shape (tree,)
        Where each tree's nodes begin.
    node : uint64 array, shape (node,)
        Splits and leaves as words, in the order node, left side, right side.
    leaf : float64 array, shape (leaf,)
        Values of the leaves.
    depth : int
        Most splits from a root to a leaf.
    """

    names: tuple[str, ...]
    cuts: NDArray[np.float32]
    cut_start: NDArray[np.uint64]
    root: NDArray[np.uint64]
    node: NDArray[np.uint64]
    leaf: NDArray[np.float64]
    depth: int

    def score(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw score of every pixel: float32 (feature, y, x), finite, to float64 (y, x).

        Raises
        ------
        ValueError
            If the image has another number of features.
        """
        if image.ndim != 3 or len(image) != len(self.names):
            raise ValueError(f"({len(self.names)}, y, x) is wanted, {image.shape} was given")
        scores: NDArray[np.float64] = score(
            np.ascontiguousarray(image, dtype=np.float32), self.cuts, self.cut_start, self.root,
            self.node, self.leaf, self.depth,
        )  # fmt: skip
        return scores


@lru_cache(maxsize=16)
def bit_trees(path: Path, _mtime_ns: int) -> BitTrees | None:
    """Read LightGBM's text; None if its trees are of a kind that `BitTrees` cannot hold.

    Those are features of more than `CUTS_MOST` thresholds, splits by category, splits that treat
    zero or NaN apart, linear leaves.
    """
    head, *texts = path.read_text(encoding="utf-8").split("\n\nTree=")
    names = tuple(_fields(head)["feature_names"].split(" "))
    trees = [_fields(t.partition("\nend of trees")[0]) for t in texts]
    if not trees or not all(_holds(t) for t in trees):
        return None
    parts = [_tree(t) for t in trees]
    root = np.cumsum([0, *(len(p.feature) for p in parts)])
    feature = np.concatenate([p.feature for p in parts])
    limit = _float32_below(np.concatenate([p.threshold for p in parts]))
    by_feature = [np.unique(limit[feature == f]) for f in range(len(names))]
    if max(len(c) for c in by_feature) > CUTS_MOST:
        return None
    cut = np.zeros(len(feature), np.uint64)
    for f, c in enumerate(by_feature):
        own = feature == f
        cut[own] = np.searchsorted(c, limit[own])
    right = np.concatenate([p.right + start for p, start in zip(parts, root, strict=False)])
    is_leaf = feature < 0
    number = np.cumsum(is_leaf) - 1
    node = np.where(
        is_leaf,
        LEAF | number.astype(np.uint64) << AT_TARGET,
        right.astype(np.uint64) << AT_TARGET | feature.astype(np.uint64) << AT_FEATURE | cut,
    )
    return BitTrees(
        names=names,
        cuts=np.concatenate(by_feature).astype(np.float32),
        cut_start=np.cumsum([0, *(len(c) for c in by_feature)]).astype(np.uint64),
        root=root[:-1].astype(np.uint64),
        node=node,
        leaf=np.concatenate([p.value for p in parts])[is_leaf],
        depth=max(p.depth for p in parts),
    )


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _holds(tree: dict[str, str]) -> bool:
    return (
        int(tree["num_cat"]) == 0
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
    """One tree, its nodes in the order node, left side, right side; a leaf's feature is -1."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    depth: int


def _tree(fields: dict[str, str]) -> _Tree:
    """Put the nodes of a tree in order.

    Raises
    ------
    ValueError
        If its splits do not form a tree.
    """
    split_feature = _numbers(fields, "split_feature", int)
    split_threshold = _numbers(fields, "threshold", float)
    left_child, right_child = (_numbers(fields, k, int) for k in ("left_child", "right_child"))
    leaf_value = _numbers(fields, "leaf_value", float)
    nodes = len(left_child) + len(leaf_value)
    feature = np.full(nodes, -1)
    threshold, value = np.zeros(nodes), np.zeros(nodes)
    right = np.zeros(nodes, np.int64)
    deepest = done = 0
    # What is left to visit: a split, or ~ of a leaf; whose right side it is; splits above it.
    todo = [(0 if len(left_child) else ~0, -1, 0)]
    while todo:
        here, parent, depth = todo.pop()
        if done == nodes:
            raise ValueError("the splits of a tree go round in a circle")
        if parent >= 0:
            right[parent] = done
        if here < 0:
            value[done] = leaf_value[~here]
        else:
            feature[done], threshold[done] = split_feature[here], split_threshold[here]
            todo.append((int(right_child[here]), done, depth + 1))
            todo.append((int(left_child[here]), -1, depth + 1))
        deepest = max(deepest, depth)
        done += 1
    if done < nodes:
        raise ValueError("some splits of a tree are not reached")
    return _Tree(feature, threshold, right, value, deepest)
