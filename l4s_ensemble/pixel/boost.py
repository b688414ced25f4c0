"""Boosters from rows that lie on disk: bins without a copy of the rows."""

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
    data: lgb.Dataset, views: Sequence[dict[str, Any]], trees: int, seeds: int = 1
) -> list[str]:
    """Fit boosters on the same rows, and give LightGBM's text of each.

    Parameters
    ----------
    data : lightgbm.Dataset
    views : sequence of dict
        Parameters of each view; see `l4s_ensemble.pixel.settings.views`.
    trees : int
        Of one booster.
    seeds : int
        Boosters of a view.
    """
    return [
        lgb.train(other_seed(view, n), data, num_boost_round=trees).model_to_string()
        for n in range(seeds)
        for view in views
    ]
