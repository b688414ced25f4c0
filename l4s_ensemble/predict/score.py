"""Score a prediction where masks exist: the four models at the thresholds chosen out-of-fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.predict.split import open_logits, open_probability
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds, patches_to_predict
from l4s_ensemble.stack import ledger


def stage(ctx: StageContext) -> Summary:
    """Ledger of a split. Writes ``tiles_<model>.npz`` and ``tiles.npz`` (the stack's).

    Raises
    ------
    DataError
        If the split has no masks.
    """
    settings, seed = ctx.config.stack, ctx.config.seed
    data = patches_to_predict(ctx)
    if "mask" not in data:
        raise DataError(
            "this split has no masks to score against", where=data.attrs.get("root"),
            fix="predict without scoring, or add the masks to the split's folder",
        )  # fmt: skip
    result = open_probability(ctx.input(f"{ctx.params['folder']}/result"))
    pixel, unet = open_logits(ctx, "pixel"), open_logits(ctx, "unet")
    patch = result["patch"].values
    chosen = read_json(ctx.input("stack") / "summary.json")["ledger"]
    thresholds = {row["model"]: row["threshold"] for row in chosen}
    tiles = {name: TileHistograms.empty(patch, settings.bins) for name in ledger.MODELS}
    truth = data["mask"].sel(patch=patch)
    for i in track(range(len(patch)), "evaluate: scoring", len(patch)):
        p, u = pixel["logit"][:, i].values, unet["logit"][:, i].values
        mask = truth[i].values
        for name, probability in (
            ("pixel", sigmoid(p).mean(axis=0)),
            ("unet", sigmoid(u).mean(axis=0)),
            ("mean", sigmoid((p.astype(np.float32) + u) / 2).mean(axis=0)),
            ("stack", result["probability"][i].values),
        ):
            tiles[name].add(i, probability, mask)
    if ctx.params["holdout"]:
        block, kind = load_folds(ctx.input("scenes")).of(patch, "block"), "spatial"
    else:
        block, kind = bootstrap_blocks(data.sel(patch=patch), ctx.config.scenes.bootstrap_tiles)
    options: dict[str, Any] = {"resamples": settings.resamples, "seed": seed}
    told = read_json(ctx.input(f"{ctx.params['folder']}/unet") / "summary.json")
    adapted_to = told.get("adapted_to")
    table = ledger.rows(tiles, block, thresholds=thresholds, adapted_to=adapted_to, **options)
    for name, scored in tiles.items():
        scored.save(ctx.out / f"tiles_{name}.npz")
    tiles["stack"].save(ctx.out / "tiles.npz")
    pooled = tiles["stack"].pooled()
    counts = tiles["stack"].counts(thresholds["stack"])
    return {
        "split": ctx.params["split"],
        "patches": len(patch),
        "block_kind": kind,
        "adapted_to": adapted_to,
        "ledger": table,
        "gain": ledger.gain(tiles, table, block, **options),
        "threshold": thresholds["stack"],
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "tiles": [
            {"patch": int(n), "tp": int(tp), "fp": int(fp), "fn": int(fn), "tn": int(tn)}
            for n, tp, fp, fn, tn in zip(
                patch, counts.tp, counts.fp, counts.fn, counts.tn, strict=True
            )
        ],
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
    scene = data["scene"].values
    if (scene < 0).any():
        return np.arange(len(scene), dtype=np.int64), "tile"
    keys = np.stack([scene, data["row"].values // edge_tiles, data["col"].values // edge_tiles])
    _, block = np.unique(keys, axis=1, return_inverse=True)
    return np.asarray(block, dtype=np.int64).ravel(), "spatial"
