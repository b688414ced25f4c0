"""Why the classifier says so: all that its page of the report shows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.failures import failures
from l4s_ensemble.metrics.reliability import calibration
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pixel import contribution_maps
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.pixel.shap import CONTRIBUTIONS_FILE, explain_rows
from l4s_ensemble.run.scores import ScoreFile


def explain(
    out: Path,
    model: PixelModel,
    source: FeatureSource,
    plan: PixelPlan,
    rows: NDArray[np.float32],
    fold_of_row: NDArray[np.int64],
    tiles: TileHistograms,
    fold: NDArray[np.int64],
    masks: NDArray[np.uint8],
    threshold: float,
    *,
    jobs: int = 1,
) -> dict[str, Any]:
    """Explain a fitted model whose tiles have been scored out of fold.

    Writes ``contributions.npz`` and ``contribution_maps.npz`` into `out`, where ``oof.zarr``
    stands already.

    Parameters
    ----------
    out : Path
    model : PixelModel
    source : FeatureSource
        Of the tiles that were fitted.
    plan : PixelPlan
    rows : float32 array, shape (row, feature)
        In the order of `plan`; may be memory-mapped.
    fold_of_row : int64 array, shape (row,)
    tiles : TileHistograms
        Of the out-of-fold scores.
    fold : int64 array, shape (tile,)
        Fold of each of `tiles`.
    masks : uint8 array, shape (tile, y, x)
        Reference of each of `tiles`.
    threshold : float
        Of probability, chosen on the out-of-fold scores.
    jobs : int
        Threads of `contributions`, one for each fold or tile.

    Returns
    -------
    dict
        ``contribution`` (see `Contributions.by_feature`), ``slides`` (see `contribution_maps`),
        ``failures`` and ``calibration`` (see the package `metrics`), ``seconds_explain``.
    """
    started = time.monotonic()
    sample = explain_rows(model, plan, rows, fold_of_row, seed=model.seed, jobs=jobs)
    sample.save(out / CONTRIBUTIONS_FILE, model.features)
    scores = ScoreFile(out / "oof.zarr", tiles.patch, (masks.shape[1], masks.shape[2]))
    chosen = contribution_maps.choose_tiles(tiles, fold, threshold)
    explained = contribution_maps.explain_tiles(model, source, sample.ground, chosen, jobs)
    contribution_maps.save_maps(out / contribution_maps.MAPS_FILE, model, explained)
    at = [tile.at for tile in chosen]
    logit = np.array([scores.read(slice(i, i + 1))[0] for i in at])
    slides = contribution_maps.slides_of(
        model, explained, logit, masks[at], threshold, sample.ground.typical
    )
    return {
        "contribution": sample.by_feature(model),
        "slides": slides,
        "failures": failures(source.store, out / "oof.zarr", threshold, jobs=jobs),
        "calibration": calibration(tiles, fold),
        "seconds_explain": time.monotonic() - started,
    }
