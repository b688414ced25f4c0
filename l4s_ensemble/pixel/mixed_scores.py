"""Logits of rows some of whose features are taken from other rows, many mixtures at once.

To permute features, or to walk one feature along a grid, is to score a row with some columns of
a donor. Leaves are bits as in `trees`: a split that sends a row to the right clears the leaves on
its left. What a row's own splits clear and what the donor's clear are found once for each, and a
mixture costs one ``and`` and one look-up a tree, not a walk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.tree_tables import BITS, compiled, tree_tables

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
_SHIFT = np.uint64(58)
# A de Bruijn sequence: a single bit times it tells the bit's place in the upper six.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)


def mixed_scores(
    model: PixelModel,
    fold: int,
    rows: NDArray[np.float32],
    donors: NDArray[np.float32],
    taken: NDArray[np.bool_],
    donor: NDArray[np.int32],
    threads: int = 1,
) -> NDArray[np.float64]:
    """Score rows with columns of donors in place of their own.

    Parameters
    ----------
    rows : float32 array, shape (row, feature)
    donors : float32 array, shape (donor, feature)
    taken : bool array, shape (mixture, feature)
        Columns that a mixture takes from the donor. None taken gives the row's own score.
    donor : int32 array, shape (mixture, row, repeat)
        Position of the donor.
    threads : int
        Only used where LightGBM itself must answer.

    Returns
    -------
    float64 array, shape (mixture, row, repeat)
        Logits, the model's shift included.
    """
    tables = tree_tables(model, fold)
    if tables is None or not tables.fits:
        return _by_lightgbm(model, fold, rows, donors, taken, donor, threads)
    out = np.full(donor.shape, model.logit_shift)
    # Columns that always go together are one part: a row's splits are gone through once for all
    # mixtures.
    parts, part_of_feature = np.unique(taken, axis=1, return_inverse=True)
    _add_mixed(
        np.ascontiguousarray(rows.T), np.ascontiguousarray(donors.T), np.ascontiguousarray(parts),
        part_of_feature.ravel(), donor, tables.start, tables.feature, tables.threshold,
        tables.below, tables.leaf, tables.value, out,
    )  # fmt: skip
    return out


def _by_lightgbm(
    model: PixelModel,
    fold: int,
    rows: NDArray[np.float32],
    donors: NDArray[np.float32],
    taken: NDArray[np.bool_],
    donor: NDArray[np.int32],
    threads: int,
) -> NDArray[np.float64]:
    booster = model.booster(fold)
    out = np.empty(donor.shape)
    for i, columns in enumerate(taken):
        for k in range(donor.shape[2]):
            mixed = np.where(columns, donors[donor[i, :, k]], rows)
            out[i, :, k] = booster.predict(
                mixed, raw_score=True, num_threads=threads, validate_features=False
            )
    return out + model.logit_shift


@compiled
def _add_mixed(
    rows: NDArray[np.float32],
    donors: NDArray[np.float32],
    parts: NDArray[np.bool_],
    part_of_feature: NDArray[np.int64],
    donor: NDArray[np.int32],
    start: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float64],
    below: NDArray[np.uint64],
    leaf: NDArray[np.int32],
    value: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    mixtures, n_parts = parts.shape
    n, n_donors, repeats = rows.shape[1], donors.shape[1], donor.shape[2]
    of_row = np.empty((n_parts, n), np.uint64)
    of_donor = np.empty((n_parts, n_donors), np.uint64)
    own = np.empty(n, np.uint64)
    lent = np.empty(n_donors, np.uint64)
    told = np.zeros(BITS)
    for t in range(len(start) - 1):
        of_row[:] = _ALL
        of_donor[:] = _ALL
        for e in range(start[t], start[t + 1]):
            f = feature[e]
            if f < 0:
                bit = _ONE << np.uint64(leaf[e])
                told[(bit * _DE_BRUIJN) >> _SHIFT] = value[e]
                continue
            stays = ~below[e]
            p = part_of_feature[f]
            cut = threshold[e]
            for i in range(n):
                of_row[p, i] &= stays if rows[f, i] > cut else _ALL
            for i in range(n_donors):
                of_donor[p, i] &= stays if donors[f, i] > cut else _ALL
        for x in range(mixtures):
            own[:] = _ALL
            lent[:] = _ALL
            for p in range(n_parts):
                if parts[x, p]:
                    for i in range(n_donors):
                        lent[i] &= of_donor[p, i]
                else:
                    for i in range(n):
                        own[i] &= of_row[p, i]
            for i in range(n):
                for k in range(repeats):
                    reach = own[i] & lent[donor[x, i, k]]
                    lowest = reach & (~reach + _ONE)
                    out[x, i, k] += told[(lowest * _DE_BRUIJN) >> _SHIFT]
