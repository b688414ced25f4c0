"""Where one model is right and the other is not: by size of the landslide, by distance to its rim,
and by what `l4s_ensemble.stack.disagreement` counts in the same pass.

Only pixels count that are landslide, or that either model calls so. The summary's
``agreement_where`` is a dict; every row has ``both_right, only_pixel, only_unet,
both_wrong`` (pixels) and the bounds of its bin::

    size        by size of the true landslide: low_px, high_px (None = no bound), slides
    inside      true landslide by distance to the rim: low, high in pixels, bins hold their upper
                end. A pixel that is right is found
    outside     all others, likewise. A pixel that is right is not called. The last row has low
                None: tiles without a landslide
    by, tiles   see `l4s_ensemble.stack.disagreement`

Landslides are 8-connected within a tile, as in `l4s_ensemble.metrics.failures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.by_block import blocks_of, ids_in, opened, tasks_of
from l4s_ensemble.metrics.failures import INSIDE_PX, OUTSIDE_PX
from l4s_ensemble.metrics.objects import SIZE_PX, size_of
from l4s_ensemble.metrics.pictures import edges_of, pictures_of
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.stack.disagreement import (
    KINDS,
    NOT_TOLD,
    count_pictures,
    kind_map,
    kinds_row,
    picture_rows,
    tile_columns,
)  # fmt: skip

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
    by: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    patch: list[int] = field(default_factory=list)
    tile: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, other: _Tallies) -> None:
        for name in ("size", "slides", "inside", "outside"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.add_pictures(other.by)
        self.patch += other.patch
        self.tile += other.tile

    def add_pictures(self, by: Mapping[str, NDArray[np.int64]]) -> None:
        for key, counts in by.items():
            self.by[key] = self.by[key] + counts if key in self.by else counts


def agreement_where(
    store: Path, pixel: Path, unet: Path, thresholds: tuple[float, float], *, jobs: int = 1
) -> dict[str, Any]:
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
    ids = ids_in(store, pixel, unet)
    edges = edges_of(opened(store, pixel, unet)[0], ids)
    tasks = [(store, pixel, unet, some, thresholds, edges) for some in tasks_of(ids)]
    whole = _Tallies()
    for part in in_processes(tallies_of, tasks, jobs):
        whole.add(part)
    return {
        **rows_of(whole),
        "by": picture_rows(whole.by, edges),
        "tiles": tile_columns(whole.patch, whole.tile),
    }


def rows_of(whole: _Tallies) -> dict[str, list[dict[str, Any]]]:
    """Rows of what was counted; see the module."""
    size = [
        {
            "low_px": int(low),
            "high_px": None if np.isinf(high) else int(high) - 1,
            "slides": n,
            **kinds_row(counts),
        }
        for low, high, n, counts in zip(
            SIZE_PX[:-1], SIZE_PX[1:], whole.slides.tolist(), whole.size, strict=True
        )
    ]
    outside = _distance_rows(OUTSIDE_PX, whole.outside[:-1])
    outside.append({"low": None, "high": None, **kinds_row(whole.outside[-1])})
    return {"size": size, "inside": _distance_rows(INSIDE_PX, whole.inside), "outside": outside}


def total(where: Mapping[str, Any]) -> dict[str, int]:
    """Pixels of each kind over all distances: who is right where either or the truth says so."""
    rows = [*where["inside"], *where["outside"]]
    return {kind: sum(row[kind] for row in rows) for kind in KINDS}


def tallies_of(
    store: Path,
    pixel: Path,
    unet: Path,
    ids: NDArray[np.int64],
    thresholds: tuple[float, float],
    edges: Mapping[str, Sequence[float]],
) -> _Tallies:
    """Count some tiles."""
    dataset = opened(store, pixel, unet)[0]
    out = _Tallies()
    for block in blocks_of(store, (pixel, unet), ids):
        called = [block.probability(n) >= threshold for n, threshold in enumerate(thresholds)]
        pictures = pictures_of(dataset, block.positions)
        for i, truth in enumerate(block.truth):
            kind = kind_map(truth, called[0][i], called[1][i])
            count(out, truth, called[0][i], called[1][i])
            out.add_pictures(count_pictures(kind, {k: v[i] for k, v in pictures.items()}, edges))
            out.patch.append(int(block.patch[i]))
            out.tile.append(np.bincount(kind[kind != NOT_TOLD], minlength=len(KINDS)))
    return out


def count(out: _Tallies, truth: Bool, pixel: Bool, unet: Bool) -> None:
    """Add a tile, each (y, x)."""
    from scipy.ndimage import distance_transform_edt, label

    kind = kind_map(truth, pixel, unet)
    told = kind != NOT_TOLD
    if not truth.any():
        out.outside[-1] += np.bincount(kind[told], minlength=4)
        return
    labels, n = label(truth, structure=np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    of_slide = size_of(area)
    out.slides += np.bincount(of_slide, minlength=len(out.slides))
    out.size += _counted(of_slide[labels[truth] - 1], kind[truth], len(out.size))
    far = np.full(truth.shape, np.inf)
    inside = distance_transform_edt(truth) if not truth.all() else far
    place = np.searchsorted(INSIDE_PX[1:-1], inside[truth], "left")
    out.inside += _counted(place, kind[truth], len(out.inside))
    false = told & ~truth
    place = np.searchsorted(OUTSIDE_PX[1:-1], distance_transform_edt(~truth)[false], "left")
    out.outside += _counted(place, kind[false], len(out.outside))


def _counted(place: NDArray[np.int64], kind: NDArray[Any], bins: int) -> NDArray[np.int64]:
    return np.bincount(4 * place + kind, minlength=4 * bins).reshape(bins, 4).astype(np.int64)


def _distance_rows(edges: tuple[float, ...], counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [
        {"low": float(low), "high": None if np.isinf(high) else float(high), **kinds_row(row)}
        for low, high, row in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _zeros(bins: int) -> NDArray[np.int64]:
    return np.zeros((bins, len(KINDS)), np.int64)
