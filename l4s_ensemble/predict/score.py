"""Score a prediction where masks exist: every model at the threshold chosen out-of-fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.counts import Counts, scores_pooled
from l4s_ensemble.metrics.error_auc import BINS, error_histogram
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.objects import ObjectCounts, summarise_objects
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.predict.applicability import tiles_outside
from l4s_ensemble.predict.result import (
    open_logits,
    open_masks,
    open_probability,
    open_uncertainty,
)
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
from l4s_ensemble.scenes.landslides import TileObjects, count_objects, places_of, tile_objects
from l4s_ensemble.stack.comparison import MODELS, compare, seconds_of
from l4s_ensemble.stack.learners import BATCH_TILES
from l4s_ensemble.stack.uncertainty import summarise_uncertainty


@dataclass
class Scored:
    """What one pass over a split's tiles gives.

    Attributes
    ----------
    tiles : dict of str to TileHistograms
        By row of the comparison.
    objects : list of TileObjects
        One a tile, at each row's threshold; of the stack, of the masks as they are handed in.
    masks : int64 array, shape (tile, 4)
        True positive, false positive, false negative, true negative pixels of the masks.
    errors : int64 array, shape (4, bins)
        `l4s_ensemble.metrics.error_auc.error_histogram` of the uncertainty map.
    """

    tiles: dict[str, TileHistograms]
    masks: NDArray[np.int64]
    objects: list[TileObjects] = field(default_factory=list)
    errors: NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, BINS), np.int64))


def stage(ctx: StageContext) -> Summary:
    """Comparison of a split. Writes ``tiles_<model>.npz`` and ``tiles.npz`` (the stack's).

    Raises
    ------
    DataError
        If the split has no masks.
    """
    seed = ctx.config.seed
    data = patches_to_predict(ctx)
    if "mask" not in data:
        raise DataError(
            "this split has no masks to score against", where=data.attrs.get("root"),
            fix="predict without scoring, or add the masks to the split's folder",
        )  # fmt: skip
    chosen = read_json(ctx.input("stack") / "summary.json")
    thresholds = {row["model"]: row["threshold"] for row in chosen["comparison"]}
    thresholds["stack"] = chosen["threshold"]
    found = _scored(ctx, data, thresholds)
    patch = found.tiles["stack"].patch
    folds = load_folds(ctx.input("scenes")) if ctx.params["holdout"] else None
    if folds is not None:
        block, kind = folds.of(patch, "block"), "spatial"
    else:
        block, kind = bootstrap_blocks(data.sel(patch=patch), ctx.config.scenes.bootstrap_tiles)
    options: dict[str, Any] = {"seed": seed}
    folder = str(ctx.params["folder"])
    result = read_json(ctx.input(f"{folder}/result") / "summary.json")
    adapted_to = result["adapted_to"]
    objects = count_objects(found.objects, places_of(ctx, data.sel(patch=patch)))
    compared = compare(
        found.tiles, block, thresholds=thresholds, adapted_to=adapted_to, objects=objects,
        seconds=seconds_of(ctx.run, predicted=result["seconds_of"]), **options,
    )  # fmt: skip
    counts = found.tiles["stack"].counts(thresholds["stack"])
    handed_in = _as_handed_in(found.masks, counts, block, objects["stack"], options)
    if not np.array_equal(found.masks[:, 0], counts.tp) or handed_in["fp"] != int(counts.fp.sum()):
        _by_masks(compared, handed_in, found, thresholds, block, options)
    for name, scored in found.tiles.items():
        scored.save(ctx.out / f"tiles_{name}.npz")
    stacked = found.tiles["stack"]
    stacked.save(ctx.out / "tiles.npz")
    pooled = stacked.pooled()
    return {
        "split": ctx.params["split"],
        "patches": len(patch),
        "block_kind": kind,
        "adapted_to": adapted_to,
        **compared,
        "threshold": thresholds["stack"],
        "masks": handed_in,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "uncertainty": summarise_uncertainty(found.errors),
        "applicability": _by_applicability(
            tiles_outside(result["applicability"]),
            found.tiles, thresholds, block, options,
        ),
        "tiles": [
            {"patch": int(n), "tp": int(tp), "fp": int(fp), "fn": int(fn), "tn": int(tn)}
            for n, (tp, fp, fn, tn) in zip(patch, found.masks, strict=True)
        ],
    }  # fmt: skip


def _by_applicability(
    unlike: set[int] | None,
    tiles: Mapping[str, TileHistograms],
    thresholds: Mapping[str, float],
    block: NDArray[Any],
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Score the tiles that are like the training tiles, and those that are not."""
    if unlike is None:
        return []
    far = np.array([int(p) in unlike for p in tiles["stack"].patch])
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


def _scored(
    ctx: StageContext,
    data: xr.Dataset,
    thresholds: Mapping[str, float],
) -> Scored:
    folder = ctx.input(f"{ctx.params['folder']}/result")
    result, unsure = open_probability(folder), open_uncertainty(folder)
    pixel, unet = open_logits(ctx, "pixel"), open_logits(ctx, "unet")
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
    at_threshold: Counts,
    block: NDArray[Any],
    objects: ObjectCounts,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Score the masks themselves, after all steps, and against the threshold carried over alone."""
    handed_in = _counts(masks)
    interval = f1_interval(handed_in, block, **options)
    over = f1_gain_interval(handed_in, at_threshold, block, **options)
    return {
        **scores_pooled(handed_in),
        "f1_low": interval.low,
        "f1_high": interval.high,
        "blocks": interval.blocks,
        "objects": summarise_objects(objects, block, **options),
        "over_threshold": {
            "value": over.value, "low": over.low, "high": over.high,
            "shown": over.is_above_zero,
        },
    }  # fmt: skip


def bootstrap_blocks(data: xr.Dataset, edge_tiles: int) -> tuple[NDArray[np.int64], str]:
    """Spatial blocks of tiles, for intervals.

    Returns
    -------
    block : int64 array, shape (patch,)
    kind : {'spatial', 'tile'}
        ``tile``: nobody knows where the tiles lie, each is a block of its own, and the interval
        is narrower than it should be.
    """
    scene = data["scene"].values
    if (scene < 0).any():
        return np.arange(len(scene), dtype=np.int64), "tile"
    keys = np.stack([scene, data["row"].values // edge_tiles, data["col"].values // edge_tiles])
    _, block = np.unique(keys, axis=1, return_inverse=True)
    return np.asarray(block, dtype=np.int64).ravel(), "spatial"
