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

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.tree_kernels import AT_FEATURE, AT_TARGET, LEAF, score
from l4s_ensemble.pixel.trees import Trees

MOST_THRESHOLDS = 255
"""Thresholds of one feature: the place of a value among them is a byte."""


class BitTrees(NamedTuple):
    """Trees in the form that `score` reads."""

    thresholds: NDArray[np.float32]  # ascending within a feature
    threshold_start: NDArray[np.uint64]  # where each feature's begin, shape (feature + 1,)
    root: NDArray[np.uint64]  # where each tree's nodes begin
    node: NDArray[np.uint64]  # splits and leaves as words, in the order of `Nodes`
    leaf: NDArray[np.float64]  # values of the leaves
    depth: int  # most splits from a root to a leaf

    def score(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw score of every pixel: float32 (feature, y, x), finite, to float64 (y, x).

        Raises
        ------
        ValueError
            If the image has another number of features.
        """
        features = len(self.threshold_start) - 1
        if image.ndim != 3 or len(image) != features:
            raise ValueError(f"({features}, y, x) is wanted, {image.shape} was given")
        return score(np.ascontiguousarray(image, dtype=np.float32), self)


@lru_cache(maxsize=16)
def bit_trees(trees: Trees) -> BitTrees:
    """Bring trees into the form that scores.

    Raises
    ------
    ValueError
        If a feature has more than `MOST_THRESHOLDS` thresholds.
    """
    nodes = trees.nodes
    feature, root = nodes.feature.astype(np.int64), nodes.start[:-1]
    limit = _float32_below(nodes.threshold)
    by_feature = [np.unique(limit[feature == f]) for f in range(len(trees.names))]
    if max(len(c) for c in by_feature) > MOST_THRESHOLDS:
        raise ValueError(
            f"a feature has more than {MOST_THRESHOLDS} thresholds: lower pixel.max_bin"
        )
    number = np.zeros(len(feature), np.uint64)
    for f, c in enumerate(by_feature):
        own = feature == f
        number[own] = np.searchsorted(c, limit[own])
    is_leaf = feature < 0
    right = nodes.right + np.repeat(root, np.diff(nodes.start))
    leaf_number = np.cumsum(is_leaf) - 1
    node = np.where(
        is_leaf,
        LEAF | leaf_number.astype(np.uint64) << AT_TARGET,
        right.astype(np.uint64) << AT_TARGET | feature.astype(np.uint64) << AT_FEATURE | number,
    )
    return BitTrees(
        thresholds=np.concatenate(by_feature).astype(np.float32),
        threshold_start=np.cumsum([0, *(len(c) for c in by_feature)]).astype(np.uint64),
        root=root.astype(np.uint64),
        node=node,
        leaf=nodes.value[is_leaf],
        depth=trees.depth,
    )


def _float32_below(value: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give the largest float32 <= value: a float32 pixel is below both or above both."""
    near = value.astype(np.float32)
    low = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > value, low, near)
