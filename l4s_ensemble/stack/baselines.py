"""Simple rules on the tiles that the models are scored on: what a model must beat.

Both are chosen on training tiles: two thresholds on NDVI and slope, and one threshold on the
feature that separates landslides best by itself. Out of fold each fold has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.bootstrap import f1_interval
from l4s_ensemble.metrics.counts import Counts, scores_pooled
from l4s_ensemble.pixel.rule import NDVI_STEP, SLOPE_STEP_DEG, count_predicted, histograms_of
from l4s_ensemble.pixel.summary import Rule
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.stack.summary import Baseline

TASK_TILES = 16


@dataclass(frozen=True)
class Threshold:
    """One threshold on a feature; landslide is from it on, or below it."""

    feature: str
    value: float
    above: bool

    def __str__(self) -> str:
        return f"{self.feature} {'from' if self.above else 'below'} {self.value:.3g}"

    def applies(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each value is predicted landslide; what is not finite is not."""
        chosen = (values >= self.value) == self.above
        return np.asarray(np.isfinite(values) & chosen)


def read_sources(pixel: Path, features: Path) -> tuple[Rule, dict[str, NDArray[Any]]]:
    """Read what both rules are chosen by: the rule of the folds, and the sampled training pixels.

    Parameters
    ----------
    pixel, features : Path
        Folders of these stages.

    Returns
    -------
    rule : Rule
    sample : dict
        ``X (row, feature)``, ``y``, ``weight`` and ``patch (row,)``, ``names (feature,)``.
    """
    rule = Rule.model_validate(read_json(pixel / "summary.json")["rule"])
    with np.load(features / "sample.npz", allow_pickle=False) as sample:
        return rule, {key: sample[key] for key in ("X", "y", "weight", "patch", "names")}


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


def on_split(
    source: FeatureSource,
    ids: NDArray[np.int64],
    rule: Rule,
    sample: Mapping[str, NDArray[Any]],
    block: NDArray[Any],
    seed: int,
    jobs: int,
) -> list[Baseline]:
    """Score both rules on tiles that no fit has seen; those that the bands or classes allow.

    Parameters
    ----------
    source : FeatureSource
        Of a store of patches with masks, by its path.
    ids, block : array, shape (tile,)
        The tiles, and their spatial blocks.
    rule : Rule
        Its thresholds of the folds; their medians are applied.
    sample : mapping
        See `read_sources`.
    """
    found = []
    if rule.folds:
        ndvi = float(np.median([f.ndvi_below for f in rule.folds]))
        slope = float(np.median([f.slope_from_deg for f in rule.folds]))
        words = f"NDVI below {ndvi:.2f} and slope from {slope:.0f}°"
        counted = _count_rule(source, ids, ndvi, slope, jobs)
        found.append(_scored("NDVI and slope", words, counted, block, seed))
    threshold = best_threshold(sample["names"], sample)
    if threshold is not None:
        counted = _count_feature(source, ids, threshold, jobs)
        found.append(_scored("best single feature", str(threshold), counted, block, seed))
    return found


def out_of_fold(
    source: FeatureSource,
    ids: NDArray[np.int64],
    rule: Rule,
    sample: Mapping[str, NDArray[Any]],
    folds: Folds,
    seed: int,
    jobs: int,
) -> list[Baseline]:
    """Score both rules on the held-out tiles of each fold, chosen on its training tiles.

    Parameters
    ----------
    sample : mapping
        See `read_sources`.
    """
    fold, block = folds.of(ids, "fold"), folds.of(ids, "block")
    found = []
    if rule.folds:
        counted = np.zeros((len(ids), 4), np.int64)
        for f in rule.folds:
            held_out = fold == f.fold
            thresholds = f.ndvi_below, f.slope_from_deg
            counted[held_out] = _count_rule(source, ids[held_out], *thresholds, jobs)
        found.append(_scored("NDVI and slope", "thresholds of each fold", counted, block, seed))
    counted, said = np.zeros((len(ids), 4), np.int64), []
    for k in np.unique(fold).tolist():
        rows = np.isin(sample["patch"], folds.train_ids(k))
        own = {key: sample[key][rows] for key in ("X", "y", "weight")}
        threshold = best_threshold(sample["names"], own)
        if threshold is None:
            return found
        counted[fold == k] = _count_feature(source, ids[fold == k], threshold, jobs)
        said.append(str(threshold))
    words = "; ".join(dict.fromkeys(said))
    return [*found, _scored("best single feature", words, counted, block, seed)]


def _count_rule(
    source: FeatureSource, ids: NDArray[np.int64], ndvi: float, slope: float, jobs: int
) -> NDArray[np.int64]:
    """Count each tile under two thresholds, shape (tile, 4): TP, FP, FN, TN."""
    below, start = round((ndvi + 1) / NDVI_STEP), round(slope / SLOPE_STEP_DEG)
    store = cast(Path, source.patches)
    tasks = [(store, ids[i : i + TASK_TILES]) for i in range(0, len(ids), TASK_TILES)]
    counted = [count_predicted(t, below, start) for t in in_processes(histograms_of, tasks, jobs)]
    return np.concatenate(counted)


def _count_feature(
    source: FeatureSource, ids: NDArray[np.int64], threshold: Threshold, jobs: int
) -> NDArray[np.int64]:
    """Count each tile under one threshold on a feature, shape (tile, 4): TP, FP, FN, TN."""
    one = replace(source, plan=source.feature_plan().only([threshold.feature]))
    tasks = [(one, ids[i : i + TASK_TILES], threshold) for i in range(0, len(ids), TASK_TILES)]
    return np.concatenate(list(in_processes(_count, tasks, jobs)))


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
