"""Whole landslides: how many are found, how many predicted ones are right, by size.

Pixels decide the benchmark; a person who walks the slopes counts landslides. Objects are
8-connected and, where the places of tiles are known, joined over their seams
(`l4s_ensemble.scenes.landslides` counts them). Predicted and reference landslides are matched one
to one. A pair matches where its intersection over union (IoU) is at least
`IOU_MATCHED`, as object detection and panoptic segmentation count (Everingham et al. 2010,
doi:10.1007/s11263-009-0275-4; Kirillov et al. 2019, arXiv:1801.00868). For a reference landslide
below `SMALL_PX` pixels `IOU_SMALL` is enough: one pixel of its boundary decides its IoU, and
ILSVRC lowers the bound for small objects likewise (Russakovsky et al. 2015,
doi:10.1007/s11263-015-0816-y). Of all one-to-one matchings that with most pairs is
taken, and among those one with the largest sum of IoU.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import score_interval

SIZE_PX = (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0, np.inf)
"""Bins of size, pixels: lower bounds, and no upper one."""

IOU_MATCHED = 0.5
IOU_SMALL = 0.1
SMALL_PX = 10

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class ObjectCounts:
    """Objects by size; each array has shape (size,) or, of several tiles, (tile, size).

    An object counts in the tile that most of it lies in.
    """

    reference: NDArray[np.int64]
    found: NDArray[np.int64]  # of these, those with a match
    predicted: NDArray[np.int64]
    false: NDArray[np.int64]  # of these, those without a match

    def pooled(self) -> ObjectCounts:
        """Sum over tiles."""
        return ObjectCounts(
            *(np.atleast_2d(getattr(self, f.name)).sum(axis=0) for f in fields(self))
        )

    def table(self) -> NDArray[np.int64]:
        """Sums over sizes, shape (tile, 4), in the order of the attributes."""
        columns = [np.atleast_2d(getattr(self, f.name)).sum(axis=1) for f in fields(self)]
        return np.stack(columns, axis=1)


def labelled(mask: Bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the 8-connected parts of a mask (y, x) from 1; their areas have shape (part,)."""
    from scipy.ndimage import label

    labels, n = label(mask, structure=np.ones((3, 3)))
    return labels, np.bincount(labels.ravel(), minlength=n + 1)[1:].astype(np.int64)


def size_of(area: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bin of `SIZE_PX` of each area."""
    return np.searchsorted(SIZE_PX[1:-1], area, "right").astype(np.int64)


def matched(iou: NDArray[np.float64]) -> NDArray[np.int64]:
    """Match objects one to one.

    Parameters
    ----------
    iou : float array, shape (reference, predicted)
        0 where two objects do not match.

    Returns
    -------
    int64 array, shape (2, pair)
        Reference and predicted object of each pair.
    """
    from scipy.optimize import linear_sum_assignment

    may = iou > 0
    # All IoU together are worth less than one pair more.
    worth = np.where(may, 1 + iou / (2 * max(1, min(iou.shape))), 0.0)
    pairs = np.stack(linear_sum_assignment(worth, maximize=True))
    return np.asarray(pairs[:, may[pairs[0], pairs[1]]], np.int64)


def matches(
    shared: NDArray[np.int64], area: NDArray[np.int64], area_predicted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Match objects one to one by the pixels that they share.

    Parameters
    ----------
    shared : int64 array, shape (3, n)
        Reference object, predicted object (both from 0) and pixels that both hold; of each pair
        once.
    area, area_predicted : int64 array, shape (object,)

    Returns
    -------
    int64 array, shape (2, pair)
        Reference and predicted object of each pair.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j, both = shared
    iou = both / (area[i] + area_predicted[j] - both)
    may = iou >= np.where(area[i] < SMALL_PX, IOU_SMALL, IOU_MATCHED)
    i, j, iou = i[may], j[may], iou[may]
    pairs = [np.zeros((2, 0), np.int64)]
    if not len(i):
        return pairs[0]
    # Objects that compete for each other are few; those of a whole split are many.
    size = len(area) + len(area_predicted)
    graph = coo_array((np.ones(len(i)), (i, len(area) + j)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][i]
    order = np.argsort(group, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, at = np.unique(i[own], return_inverse=True)
        columns, to = np.unique(j[own], return_inverse=True)
        table = np.zeros((len(rows), len(columns)))
        table[at, to] = iou[own]
        found = matched(table)
        pairs.append(np.stack([rows[found[0]], columns[found[1]]]))
    return np.concatenate(pairs, axis=1)


def summarise_objects(counts: ObjectCounts, block: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Score objects, pooled and by size; see `l4s_ensemble.metrics.summary.ObjectScores`.

    Parameters
    ----------
    counts : ObjectCounts
        Arrays of shape (tile, size).
    block : array_like, shape (tile,)
        Spatial block of each tile, for the interval.
    """
    whole = counts.pooled()
    sums = {f.name: int(getattr(whole, f.name).sum()) for f in fields(whole)}
    interval = score_interval(f1_objects, counts.table(), block, seed=seed)
    by_size = []
    for i, (low, high) in enumerate(pairwise(SIZE_PX)):
        bounds = {"low_px": int(low), "high_px": None if np.isinf(high) else int(high) - 1}
        by_size.append(
            bounds | _rates({f.name: int(getattr(whole, f.name)[i]) for f in fields(whole)})
        )
    return {
        "iou_matched": IOU_MATCHED,
        **_rates(sums),
        "f1": interval.value if sums["reference"] + sums["predicted"] else None,
        "f1_low": interval.low,
        "f1_high": interval.high,
        "blocks": interval.blocks,
        "by_size": by_size,
    }


def _rates(row: dict[str, int]) -> dict[str, Any]:
    """Counts with their recall and precision."""
    right = row["predicted"] - row["false"]
    rates = {
        "recall": share(row["found"], row["reference"]),
        "precision": share(right, row["predicted"]),
    }
    return {**row, **rates}


def f1_objects(sums: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of objects, ``2 found / (reference + predicted)``; 0 where there are none.

    Parameters
    ----------
    sums : array, shape (..., 4)
        As the columns of `ObjectCounts.table`.
    """
    below = sums[..., 0] + sums[..., 2]
    f1: NDArray[np.float64] = np.where(below > 0, 2 * sums[..., 1] / np.maximum(below, 1), 0.0)
    return f1


def share(part: int, whole: int) -> float | None:
    """Ratio of two counts; None without a denominator."""
    return part / whole if whole else None
