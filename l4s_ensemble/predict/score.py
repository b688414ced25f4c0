"""Score a prediction where masks exist: every model at the threshold chosen out-of-fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.counts import Counts, scores_pooled
from l4s_ensemble.metrics.error_auc import BINS, error_histogram
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.objects import ObjectCounts, summarise_objects
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.predict.result import (
    open_logits,
    open_masks,
    open_probability,
    open_uncertainty,
)
from l4s_ensemble.predict.summary import Missed
from l4s_ensemble.run.progress import track
from l4s_ensemble.scenes.landslides import (
    Place,
    TileObjects,
    count_objects,
    home_of,
    join,
    match_objects,
    parts_of,
    tile_objects,
)
from l4s_ensemble.scenes.layout import known_layout
from l4s_ensemble.stack.comparison import MODELS, compare
from l4s_ensemble.stack.learners import BATCH_TILES
from l4s_ensemble.stack.uncertainty import summarise_uncertainty

SHOWN = 20
"""Missed landslides that are listed, the largest ones."""


@dataclass
class Scored:
    """What one pass over a split's tiles gives.

    `objects` are those of each tile at each row's threshold; of the stack, of the masks as they are
    handed in. `errors` is the `l4s_ensemble.metrics.error_auc.error_histogram` of the uncertainty.
    """

    tiles: dict[str, TileHistograms]  # by row of the comparison
    masks: NDArray[np.int64]  # TP, FP, FN and TN pixels of the masks, shape (tile, 4)
    objects: list[TileObjects] = field(default_factory=list)
    errors: NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, BINS), np.int64))


def score_split(
    found: Scored,
    thresholds: Mapping[str, float],
    block: NDArray[Any],
    place: Place,
    outside: set[int] | None,
    *,
    adapted_to: str | None,
    seed: int,
) -> dict[str, Any]:
    """Compare the models on a split's tiles.

    Parameters
    ----------
    found : Scored
    thresholds : mapping
        By row of the comparison, chosen out of fold.
    block : array, shape (tile,)
        Spatial block of each tile.
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row and column; a scene below 0 means that the place is not known.
    outside : set of int or None
        Tiles outside the area of applicability; None where that is not known.
    adapted_to, seed
        See `l4s_ensemble.stack.comparison.compare`.

    Returns
    -------
    dict
        Fields of `l4s_ensemble.predict.summary.ScoresSummary` from ``comparison`` to ``tiles``.
    """
    options: dict[str, Any] = {"seed": seed}
    objects = count_objects(found.objects, place)
    compared = compare(
        found.tiles,
        block,
        thresholds=thresholds,
        adapted_to=adapted_to,
        objects=objects,
        **options,
    )
    counts = found.tiles["stack"].counts(thresholds["stack"])
    handed_in = _as_handed_in(found.masks, block, objects["stack"], options)
    if not np.array_equal(found.masks[:, 0], counts.tp) or handed_in["fp"] != int(counts.fp.sum()):
        _by_masks(compared, handed_in, found, thresholds, block, options)
    pooled = found.tiles["stack"].pooled()
    return {
        **compared,
        "threshold": thresholds["stack"],
        "masks": handed_in,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "uncertainty": summarise_uncertainty(found.errors),
        "applicability": _by_applicability(outside, found.tiles, thresholds, block, options),
        "tiles": [
            {"patch": int(n), "tp": int(tp), "fp": int(fp), "fn": int(fn), "tn": int(tn)}
            for n, (tp, fp, fn, tn) in zip(found.tiles["stack"].patch, found.masks, strict=True)
        ],
    }


def missed_landslides(
    tiles: Sequence[TileObjects],
    patch: NDArray[np.int64],
    place: Place,
    reference: Callable[[int], NDArray[np.uint8]],
) -> list[Missed]:
    """List reference landslides that none of the masks matches, the largest unmapped area first.

    Parameters
    ----------
    tiles : sequence of TileObjects
    patch : int64 array, shape (tile,)
    place : tuple of array_like of int, each of shape (tile,)
    reference : callable
        Gives the mask of the tile at a position, shape (y, x).
    """
    parts = [t.reference for t in tiles]
    objects = join(parts, place)
    home = home_of(objects, parts)
    _, pairs, shared = match_objects(tiles, "stack", objects, place)
    mapped = np.bincount(shared[0], weights=shared[2], minlength=len(objects))
    rows = []
    unmatched = np.setdiff1d(np.arange(len(objects)), pairs[0])
    left = objects.pixels[unmatched] - mapped[unmatched]
    for i in unmatched[np.argsort(-left, kind="stable")][:SHOWN]:
        tile = int(home[i])
        own = objects.number[objects.first[tile] : objects.first[tile + 1]] == i + 1
        part = int(np.argmax(np.where(own, parts[tile].area, 0))) + 1
        row, col = np.nonzero(parts_of(reference(tile))[0] == part)
        rows.append(
            Missed(
                patch=int(patch[tile]),
                tiles=int(objects.tiles[i]),
                pixels=int(objects.pixels[i]),
                row=round(float(row.mean()), 1),
                col=round(float(col.mean()), 1),
                mapped_share=round(float(mapped[i] / objects.pixels[i]), 4),
            )
        )
    return rows


def _by_applicability(
    outside: set[int] | None,
    tiles: Mapping[str, TileHistograms],
    thresholds: Mapping[str, float],
    block: NDArray[Any],
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Score the tiles that are like the training tiles, and those that are not."""
    if outside is None:
        return []
    far = np.array([int(p) in outside for p in tiles["stack"].patch])
    rows = []
    for like, own in ((True, ~far), (False, far)):
        if not own.any():
            continue
        row: dict[str, Any] = {"like": like, "tiles": int(own.sum())}
        for model in MODELS:
            scored = tiles[model].subset(own)
            row[model] = asdict(
                f1_interval(scored.counts(thresholds[model]), block[own], **options)
            )
        rows.append(row)
    return rows


def count_tiles(folder: Path, data: xr.Dataset, thresholds: Mapping[str, float]) -> Scored:
    """Count every tile of a result in one pass.

    Parameters
    ----------
    folder : Path
        Of the result.
    data : xarray.Dataset
        The patches, with masks.
    thresholds : mapping
        By row of the comparison.
    """
    result, unsure = open_probability(folder), open_uncertainty(folder)
    pixel, unet = open_logits(folder, "pixel"), open_logits(folder, "unet")
    patch = result["patch"].values
    out = Scored(
        {name: TileHistograms.empty(patch) for name in MODELS},
        np.zeros((len(patch), 4), np.int64),
    )
    blocks = list(gen_batches(len(patch), BATCH_TILES))
    for at in track(blocks, "evaluate: scoring", len(blocks)):
        p, u = pixel["logit"][:, at].values, unet["logit"][:, at].values
        reference = data["mask"].sel(patch=patch[at]).values == 1
        maps = {
            "pixel": sigmoid(p).mean(axis=0),
            "unet": sigmoid(u).mean(axis=0),
            "mean": sigmoid((p + u) / 2).mean(axis=0),
            "stack": result["probability"][at].values,
        }
        masks = open_masks(folder, patch[at]) == 1
        uncertainty = unsure["probability"][at].values
        for i, tile in enumerate(range(at.start, at.stop)):
            for name, each in maps.items():
                out.tiles[name].add(tile, each[i], reference[i])
            predicted = {name: maps[name][i] >= thresholds[name] for name in MODELS}
            out.objects.append(tile_objects(reference[i], {**predicted, "stack": masks[i]}))
            out.errors += error_histogram(uncertainty[i], reference[i], masks[i])
            kinds = (reference[i] & masks[i], ~reference[i] & masks[i], reference[i] & ~masks[i])
            three = [int(k.sum()) for k in kinds]
            out.masks[tile] = [*three, reference[i].size - sum(three)]
    return out


def _by_masks(
    compared: dict[str, Any],
    handed_in: dict[str, Any],
    found: Scored,
    thresholds: Mapping[str, float],
    block: NDArray[Any],
    options: dict[str, Any],
) -> None:
    """Let the stack's row and its gain be those of the masks, where steps or scenes moved them."""
    row = next(r for r in compared["comparison"] if r["model"] == "stack")
    row.update({key: value for key, value in handed_in.items() if key in row and key != "objects"})
    gained = compared["gain"]
    better = found.tiles[gained["over"]].counts(thresholds[gained["over"]])
    over = f1_gain_interval(_counts(found.masks), better, block, **options)
    gained.update(value=over.value, low=over.low, high=over.high, shown=over.is_above_zero)


def _counts(masks: NDArray[np.int64]) -> Counts:
    return Counts(*(np.ascontiguousarray(column) for column in masks.T))


def _as_handed_in(
    masks: NDArray[np.int64],
    block: NDArray[Any],
    objects: ObjectCounts,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Score the masks themselves, after all steps."""
    handed_in = _counts(masks)
    interval = f1_interval(handed_in, block, **options)
    return {
        **scores_pooled(handed_in),
        "f1_low": interval.low,
        "f1_high": interval.high,
        "blocks": interval.blocks,
        "objects": summarise_objects(objects, block, **options),
    }


def bootstrap_blocks(data: xr.Dataset, edge_tiles: int) -> tuple[NDArray[np.int64], str]:
    """Spatial blocks of tiles, for intervals.

    Returns
    -------
    block : int64 array, shape (patch,)
    kind : {'spatial', 'tile'}
        ``tile``: nobody knows where the tiles lie, each is a block of its own, and the interval
        is narrower than it should be.
    """
    known = known_layout(data, sensor_of(data))
    if (known.scene < 0).any():
        return np.arange(len(known), dtype=np.int64), "tile"
    keys = np.stack([known.scene, known.row // edge_tiles, known.col // edge_tiles])
    _, block = np.unique(keys, axis=1, return_inverse=True)
    return np.asarray(block, dtype=np.int64).ravel(), "spatial"
