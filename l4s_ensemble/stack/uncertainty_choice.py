"""Which uncertainty tells errors: measured on out-of-fold scores, the plainest that does wins.

The combination is cross-fitted: the errors of a fold's tiles are told by a regression on the
other folds. The distance from the threshold stays unless another measure's area for error over all
pixels is above it with a paired interval, over spatial blocks, that excludes zero; the combination
must beat the best single measure so too.

The summary is a dict::

    measure     the one that was chosen
    threshold   of probability
    wrong       share of pixels that are wrong
    measures    list, as in `l4s_ensemble.stack.uncertainty`: {name, auc: {all, matter, called,
                not_called} (None without two classes; see `l4s_ensemble.metrics.error_auc`),
                gain (of auc all over the distance from the threshold): {value, low, high, blocks,
                shown}, risk: list of {share, f1_rest, f1_helped, errors_seen}}
    coefficients    of the combination fitted on all folds: list of {name, value}; None without one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import Interval, score_interval
from l4s_ensemble.metrics.by_block import TileBlock, blocks_of, ids_in, opened, tasks_of
from l4s_ensemble.metrics.error_auc import (
    BINS,
    SUBSETS,
    error_auc,
    error_histogram,
    risk_coverage,
)
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.stack.uncertainty import (
    COMBINED,
    PLAIN,
    SINGLE,
    ErrorModel,
    Float,
    Uncertainty,
    fit_errors,
    measures,
)

DRAWN_PX = 256
"""Pixels of a tile that the combination is fitted on."""

NAMES = (*SINGLE, COMBINED)


@dataclass(frozen=True)
class Sources:
    """Where truth and scores are.

    Attributes
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    pixel, unet, stacked : Path
        Out-of-fold scores of both bases and the stack.
    threshold : float
        Of the stack's probability.
    """

    store: Path
    pixel: Path
    unet: Path
    stacked: Path
    threshold: float

    def blocks(self, ids: NDArray[np.int64]) -> Any:
        """Blocks of tiles; the stack's scores come first."""
        return blocks_of(self.store, (self.stacked, self.pixel, self.unet), ids)


@dataclass
class Drawn:
    """Pixels to fit the combination on, tile by tile; they add up."""

    rows: list[Float] = field(default_factory=list)
    wrong: list[NDArray[np.bool_]] = field(default_factory=list)


def choose(
    sources: Sources,
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    jobs: int = 1,
) -> tuple[Uncertainty, dict[str, Any]]:
    """Measure every uncertainty and choose one; see the module.

    Parameters
    ----------
    sources : Sources
    block : array_like of int, shape (tile,)
        Spatial block of each tile of the stack's scores.

    Returns
    -------
    Uncertainty
        A combination is fitted on all folds.
    told : dict
        The summary.
    """
    paths = (sources.stacked, sources.pixel, sources.unet)
    ids = ids_in(sources.store, *paths)
    fold = np.asarray(opened(sources.store, *paths)[1]["fold"].values)
    tasks = [(sources, some, seed) for some in tasks_of(ids)]
    drawn = Drawn()
    for part in in_processes(draw, tasks, jobs):
        drawn.rows += part.rows
        drawn.wrong += part.wrong
    final = _fit(drawn, np.ones(len(ids), bool))
    crossed = {int(k): _fit(drawn, fold != k) for k in np.unique(fold)}
    names = NAMES if final is not None and None not in crossed.values() else SINGLE
    models = {k: m for k, m in crossed.items() if m is not None} if names is NAMES else {}

    blocks, index = np.unique(np.asarray(block), return_inverse=True)
    of_tile = {int(i): (int(b), int(k)) for i, b, k in zip(ids, index, fold, strict=True)}
    whole = np.zeros((len(blocks), len(names), 4, BINS), np.int32)
    work = [
        (sources, some, {int(i): of_tile[int(i)] for i in some}, models) for some in tasks_of(ids)
    ]
    for counted in in_processes(count, work, jobs):
        for b, histograms in counted.items():
            whole[b] += histograms
    rows = [_row(whole, names, name, resamples, seed) for name in names]
    measure = _chosen(whole, names, rows, resamples, seed)
    pooled = whole[:, 0].sum(axis=(0, 2), dtype=np.int64)
    told = {
        "measure": measure,
        "threshold": sources.threshold,
        "wrong": float(pooled[1:3].sum() / max(pooled.sum(), 1)),
        "measures": rows,
        "coefficients": None if final is None else [
            {"name": n, "value": c} for n, c in zip(final.names, final.coefficient, strict=True)
        ],
    }  # fmt: skip
    model = final if measure == COMBINED else None
    return Uncertainty(measure, sources.threshold, model), told


def draw(sources: Sources, ids: NDArray[np.int64], seed: int) -> Drawn:
    """Draw the same number of pixels of every tile, at random."""
    out = Drawn()
    for block in sources.blocks(ids):
        for patch, of_tile, truth, called in _measured(block, sources.threshold):
            rng = np.random.default_rng([seed, patch])
            at = rng.choice(truth.size, min(DRAWN_PX, truth.size), replace=False)
            out.rows.append(of_tile.reshape(len(SINGLE), -1)[:, at].T)
            out.wrong.append((truth != called).ravel()[at])
    return out


def count(
    sources: Sources,
    ids: NDArray[np.int64],
    of_tile: Mapping[int, tuple[int, int]],
    models: Mapping[int, ErrorModel],
) -> dict[int, NDArray[np.int32]]:
    """Histograms of some tiles, by block: (measure, 4, bins) each.

    Parameters
    ----------
    of_tile : mapping of int to tuple of int
        Block and fold of each id.
    models : mapping of int to ErrorModel
        The combination that scores each fold; without one only single measures are counted.
    """
    out: dict[int, NDArray[np.int32]] = {}
    for block in sources.blocks(ids):
        for patch, layers, truth, called in _measured(block, sources.threshold):
            where, fold = of_tile[patch]
            maps = list(layers) + ([models[fold].map(layers)] if models else [])
            counted = np.stack([error_histogram(m, truth, called) for m in maps]).astype(np.int32)
            out[where] = out[where] + counted if where in out else counted
    return out


def _measured(
    block: TileBlock, threshold: float
) -> list[tuple[int, Float, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Id, measures, truth and call of each tile of a block."""
    probability, pixel, unet = block.probability(0), block.logit(1), block.logit(2)
    return [
        (
            int(patch),
            measures(probability[i], pixel[i], unet[i], threshold),
            block.truth[i],
            probability[i] >= threshold,
        )
        for i, patch in enumerate(block.patch)
    ]


def _fit(drawn: Drawn, tiles: NDArray[np.bool_]) -> ErrorModel | None:
    """Fit on some tiles; None where they have no error, or nothing else."""
    chosen = np.flatnonzero(tiles)
    if not len(chosen):
        return None
    rows = np.concatenate([drawn.rows[i] for i in chosen])
    wrong = np.concatenate([drawn.wrong[i] for i in chosen])
    return None if wrong.all() or not wrong.any() else fit_errors(rows, wrong)


def _row(
    whole: NDArray[np.int32], names: tuple[str, ...], name: str, resamples: int, seed: int
) -> dict[str, Any]:
    at = names.index(name)
    pooled = whole[:, at].sum(axis=0, dtype=np.int64)
    areas = {s: float(error_auc(pooled, s)) for s in SUBSETS}
    found = _gain(whole, at, names.index(PLAIN), resamples, seed)
    gain = None if name == PLAIN or np.isnan(found.value) else {
        "value": found.value, "low": found.low, "high": found.high, "blocks": found.blocks,
        "shown": found.is_above_zero,
    }  # fmt: skip
    return {
        "name": name,
        "auc": {s: None if np.isnan(a) else a for s, a in areas.items()},
        "gain": gain,
        "risk": risk_coverage(pooled),
    }


def _chosen(
    whole: NDArray[np.int32],
    names: tuple[str, ...],
    rows: list[dict[str, Any]],
    resamples: int,
    seed: int,
) -> str:
    shown = [r for r in rows if r["gain"] is not None and r["gain"]["shown"]]
    singles = [r for r in shown if r["name"] != COMBINED]
    best = max(singles, key=lambda r: r["auc"]["all"])["name"] if singles else PLAIN
    if any(r["name"] == COMBINED for r in shown):
        over = _gain(whole, names.index(COMBINED), names.index(best), resamples, seed)
        if over.is_above_zero:
            return COMBINED
    return str(best)


def _gain(whole: NDArray[np.int32], one: int, other: int, resamples: int, seed: int) -> Interval:
    """Paired interval of the difference of two areas over all pixels."""
    pair = whole[:, [one, other]].reshape(len(whole), -1)
    return score_interval(
        partial(_difference, bins=whole.shape[-1]), pair, np.arange(len(whole)),
        resamples=resamples, seed=seed,
    )  # fmt: skip


def _difference(sums: NDArray[Any], bins: int) -> NDArray[np.float64]:
    pair = sums.reshape(*sums.shape[:-1], 2, 4, bins)
    return error_auc(pair[..., 0, :, :]) - error_auc(pair[..., 1, :, :])
