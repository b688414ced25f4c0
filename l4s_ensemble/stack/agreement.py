"""Where one model is right and the other is not: by size of the landslide, by distance to its rim.

Only pixels count that are landslide, or that either model calls so. The summary's
``agreement_where`` is a dict of three lists; every row has ``both_right, only_pixel, only_unet,
both_wrong`` (pixels) and the bounds of its bin::

    size        by size of the true landslide: low_px, high_px (None = no bound), slides
    inside      true landslide by distance to the rim: low, high in pixels, bins hold their upper
                end. A pixel that is right is found
    outside     all others, likewise. A pixel that is right is not called. The last row has low
                None: tiles without a landslide

Landslides are 8-connected within a tile, as in `l4s_ensemble.metrics.failures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.failures import INSIDE_PX, OUTSIDE_PX, SIZE_PX
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.run.tasks import in_processes

if TYPE_CHECKING:
    import xarray as xr

TASK_TILES = 64

BLOCK_TILES = 4
"""Tiles in memory at once."""

KINDS = ("both_right", "only_pixel", "only_unet", "both_wrong")

Bool = NDArray[np.bool_]


@dataclass
class _Tallies:
    """Pixels by bin and kind of agreement, in the order of `KINDS`; they add up."""

    size: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(SIZE_PX) - 1))
    slides: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(SIZE_PX) - 1, dtype=np.int64)
    )
    inside: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(INSIDE_PX) - 1))
    outside: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(OUTSIDE_PX)))

    def add(self, other: _Tallies) -> None:
        for name in ("size", "slides", "inside", "outside"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def agreement_where(
    store: Path, pixel: Path, unet: Path, thresholds: tuple[float, float], *, jobs: int = 1
) -> dict[str, list[dict[str, Any]]]:
    """Count where the two models agree, a few tiles at a time.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    pixel, unet : Path
        Their ``oof.zarr``, over the same tiles.
    thresholds : tuple of float
        Of probability, of each model.
    jobs : int

    Returns
    -------
    dict
        See the module.
    """
    ids = _opened(store, pixel, unet)[1]["patch"].values
    tasks = [
        (store, pixel, unet, ids[i : i + TASK_TILES], thresholds)
        for i in range(0, len(ids), TASK_TILES)
    ]
    whole = _Tallies()
    for part in in_processes(tallies_of, tasks, jobs):
        whole.add(part)
    return rows_of(whole)


def rows_of(whole: _Tallies) -> dict[str, list[dict[str, Any]]]:
    """Rows of what was counted; see the module."""
    size = [
        {
            "low_px": int(low),
            "high_px": None if np.isinf(high) else int(high) - 1,
            "slides": n,
            **_row(counts),
        }
        for low, high, n, counts in zip(
            SIZE_PX[:-1], SIZE_PX[1:], whole.slides.tolist(), whole.size, strict=True
        )
    ]
    outside = _distance_rows(OUTSIDE_PX, whole.outside[:-1])
    outside.append({"low": None, "high": None, **_row(whole.outside[-1])})
    return {"size": size, "inside": _distance_rows(INSIDE_PX, whole.inside), "outside": outside}


def total(where: Mapping[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Pixels of each kind over all distances: who is right where either or the truth says so."""
    rows = [*where["inside"], *where["outside"]]
    return {kind: sum(row[kind] for row in rows) for kind in KINDS}


def tallies_of(
    store: Path, pixel: Path, unet: Path, ids: NDArray[np.int64], thresholds: tuple[float, float]
) -> _Tallies:
    """Count some tiles."""
    from l4s_ensemble.data.store import positions_of

    dataset, *scores = _opened(store, pixel, unet)
    places = [np.searchsorted(s["patch"].values, ids) for s in scores]
    out = _Tallies()
    for b in (slice(i, i + BLOCK_TILES) for i in range(0, len(ids), BLOCK_TILES)):
        truth = dataset["mask"].isel(patch=positions_of(dataset, ids[b])).values == 1
        called = [
            sigmoid(s["logit"].isel(patch=at[b]).values) >= threshold
            for s, at, threshold in zip(scores, places, thresholds, strict=True)
        ]
        for i in range(len(truth)):
            count(out, truth[i], called[0][i], called[1][i])
    return out


def count(out: _Tallies, truth: Bool, pixel: Bool, unet: Bool) -> None:
    """Add a tile, each (y, x)."""
    from scipy.ndimage import distance_transform_edt, label

    told = truth | pixel | unet
    kind = 2 * (pixel != truth).astype(np.int64) + (unet != truth)
    if not truth.any():
        out.outside[-1] += np.bincount(kind[told], minlength=4)
        return
    labels, n = label(truth, structure=np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    of_slide = np.searchsorted(SIZE_PX[1:-1], area, "right")
    out.slides += np.bincount(of_slide, minlength=len(out.slides))
    out.size += _counted(of_slide[labels[truth] - 1], kind[truth], len(out.size))
    far = np.full(truth.shape, np.inf)
    inside = distance_transform_edt(truth) if not truth.all() else far
    place = np.searchsorted(INSIDE_PX[1:-1], inside[truth], "left")
    out.inside += _counted(place, kind[truth], len(out.inside))
    false = told & ~truth
    place = np.searchsorted(OUTSIDE_PX[1:-1], distance_transform_edt(~truth)[false], "left")
    out.outside += _counted(place, kind[false], len(out.outside))


def _counted(place: NDArray[np.int64], kind: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    return np.bincount(4 * place + kind, minlength=4 * bins).reshape(bins, 4).astype(np.int64)


@lru_cache(maxsize=2)
def _opened(store: Path, pixel: Path, unet: Path) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    from l4s_ensemble.data.store import open_store
    from l4s_ensemble.run.scores import open_scores

    return open_store(store), open_scores(pixel), open_scores(unet)


def _distance_rows(edges: tuple[float, ...], counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [
        {"low": float(low), "high": None if np.isinf(high) else float(high), **_row(row)}
        for low, high, row in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _row(counts: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(KINDS, (int(n) for n in counts), strict=True))


def _zeros(bins: int) -> NDArray[np.int64]:
    return np.zeros((bins, len(KINDS)), np.int64)
