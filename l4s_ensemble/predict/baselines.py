"""Simple rules on the tiles of a split: what a model must beat to be worth its trouble.

Both are chosen on training tiles and applied as they are: two thresholds on NDVI and slope, and
one threshold on the feature that separates landslides best by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.bootstrap import f1_interval
from l4s_ensemble.metrics.counts import Counts, scores_pooled
from l4s_ensemble.pixel.rule import NDVI_STEP, SLOPE_STEP_DEG, count_predicted, histograms_of
from l4s_ensemble.pixel.summary import Rule
from l4s_ensemble.predict.summary import Baseline
from l4s_ensemble.run.tasks import in_processes

TASK_TILES = 16


@dataclass(frozen=True)
class Threshold:
    """One threshold on a feature; landslide is from it on, or below it."""

    feature: str
    value: float
    above: bool

    def applies(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each value is predicted landslide; what is not finite is not."""
        chosen = (values >= self.value) == self.above
        return np.asarray(np.isfinite(values) & chosen)


def best_threshold(names: ArrayLike, sample: Mapping[str, NDArray[Any]]) -> Threshold | None:
    """Find the threshold with the highest F1 at the true share of landslides.

    Parameters
    ----------
    names : array_like of str, shape (feature,)
    sample : mapping
        ``X (row, feature)``, ``y (row,)`` and ``weight (row,)`` of sampled training pixels.

    Returns
    -------
    Threshold or None
        None where the sample holds one class only.
    """
    y, weight = sample["y"] > 0, sample["weight"]
    best: tuple[float, Threshold | None] = (0.0, None)
    positive, total = np.where(y, weight, 0.0), float(weight[y].sum())
    if not y.any() or y.all():
        return None
    for name, values in zip(np.asarray(names).tolist(), sample["X"].T, strict=True):
        order = np.argsort(np.where(np.isfinite(values), values, -np.inf), kind="stable")
        ordered = values[order]
        starts = np.flatnonzero(np.r_[False, ordered[1:] != ordered[:-1]])
        below = [np.cumsum(v[order])[starts - 1] for v in (positive, weight)]
        for above in (True, False):
            tp, predicted = (
                whole - part if above else part
                for whole, part in zip((total, float(weight.sum())), below, strict=True)
            )
            f1 = 2 * tp / (predicted + total)
            if len(f1) and f1.max() > best[0]:
                at = float(ordered[starts[int(f1.argmax())]])
                best = (float(f1.max()), Threshold(name, at, above))
    return best[1]


def ndvi_slope(
    store: Path, ids: NDArray[np.int64], rule: Rule, block: NDArray[Any], seed: int, jobs: int
) -> list[Baseline]:
    """Score the rule of NDVI and slope, at the median thresholds of the folds; none without both.

    Parameters
    ----------
    store : Path
        A ``patches.zarr`` with masks.
    ids, block : array, shape (tile,)
        The tiles, and their spatial blocks.
    """
    if rule.lacks or not rule.folds:
        return []
    ndvi = float(np.median([f.ndvi_below for f in rule.folds]))
    slope = float(np.median([f.slope_from_deg for f in rule.folds]))
    below, start = round((ndvi + 1) / NDVI_STEP), round(slope / SLOPE_STEP_DEG)
    tasks = [(store, ids[i : i + TASK_TILES]) for i in range(0, len(ids), TASK_TILES)]
    counted = [count_predicted(t, below, start) for t in in_processes(histograms_of, tasks, jobs)]
    words = f"NDVI below {ndvi:.2f} and slope from {slope:.0f}°"
    return [_scored("NDVI and slope", words, np.concatenate(counted), block, seed)]


def single_feature(
    source: FeatureSource,
    ids: NDArray[np.int64],
    threshold: Threshold | None,
    block: NDArray[Any],
    seed: int,
    jobs: int,
) -> list[Baseline]:
    """Score one threshold on one feature.

    Parameters
    ----------
    source : FeatureSource
        Of patches with masks.
    ids, block : array, shape (tile,)
        The tiles, and their spatial blocks.
    """
    if threshold is None:
        return []
    one = replace(source, plan=source.feature_plan().only([threshold.feature]))
    tasks = [(one, ids[i : i + TASK_TILES], threshold) for i in range(0, len(ids), TASK_TILES)]
    counted = np.concatenate(list(in_processes(_count, tasks, jobs)))
    side = "from" if threshold.above else "below"
    words = f"{threshold.feature} {side} {threshold.value:.3g}"
    return [_scored("best single feature", words, counted, block, seed)]


def _count(
    source: FeatureSource, ids: NDArray[np.int64], threshold: Threshold
) -> NDArray[np.int64]:
    """Count each tile, shape (tile, 4): TP, FP, FN, TN."""
    at, out = source.positions(ids), np.zeros((len(ids), 4), np.int64)
    masks = source.dataset()["mask"].isel(patch=at).values == 1
    for i, (mask, values) in enumerate(zip(masks, source.each(at), strict=True)):
        predicted = threshold.applies(values[0])
        kinds = (predicted & mask, predicted & ~mask, ~predicted & mask, ~predicted & ~mask)
        out[i] = [np.count_nonzero(k) for k in kinds]
    return out


def _scored(
    name: str, rule: str, counted: NDArray[np.int64], block: NDArray[Any], seed: int
) -> Baseline:
    counts = Counts(*(np.ascontiguousarray(column) for column in counted.T))
    found, interval = scores_pooled(counts), f1_interval(counts, block, seed=seed)
    return Baseline(
        name=name,
        rule=rule,
        f1=found["f1"],
        f1_low=interval.low,
        f1_high=interval.high,
        precision=found["precision"],
        recall=found["recall"],
    )
