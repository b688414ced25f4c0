"""Landslides as objects: how many are found, how many calls are false, by size.

Pixels decide the benchmark; a person who walks the slopes counts slides. Objects are 8-connected
within a tile: one that a seam cuts counts as two. A true slide is *found* when at least half of
its pixels are called, *touched* when one is. A called one is *false* when less than a tenth of it
is landslide. Recall is the share of true slides found, precision the share of called ones that
are not false; F1 is their harmonic mean.

The summary is a dict (a ratio without a denominator is None)::

    found_share, false_share    the two shares above
    slides      true slides; found, touched: how many of them
    called      called slides; false: how many of them
    recall, precision, f1
    f1_low, f1_high, blocks     interval over spatial blocks
    by_size     list of {low_px, high_px (None = no bound), slides, found, touched, called, false,
                recall, precision}. True slides stand in the bin of their own size, called ones in
                that of theirs, so a row has no F1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import score_interval
from l4s_ensemble.metrics.by_block import blocks_of, ids_in, tasks_of
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.run.tasks import in_processes

SIZE_PX = (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0, np.inf)
"""Bins of size, pixels: lower bounds, and no upper one."""

FOUND_SHARE = 0.5
FALSE_SHARE = 0.1

Bool = NDArray[np.bool_]
Called = float | Callable[[NDArray[np.float64]], NDArray[Any]]
"""A threshold of probability, or what turns a tile's probabilities (y, x) into its mask."""


@dataclass(frozen=True)
class ObjectCounts:
    """Objects by size; each array has shape (size,) or, of several tiles, (tile, size).

    Attributes
    ----------
    slides, found, touched : int64 array
        True slides, those found, those touched.
    called, false : int64 array
        Called slides, and those that are false.
    """

    slides: NDArray[np.int64]
    found: NDArray[np.int64]
    touched: NDArray[np.int64]
    called: NDArray[np.int64]
    false: NDArray[np.int64]

    @classmethod
    def of_tiles(cls, tiles: Sequence[ObjectCounts]) -> ObjectCounts:
        """Stack single tiles, or join groups of tiles, along the axis of tiles."""
        each = {
            f.name: [np.atleast_2d(getattr(t, f.name)) for t in tiles] for f in fields(cls)
        }  # fmt: skip
        empty = [np.zeros((0, len(SIZE_PX) - 1), np.int64)]
        return cls(**{name: np.concatenate(parts or empty) for name, parts in each.items()})

    def pooled(self) -> ObjectCounts:
        """Sum over tiles."""
        return ObjectCounts(
            *(np.atleast_2d(getattr(self, f.name)).sum(axis=0) for f in fields(self))
        )

    def table(self) -> NDArray[np.int64]:
        """Sums over sizes, shape (tile, 5), in the order of the attributes."""
        columns = [np.atleast_2d(getattr(self, f.name)).sum(axis=1) for f in fields(self)]
        return np.stack(columns, axis=1)


def parts_of(of: Bool, other: Bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Connected parts of a mask.

    Parameters
    ----------
    of, other : bool array, shape (y, x)

    Returns
    -------
    area, shared : int64 array, shape (part,)
        Pixels of each part, and those of them that are in the other mask too.
    """
    from scipy.ndimage import label

    if not of.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    labels, n = label(of, structure=np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    shared = np.bincount(labels[other], minlength=n + 1)[1:]
    return area.astype(np.int64), shared.astype(np.int64)


def size_of(area: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bin of `SIZE_PX` of each area."""
    return np.searchsorted(SIZE_PX[1:-1], area, "right").astype(np.int64)


def objects_of(truth: ArrayLike, called: ArrayLike) -> ObjectCounts:
    """Count one tile's objects.

    Parameters
    ----------
    truth, called : array_like of bool, shape (y, x)

    Returns
    -------
    ObjectCounts
        Arrays of shape (size,).

    Raises
    ------
    ValueError
        If the shapes differ or are not of one tile.
    """
    t, c = np.asarray(truth).astype(bool), np.asarray(called).astype(bool)
    if t.shape != c.shape or t.ndim != 2:
        raise ValueError(f"shapes must be equal and (y, x): {t.shape} and {c.shape}")
    true_area, hit = parts_of(t, c)
    called_area, right = parts_of(c, t)
    of_true, of_called = size_of(true_area), size_of(called_area)
    return ObjectCounts(
        slides=_binned(of_true),
        found=_binned(of_true[hit >= FOUND_SHARE * true_area]),
        touched=_binned(of_true[hit > 0]),
        called=_binned(of_called),
        false=_binned(of_called[right < FALSE_SHARE * called_area]),
    )


def count_objects(
    store: Path, scores: Sequence[Path], called: Called, *, jobs: int = 1
) -> ObjectCounts:
    """Count the objects of every tile of a score file, a few tiles at a time.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    scores : sequence of Path
        One file of logits or probabilities; of several, the mean of their logits is taken.
    called : float or callable
        See `Called`. With several jobs a callable must be one that pickle can name.

    Returns
    -------
    ObjectCounts
        Arrays of shape (tile, size), in the order of the first file.
    """
    paths = tuple(scores)
    tasks = [(store, paths, ids, called) for ids in tasks_of(ids_in(store, *paths))]
    return ObjectCounts.of_tiles(list(in_processes(_of_some, tasks, jobs)))


def summarise_objects(
    counts: ObjectCounts, block: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Score objects, pooled and by size; see the module.

    Parameters
    ----------
    counts : ObjectCounts
        Arrays of shape (tile, size).
    block : array_like, shape (tile,)
        Spatial block of each tile, for the interval.
    """
    whole = counts.pooled()
    slides, found, touched, called, false = (int(n) for n in counts.table().sum(axis=0))
    interval = score_interval(f1_objects, counts.table(), block, resamples=resamples, seed=seed)
    by_size = []
    for i, (low, high) in enumerate(pairwise(SIZE_PX)):
        row = {f.name: int(getattr(whole, f.name)[i]) for f in fields(whole)}
        by_size.append(
            {
                "low_px": int(low),
                "high_px": None if np.isinf(high) else int(high) - 1,
                **row,
                "recall": share(row["found"], row["slides"]),
                "precision": share(row["called"] - row["false"], row["called"]),
            }
        )
    return {
        "found_share": FOUND_SHARE,
        "false_share": FALSE_SHARE,
        "slides": slides,
        "found": found,
        "touched": touched,
        "called": called,
        "false": false,
        "recall": share(found, slides),
        "precision": share(called - false, called),
        "f1": interval.value if slides + called else None,
        "f1_low": interval.low,
        "f1_high": interval.high,
        "blocks": interval.blocks,
        "by_size": by_size,
    }


def f1_objects(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Harmonic mean of objects' precision and recall; 0 where either is 0 or has no denominator.

    Parameters
    ----------
    sums : array, shape (..., 5)
        As the columns of `ObjectCounts.table`.
    """
    slides, found, _, called, false = (sums[..., i].astype(np.float64) for i in range(5))
    recall = found / np.maximum(slides, 1)
    precision = (called - false) / np.maximum(called, 1)
    both = recall + precision
    f1: NDArray[np.float64] = np.where(
        both > 0, 2 * recall * precision / np.where(both > 0, both, 1), 0.0
    )
    return f1


def _of_some(
    store: Path, scores: tuple[Path, ...], ids: NDArray[np.int64], called: Called
) -> ObjectCounts:
    found = []
    for block in blocks_of(store, scores, ids):
        if len(scores) == 1:
            probability = block.probability()
        else:
            mean = np.mean([block.logit(n) for n in range(len(scores))], axis=0)
            probability = sigmoid(mean).astype(np.float64)
        for truth, p in zip(block.truth, probability, strict=True):
            mask = np.asarray(called(p)) > 0 if callable(called) else p >= called
            found.append(objects_of(truth, mask))
    return ObjectCounts.of_tiles(found)


def _binned(size: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(size, minlength=len(SIZE_PX) - 1).astype(np.int64)


def share(part: int, whole: int) -> float | None:
    """Ratio of two counts; None without a denominator."""
    return part / whole if whole else None
