"""Fit the meta-learner on out-of-fold logits, cross-fitted over the same spatial folds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from l4s_ensemble.config import StackConfig
from l4s_ensemble.data.store import open_store
from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.scenes.registration import estimate
from l4s_ensemble.stack import inputs, ledger
from l4s_ensemble.stack.agreement import agreement_where, total
from l4s_ensemble.stack.model import LogisticStack

log = logging.getLogger("l4s_ensemble")

INPUTS_OF_TILE = tuple[NDArray[np.float32], NDArray[np.float32]]


def stage(ctx: StageContext) -> Summary:
    """Fit the stack, score all four models out-of-fold, choose the threshold.

    Writes ``model.json``, ``oof.zarr`` (``probability (patch, y, x)``, each tile scored by a
    meta-learner that was fitted on the other folds), ``tiles_<model>.npz`` for the four rows of
    the ledger and ``tiles.npz`` (the stack's).
    """
    settings, seed = ctx.config.stack, ctx.config.seed
    scores = OutOfFold(ctx.input("pixel") / "oof.zarr", ctx.input("unet") / "oof.zarr")
    store = open_store(ctx.input("data/train") / "patches.zarr")
    truth = store["mask"].sel(patch=scores.patch)
    folds = load_folds(ctx.input("scenes"))
    block = folds.of(scores.patch, "block")

    rows, labels, fold_of_row = _draw(scores, truth, settings, seed)
    fold_numbers = [int(k) for k in np.unique(scores.fold)]
    cross = {
        k: fit_logistic(rows[fold_of_row != k], labels[fold_of_row != k], settings)
        for k in fold_numbers
    }
    final = fit_logistic(rows, labels, settings)

    tiles = {name: TileHistograms.empty(scores.patch, settings.bins) for name in ledger.MODELS}
    size = (truth.sizes["y"], truth.sizes["x"])
    attrs = {"seed": seed}
    oof = ScoreFile(
        ctx.out / "oof.zarr", scores.patch, size, name="probability", fold=scores.fold, attrs=attrs
    )
    for i in track(range(len(scores.patch)), "stack: scoring out-of-fold", len(scores.patch)):
        pixel, unet = scores.tile(i)
        mask = truth[i].values
        stacked = cross[int(scores.fold[i])].probability(pixel, unet)
        oof.write(slice(i, i + 1), stacked[np.newaxis])
        for name, probability in (
            ("pixel", sigmoid(pixel)),
            ("unet", sigmoid(unet)),
            ("mean", sigmoid((pixel + unet) / 2)),
            ("stack", stacked),
        ):
            tiles[name].add(i, probability, mask)

    options: dict[str, Any] = {"resamples": settings.resamples, "seed": seed}
    adapted_to = read_json(ctx.input("unet") / "summary.json").get("adapted_to")
    table = ledger.rows(tiles, block, adapted_to=adapted_to, **options)
    by_name = {row["model"]: row for row in table}
    cuts = (by_name["pixel"]["threshold"], by_name["unet"]["threshold"])
    where = agreement_where(
        ctx.input("data/train") / "patches.zarr", ctx.input("pixel") / "oof.zarr",
        ctx.input("unet") / "oof.zarr", cuts, jobs=ctx.jobs,
    )  # fmt: skip
    model = replace(final, threshold=by_name["stack"]["threshold"])
    model.save(ctx.out / "model.json")
    for name, scored in tiles.items():
        scored.save(ctx.out / f"tiles_{name}.npz")
    tiles["stack"].save(ctx.out / "tiles.npz")
    pooled = tiles["stack"].pooled()
    gained = ledger.gain(tiles, table, block, **options)
    shifts = estimate(
        store, folds, scores=open_scores(oof.path), threshold=model.threshold, seed=seed
    )
    log.info(
        "stack: F1 %.3f out-of-fold, %+.3f over %s",
        by_name["stack"]["f1"], gained["value"], gained["over"],
    )  # fmt: skip
    return {
        "inputs": list(model.names),
        "coefficients": [
            {"name": n, "value": c} for n, c in zip(model.names, model.coefficient, strict=True)
        ],
        "intercept": model.intercept,
        "rows": len(labels),
        "folds": fold_numbers,
        "adapted_to": adapted_to,
        "ledger": table,
        "gain": gained,
        "threshold": model.threshold,
        "plateau": [by_name["stack"]["plateau_low"], by_name["stack"]["plateau_high"]],
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "agreement": total(where),
        "agreement_where": where,
        "registration": [shift.as_dict() for shift in shifts],
    }


class OutOfFold:
    """Both models' out-of-fold logits on the same tiles.

    Raises
    ------
    RunError
        If the two were made on other tiles or folds.
    """

    def __init__(self, pixel: Path, unet: Path) -> None:
        self._pixel = open_scores(pixel)
        self._unet = open_scores(unet)
        self.patch: NDArray[np.int64] = self._pixel["patch"].values
        self.fold: NDArray[np.int64] = self._pixel["fold"].values
        same = np.array_equal(self.patch, self._unet["patch"].values) and np.array_equal(
            self.fold, self._unet["fold"].values
        )
        if not same:
            raise RunError(
                "the two models were scored on other tiles or folds", where=f"{pixel}, {unet}",
                fix="run `l4s-ensemble fit-all` again with this run folder",
            )  # fmt: skip

    def tile(self, position: int) -> INPUTS_OF_TILE:
        """Logits of the pixel classifier and the U-Net, shape (y, x) each."""
        return (
            np.asarray(self._pixel["logit"][position].values, dtype=np.float32),
            np.asarray(self._unet["logit"][position].values, dtype=np.float32),
        )


def fit_logistic(
    rows: NDArray[np.float32], labels: NDArray[np.bool_], settings: StackConfig
) -> LogisticStack:
    """Fit a logistic regression whose weights are not negative.

    More evidence from either model then never lowers the answer, and a model that is no good gets
    weight zero instead of a sign that happens to fit (Breiman 1996, Stacked regressions, Machine
    Learning 24). The pixels are drawn at their true prevalence, so that probabilities hold.

    Parameters
    ----------
    rows : float32 array, shape (pixel, input)
    labels : bool array, shape (pixel,)

    Raises
    ------
    RunError
        If only one class was drawn.
    """
    from scipy.optimize import minimize

    if labels.all() or not labels.any():
        raise RunError(
            "the meta-learner needs pixels of both classes", found=f"{int(labels.sum())} landslide "
            f"pixels among {len(labels)}", fix="give more tiles with landslides, or fewer folds",
        )  # fmt: skip
    mean = rows.mean(axis=0, dtype=np.float64)
    scale = rows.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    x = (rows - mean) / scale
    sign = np.where(labels, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean log-loss with the penalty scikit-learn uses, and its gradient."""
        slope, intercept = weights[:-1], weights[-1]
        margin = sign * (x @ slope + intercept)
        pull = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + 0.5 * settings.l2 * slope @ slope
        gradient = np.append(x.T @ pull + settings.l2 * slope, pull.sum())
        return value / len(labels), gradient / len(labels)

    count = rows.shape[1]
    share = float(labels.mean())
    start = np.append(np.full(count, 1.0 / count), np.log(share / (1 - share)))
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B",
        bounds=[(0, None)] * count + [(None, None)], options={"maxiter": 500, "ftol": 1e-10},
    )  # fmt: skip
    return LogisticStack(
        windows_px=tuple(settings.windows_px),
        names=inputs.names(settings.windows_px),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficient=tuple(found.x[:-1].tolist()),
        intercept=float(found.x[-1]),
    )


def _draw(
    scores: OutOfFold, truth: xr.DataArray, settings: StackConfig, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    """Draw the same number of pixels of every tile, at random."""
    tiles = len(scores.patch)
    pixels = int(truth.sizes["y"] * truth.sizes["x"])
    each = max(1, min(pixels, settings.rows_max // tiles))
    rows = np.empty((tiles * each, len(inputs.names(settings.windows_px))), np.float32)
    labels = np.empty(tiles * each, bool)
    for i in track(range(tiles), "stack: drawing pixels", tiles):
        rng = np.random.default_rng([seed, int(scores.patch[i])])
        chosen = rng.choice(pixels, each, replace=False)
        layers = inputs.compute(*scores.tile(i), settings.windows_px)
        part = slice(i * each, (i + 1) * each)
        rows[part] = layers.reshape(len(layers), -1)[:, chosen].T
        labels[part] = truth[i].values.ravel()[chosen] == 1
    return rows, labels, np.repeat(scores.fold, each)
