"""Where out-of-fold scores fail: by slope, elevation, brightness, distance to the edge.

The summary's ``failures`` is a dict (counts are pixels unless said otherwise; a ratio without a
denominator is None)::

    threshold           of probability
    pixel_m             size of a pixel, metres
    by                  list of {key, title, unit, rows}. Rows: low, high (None = no bound), pixels,
                        landslide, tp, fp, fn, precision, recall, f1. Keys, as far as the sensor
                        has them: slope_deg, dem_m, brightness, tile_brightness (quintiles of
                        pixels, and of tiles), tile_edge_px (0 = outermost row or column)
    rim                 by distance to the rim, whichever side of it, in pixels: rows of low, high,
                        tp, fp, fn, f1. Inside count what is found and missed, outside what is
                        falsely called; tiles without a landslide have no rim
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.by_block import blocks_of, ids_in, opened, tasks_of
from l4s_ensemble.metrics.objects import share
from l4s_ensemble.metrics.pictures import (
    TITLES,
    count_kinds,
    edges_of,
    finite,
    pictures_of,
    quintiles,
    to_tile_edge,
)  # fmt: skip
from l4s_ensemble.run.tasks import in_processes

RIM_PX = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, np.inf)
"""Bins of distance to the boundary, pixels; they hold their upper end."""


@dataclass
class _Tallies:
    """Counts of some tiles; they add up.

    Attributes
    ----------
    by : dict of str to int64 array, shape (bin, 4)
        Pixels by ``truth + 2 called``.
    tile, level : list
        Counts ``(4,)`` and median brightness of each tile.
    inside, outside : int64 array, shape (distance, 2)
        Pixels and wrong pixels, by distance to the boundary of a reference landslide.
    """

    by: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    tile: list[NDArray[np.int64]] = field(default_factory=list)
    level: list[float] = field(default_factory=list)
    inside: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(RIM_PX) - 1, 2))
    outside: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(RIM_PX) - 1, 2))

    def add(self, other: _Tallies) -> None:
        for key, counts in other.by.items():
            self.by[key] = self.by.get(key, 0) + counts
        self.tile += other.tile
        self.level += other.level
        for name in ("inside", "outside"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def failures(store: Path, scores: Path, threshold: float, *, jobs: int = 1) -> dict[str, Any]:
    """Count where the scores of a file fail, a few tiles at a time.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    scores : Path
        An ``oof.zarr``; all its tiles are counted.
    threshold : float
        A pixel is called landslide at this probability or above.

    Returns
    -------
    dict
        See the module.
    """
    from l4s_ensemble.data.store import sensor_of

    dataset = opened(store, scores)[0]
    ids = ids_in(store, scores)
    sensor = sensor_of(dataset)
    edges = edges_of(dataset, ids)
    tasks = [(store, scores, some, threshold, edges) for some in tasks_of(ids)]
    whole = _Tallies()
    for part in in_processes(tallies_of, tasks, jobs):
        whole.add(part)
    by = [_by(key, edges[key], whole.by[key]) for key in edges]
    if "brightness" in edges and sensor.level == "absolute":
        # Tiles of a relative sensor were all brought to one level.
        by.insert(-1, _by_tile(whole))
    return {
        "threshold": threshold,
        "pixel_m": sensor.pixel_m,
        "by": by,
        "rim": _rim_rows(whole.inside, whole.outside),
    }


def tallies_of(
    store: Path,
    scores: Path,
    ids: NDArray[np.int64],
    threshold: float,
    edges: dict[str, Sequence[float]],
) -> _Tallies:
    """Count some tiles; edges are lower bounds of the bins and the last one's upper bound."""
    dataset = opened(store, scores)[0]
    out = _Tallies()
    for block in blocks_of(store, (scores,), ids):
        called = block.probability() >= threshold
        pictures = pictures_of(dataset, block.positions)
        for i, truth in enumerate(block.truth):
            _count(out, truth, called[i], {k: v[i] for k, v in pictures.items()}, edges)
    return out


def _count(
    out: _Tallies,
    truth: NDArray[np.bool_],
    called: NDArray[np.bool_],
    pictures: dict[str, NDArray[np.float32]],
    edges: dict[str, Sequence[float]],
) -> None:
    kind = (truth + 2 * called.astype(np.int64)).ravel()
    to_edge = to_tile_edge(*truth.shape)
    values: dict[str, NDArray[Any]] = {**pictures, "tile_edge_px": to_edge}
    for key, value in values.items():
        counted = count_kinds(value, edges[key], kind)
        out.by[key] = out.by[key] + counted if key in out.by else counted
    out.tile.append(np.bincount(kind, minlength=4))
    if "brightness" in pictures:
        out.level.append(float(np.median(pictures["brightness"])))
    _count_distances(out, truth, called)


def _count_distances(out: _Tallies, truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> None:
    from scipy.ndimage import distance_transform_edt

    if not truth.any():
        return
    inside = distance_transform_edt(truth)[truth] if not truth.all() else np.full(
        truth.size, np.inf
    )  # fmt: skip
    outside = distance_transform_edt(~truth)[~truth]
    bins = len(RIM_PX) - 1
    for counts, distance, wrong in (
        (out.inside, inside, ~called[truth]),
        (out.outside, outside, called[~truth]),
    ):
        # Bins hold their upper end: a distance of 1 is a pixel beside the other class.
        place = np.searchsorted(RIM_PX[1:-1], distance, "left")
        for column, weights in enumerate((None, wrong)):
            counted = np.bincount(place, weights=weights, minlength=bins)
            counts[:, column] += counted.astype(np.int64)


def _by(key: str, edges: Sequence[float | None], counts: NDArray[np.int64]) -> dict[str, Any]:
    title, unit = TITLES[key]
    rows = []
    for low, high, (tn, fn, fp, tp) in zip(edges[:-1], edges[1:], counts.tolist(), strict=True):
        rows.append(
            {
                "low": finite(low),
                "high": finite(high),
                "pixels": tn + fn + fp + tp,
                "landslide": fn + tp,
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "precision": share(tp, tp + fp),
                "recall": share(tp, tp + fn),
                "f1": share(2 * tp, 2 * tp + fp + fn),
            }
        )
    return {"key": key, "title": title, "unit": unit, "rows": rows}


def _by_tile(whole: _Tallies) -> dict[str, Any]:
    level = np.array(whole.level)
    edges = quintiles(level)
    place = np.searchsorted(edges[1:-1], level, "right")
    counts = _zeros(len(edges) - 1, 4)
    np.add.at(counts, place, np.stack(whole.tile))
    return _by("tile_brightness", edges, counts)


def _rim_rows(inside: NDArray[np.int64], outside: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Join both sides of the rim."""
    rows = []
    for low, high, (pixels, missed), fp in zip(
        RIM_PX[:-1], RIM_PX[1:], inside.tolist(), outside[:, 1].tolist(), strict=True
    ):
        tp = pixels - missed
        rows.append(
            {
                "low": finite(low), "high": finite(high), "tp": tp, "fp": fp, "fn": missed,
                "f1": share(2 * tp, 2 * tp + fp + missed),
            }
        )  # fmt: skip
    return rows


def _zeros(rows: int, columns: int) -> NDArray[np.int64]:
    return np.zeros((rows, columns), np.int64)
