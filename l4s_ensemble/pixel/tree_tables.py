"""A booster's trees as flat tables, for the modules that explain it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.model import PixelModel, booster_file

if TYPE_CHECKING:
    import lightgbm as lgb

F = TypeVar("F", bound=Callable[..., Any])

BITS = 64
"""Leaves that a word has bits for."""


def compiled(function: F) -> F:
    """Compile with numba; sums may be taken in any order, which is what makes them fast."""
    made = numba.njit(
        cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
    )
    return cast(F, made(function))


@dataclass(frozen=True, eq=False)
class TreeTables:
    """Nodes of all trees, each tree in the order node, left side, right side.

    The left child of node i is therefore i + 1. Places of nodes count from the tree's root.

    Attributes
    ----------
    start : int64 array, shape (tree + 1,)
        Where each tree's nodes begin.
    feature : int32 array, shape (node,)
        Column that is split; -1 at a leaf.
    threshold : float64 array, shape (node,)
        A value at or below it goes to the left.
    parent, right, before : int32 array, shape (node,)
        Place of the parent, of the right child, and of the nearest node above that a split on the
        same feature led to as to this one; -1 where there is none.
    share : float64 array, shape (node,)
        Training rows here / those at the parent; 1 at the root.
    value : float64 array, shape (node,)
        What a leaf adds to the logit; 0 elsewhere.
    below : uint64 array, shape (node,)
        Leaves below the left child, a bit each, counted from the left within the tree. Only good
        if `fits`.
    leaf : int32 array, shape (node,)
        Number of the leaf within its tree; -1 elsewhere.
    """

    start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    parent: NDArray[np.int32]
    right: NDArray[np.int32]
    before: NDArray[np.int32]
    share: NDArray[np.float64]
    value: NDArray[np.float64]
    below: NDArray[np.uint64]
    leaf: NDArray[np.int32]

    @property
    def fits(self) -> bool:
        """Whether every tree's leaves fit into one word."""
        return bool(self.leaf.max() < BITS)


def tree_tables(model: PixelModel, fold: int) -> TreeTables | None:
    """Tables of a fold's booster, read once per process.

    None where its splits are not plain comparisons (categories, zeros taken as missing, linear
    leaves).
    """
    path = model.folder / booster_file(fold)
    return _tables(_Asked(path, path.stat().st_mtime_ns, model.booster(fold)))


@dataclass(frozen=True)
class _Asked:
    """A booster, known by its file and when that was written."""

    path: Path
    mtime_ns: int
    booster: lgb.Booster = field(compare=False)


@lru_cache(maxsize=16)
def _tables(asked: _Asked) -> TreeTables | None:
    trees = asked.booster.dump_model()["tree_info"]
    parts = [_Walk() for _ in trees]
    try:
        for part, tree in zip(parts, trees, strict=True):
            part.walk(tree["tree_structure"], -1, -1, 1.0, {})
    except _NotPlain:
        return None
    columns = [np.concatenate([np.array(c) for c in each]) for each in zip(
        *(p.columns() for p in parts), strict=True
    )]  # fmt: skip
    feature, threshold, parent, right, before, share, value, below, leaf = columns
    return TreeTables(
        start=np.cumsum([0, *(len(p.feature) for p in parts)]),
        feature=feature.astype(np.int32),
        threshold=threshold.astype(np.float64),
        parent=parent.astype(np.int32),
        right=right.astype(np.int32),
        before=before.astype(np.int32),
        share=share.astype(np.float64),
        value=value.astype(np.float64),
        below=below.astype(np.uint64),
        leaf=leaf.astype(np.int32),
    )


class _NotPlain(Exception):
    """A tree has a split that the tables cannot hold."""


class _Walk:
    """The nodes of one tree, in order."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.parent: list[int] = []
        self.right: list[int] = []
        self.before: list[int] = []
        self.share: list[float] = []
        self.value: list[float] = []
        self.below: list[int] = []
        self.leaf: list[int] = []
        self.leaves = 0

    def columns(self) -> tuple[list[Any], ...]:
        return (
            self.feature, self.threshold, self.parent, self.right, self.before, self.share,
            self.value, self.below, self.leaf,
        )  # fmt: skip

    def walk(
        self,
        node: Mapping[str, Any],
        parent: int,
        before: int,
        share: float,
        last: Mapping[int, int],
    ) -> None:
        """Add a node and all below it; `last` tells for each feature its last split above."""
        place = len(self.feature)
        split = "split_feature" in node
        if "leaf_coeff" in node or (
            split and (node["decision_type"] != "<=" or node["missing_type"] == "Zero")
        ):
            raise _NotPlain
        self.feature.append(int(node["split_feature"]) if split else -1)
        self.threshold.append(float(node["threshold"]) if split else 0.0)
        self.parent.append(parent)
        self.right.append(-1)
        self.before.append(before)
        self.share.append(share)
        self.value.append(0.0 if split else float(node["leaf_value"]))
        self.below.append(0)
        self.leaf.append(-1 if split else self.leaves)
        if not split:
            self.leaves += 1
            return
        f = int(node["split_feature"])
        first = self.leaves
        for side in ("left_child", "right_child"):
            child = node[side]
            of_child = _rows(child) / max(_rows(node), 1)
            own = len(self.feature)
            if side == "right_child":
                self.right[place] = own
            self.walk(child, place, last.get(f, -1), of_child, {**last, f: own})
            if side == "left_child" and self.leaves <= BITS:
                self.below[place] = (1 << self.leaves) - (1 << first)


def _rows(node: Mapping[str, Any]) -> int:
    return int(node["internal_count"] if "split_feature" in node else node["leaf_count"])
