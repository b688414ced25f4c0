"""The trees of LightGBM's boosters, read from their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_LEFT_BY_DEFAULT = 2
_PLAIN_SPLITS = {0, _LEFT_BY_DEFAULT}


class Nodes(NamedTuple):
    """Nodes of all trees, each tree in the order node, left side, right side.

    The left child of node i is therefore i + 1. Places of nodes count from the tree's root. Arrays
    have shape (node,).
    """

    start: NDArray[np.int64]  # where each tree's nodes begin, shape (tree + 1,)
    feature: NDArray[np.int32]  # column that is split; -1 at a leaf
    threshold: NDArray[np.float64]  # a value at or below it goes to the left
    parent: NDArray[np.int32]  # place of the parent; -1 at the root
    right: NDArray[np.int32]  # place of the right child
    before: NDArray[np.int32]  # the nearest above that a split on the same feature led to, or -1
    share: NDArray[np.float64]  # training rows here / those at the parent; 1 at the root
    value: NDArray[np.float64]  # what a leaf adds to the raw score; 0 elsewhere


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees of boosters: names of the columns, nodes, and most splits from a root to a leaf."""

    names: tuple[str, ...]
    nodes: Nodes
    depth: int


def read_trees(texts: Sequence[str]) -> Trees:
    """Read boosters from LightGBM's texts; the raw score is the mean of theirs.

    The trees of all stand in turn, the first of each, then the second of each, with their values
    divided by the number of boosters.

    Raises
    ------
    ValueError, KeyError, IndexError
        If a text is damaged, the boosters differ in their columns or number of trees, or a tree
        has other splits than plain comparisons (categories, missing values, linear leaves).
    """
    boosters = [text.split("\n\nTree=") for text in texts]
    names = {tuple(_fields(head)["feature_names"].split(" ")) for head, *_ in boosters}
    if len(names) != 1 or len({len(parts) for parts in boosters}) != 1:
        raise ValueError("the boosters of a bag must have equal columns and equally many trees")
    in_turn = zip(*(parts[1:] for parts in boosters), strict=True)
    trees = [_tree(_fields(t.partition("\nend of trees")[0])) for some in in_turn for t in some]
    if not trees:
        raise ValueError("there is no tree")
    nodes, depths = zip(*trees, strict=True)
    start = np.cumsum([0, *(len(tree.feature) for tree in nodes)])
    joined = Nodes(start, *(np.concatenate(part) for part in list(zip(*nodes, strict=True))[1:]))
    joined.value[:] *= 1 / len(texts)
    return Trees(names.pop(), joined, max(depths))


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _numbers(tree: dict[str, str], key: str, kind: type) -> NDArray[Any]:
    return np.array([kind(word) for word in tree.get(key, "").split()], dtype=kind)


def _tree(fields: dict[str, str]) -> tuple[Nodes, int]:
    """Put the nodes of one tree in order; and most splits from its root to a leaf.

    Raises
    ------
    ValueError
        If its splits do not form a tree, or are no plain comparisons.
    """
    kinds = set(_numbers(fields, "decision_type", int).tolist())
    if int(fields["num_cat"]) or int(fields.get("is_linear", "0")) or not kinds <= _PLAIN_SPLITS:
        raise ValueError("a tree has splits that are no plain comparisons")
    split_feature = _numbers(fields, "split_feature", int)
    split_threshold = _numbers(fields, "threshold", float)
    split_rows, leaf_rows = (_numbers(fields, f"{k}_count", float) for k in ("internal", "leaf"))
    children = [_numbers(fields, k, int) for k in ("right_child", "left_child")]
    leaf_value = _numbers(fields, "leaf_value", float)
    nodes = len(split_feature) + len(leaf_value)
    feature, parents, right, before = (np.full(nodes, -1, np.int32) for _ in range(4))
    threshold, value, rows, share = (np.zeros(nodes) for _ in range(4))
    right[:] = 0
    deepest = done = 0
    # What is left to visit: a split, or ~ of a leaf; its parent, and whether it is on its right;
    # splits above it; for each feature, where its last split above led to.
    todo: list[tuple[int, int, bool, int, dict[int, int]]]
    todo = [(0 if len(split_feature) else ~0, -1, False, 0, {})]
    while todo:
        here, parent, is_right, depth, last = todo.pop()
        if done == nodes:
            raise ValueError("the splits of a tree go round in a circle")
        parents[done], share[done] = parent, 1.0
        if len(split_feature):
            rows[done] = leaf_rows[~here] if here < 0 else split_rows[here]
        if parent >= 0:
            f = int(feature[parent])
            before[done], last = last.get(f, -1), {**last, f: done}
            share[done] = rows[done] / max(rows[parent], 1.0)
            if is_right:
                right[parent] = done
        if here < 0:
            value[done] = leaf_value[~here]
        else:
            feature[done], threshold[done] = split_feature[here], split_threshold[here]
            for child, to_right in zip(children, (True, False), strict=True):
                todo.append((int(child[here]), done, to_right, depth + 1, last))
        deepest = max(deepest, depth)
        done += 1
    if done < nodes:
        raise ValueError("some splits of a tree are not reached")
    start = np.array([0, nodes])
    return Nodes(start, feature, threshold, parents, right, before, share, value), deepest
