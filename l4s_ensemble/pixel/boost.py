"""Boosters from rows that lie on disk: bins without a copy of the rows, and several made one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.settings import other_seed

BATCH_ROWS = 8192
"""Rows that are read at a time."""


class _RowsOnDisk(lgb.Sequence):  # type: ignore[misc]
    """Some rows of a memory-mapped file, as LightGBM asks for them."""

    batch_size = BATCH_ROWS

    def __init__(self, rows: NDArray[np.float32], at: NDArray[np.int64]) -> None:
        self._rows, self._at = rows, at

    def __getitem__(self, index: int | slice | list[int]) -> NDArray[np.float64]:
        return np.asarray(self._rows[self._at[index]], dtype=np.float64)

    def __len__(self) -> int:
        return len(self._at)


def dataset(
    rows: Path,
    at: NDArray[np.int64],
    y: NDArray[np.uint8],
    weight: NDArray[np.float64],
    names: Sequence[str],
    settings: dict[str, Any],
) -> lgb.Dataset:
    """Bin some rows of a file, a few thousand at a time: only their bins are held, a byte each.

    Parameters
    ----------
    rows : Path
        ``.npy``, float32 (row, feature).
    at : int64 array, shape (n,)
        Rows to take, ascending.
    y, weight : array, shape (n,)
    names : sequence of str
        Of the columns.
    settings : dict
        As `parameters` gives them.
    """
    return lgb.Dataset(
        _RowsOnDisk(np.load(rows, mmap_mode="r"), at),
        label=y,
        # Mean 1: then the regularisation means the same whatever share of pixels was drawn.
        weight=weight / weight.mean(),
        feature_name=list(names),
        params=settings,
    )


def boost(
    data: lgb.Dataset, settings: dict[str, Any] | list[dict[str, Any]], trees: int, seeds: int = 1
) -> str:
    """Fit, and give LightGBM's text.

    Parameters
    ----------
    data : lightgbm.Dataset
    settings : dict or list of dict
        Of several views, one each; see `l4s_ensemble.pixel.settings.views`.
    trees : int
        Of one booster.
    seeds : int
        Boosters of a view; see `merge`.
    """
    views = settings if isinstance(settings, list) else [settings]
    texts = [
        lgb.train(other_seed(view, n), data, num_boost_round=trees).model_to_string()
        for n in range(seeds)
        for view in views
    ]
    return texts[0] if len(texts) == 1 else merge(texts)


def merge(texts: Sequence[str]) -> str:
    """Make one booster whose raw score is the mean of several's.

    It holds all their trees, each value divided by the number of boosters, so that whatever reads
    one booster reads the bag. Trees stand in turn, the first of each, then the second of each:
    the first ``n * len(texts)`` trees are the mean of the first n of each.

    Parameters
    ----------
    texts : sequence of str
        LightGBM's texts, of equal columns.

    Raises
    ------
    ValueError
        If the boosters differ in their number of trees or in their columns.
    """
    parts = [_parts(text) for text in texts]
    if len({len(trees) for _, trees, _ in parts}) != 1:
        raise ValueError("boosters of a bag must have equally many trees")
    if len({_line(head, "feature_names=") for head, _, _ in parts}) != 1:
        raise ValueError("boosters of a bag must have the same columns")
    in_turn = [
        tree for group in zip(*(trees for _, trees, _ in parts), strict=True) for tree in group
    ]
    scaled = [_scaled(tree, n, 1 / len(texts)) for n, tree in enumerate(in_turn)]
    head, _, tail = parts[0]
    sizes = " ".join(str(len(tree.encode())) for tree in scaled)
    head = head.replace(_line(head, "tree_sizes="), f"tree_sizes={sizes}")
    # LightGBM reads it and writes it again: what it cannot read is never written.
    made: str = lgb.Booster(model_str=head + "".join(scaled) + tail).model_to_string()
    return made


_VALUES = ("leaf_value=", "internal_value=", "shrinkage=")


def _parts(text: str) -> tuple[str, list[str], str]:
    """Split a text into its head, its trees and its tail; together they are the text."""
    start = text.index("Tree=0\n")
    sizes = [int(n) for n in _line(text, "tree_sizes=").partition("=")[2].split()]
    body, trees, at = text[start:].encode(), [], 0
    for size in sizes:
        trees.append(body[at : at + size].decode())
        at += size
    return text[:start], trees, body[at:].decode()


def _line(text: str, key: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(key))


def _scaled(tree: str, number: int, factor: float) -> str:
    lines = tree.split("\n")
    lines[0] = f"Tree={number}"
    for i, line in enumerate(lines):
        if line.startswith(_VALUES):
            key, _, values = line.partition("=")
            lines[i] = f"{key}=" + " ".join(repr(float(v) * factor) for v in values.split())
    return "\n".join(lines)
