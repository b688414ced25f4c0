"""F1 against the distance to the nearest training tile."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.config import ScenesConfig
from l4s_ensemble.metrics.counts import Counts, count, f1_pooled
from l4s_ensemble.metrics.distance import (
    NONE,
    by_distance,
    distance_tiles,
    holdout_distance,
    out_of_fold_distance,
)
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.grid import Grid


def folds_of(scenes: tuple[tuple[int, int], ...] = ((14, 16), (9, 8)), by: str = "blocks") -> Folds:
    place = [
        (s, r, c)
        for s, (rows, cols) in enumerate(scenes, 1) for r in range(rows) for c in range(cols)
    ]  # fmt: skip
    scene, row, col = (np.array(v, np.int32) for v in zip(*place, strict=True))
    n = len(scene)
    grid = Grid("manifest", np.arange(1, n + 1), scene, row, col)
    return make_folds(
        grid, np.full(n, 300), np.array([f"{i:016x}" for i in range(n)]), np.zeros(n, bool),
        ScenesConfig(folds=3, block_tiles=4, by=by), holdout=None, holdout_guard=True, seed=0,
    )  # fmt: skip


def counts_of(f1_near: float, distance: np.ndarray, landslide: np.ndarray) -> Counts:
    """Tiles of 1000 pixels; near ones are scored with recall and precision as told."""
    share = np.where(distance <= 2, f1_near, 0.6)
    tp = np.rint(landslide * share).astype(np.int64)
    fp = np.rint((1000 - landslide) * 0.04).astype(np.int64)
    return Counts(tp, fp, landslide - tp, 1000 - landslide - fp)


def test_distances_by_brute_force() -> None:
    folds = folds_of()
    found = out_of_fold_distance(folds, folds.patch)
    place = {
        int(p): (int(s), int(r), int(c))
        for p, s, r, c in zip(folds.patch, folds.scene, folds.row, folds.col, strict=True)
    }
    for patch, d in zip(folds.patch, found, strict=True):
        s, r, c = place[int(patch)]
        trained = [place[int(i)] for i in folds.train_ids(int(folds.of([patch], "fold")[0]))]
        same = [max(abs(r - a), abs(c - b)) for t, a, b in trained if t == s]
        assert d == (min(same) if same else NONE)
    assert found[found != NONE].min() == 2  # the buffer keeps training tiles one away
    alone = folds.patch[folds.scene == 2]
    assert (distance_tiles(folds, alone, folds.patch[folds.scene == 1]) == NONE).all()
    assert (holdout_distance(folds, folds.fit_ids) == 0).all()


def test_whole_scenes_held_out_have_no_distance() -> None:
    folds = folds_of(((6, 6), (6, 6), (6, 6)), by="scenes")
    found = out_of_fold_distance(folds, folds.patch)
    assert (found == NONE).all()
    n = len(found)
    told = by_distance(counts_of(0.6, found, np.full(n, 100)), found, folds.block)
    assert told["trend"] is None
    assert [(r["low"], r["tiles"]) for r in told["rows"]] == [(None, n)]


def test_rows_are_scores_of_their_tiles() -> None:
    rng = np.random.default_rng(0)
    truth, called = (rng.random((40, 8, 8)) < 0.3 for _ in range(2))
    distance, block = rng.integers(2, 12, 40), np.arange(40) // 2
    distance[:3] = NONE
    counts = count(called, truth)
    told = by_distance(counts, distance, block, resamples=50)
    assert sum(r["tiles"] for r in told["rows"]) == 40
    for row in told["rows"]:
        high = np.inf if row["high"] is None else row["high"]
        own = (distance == NONE) if row["low"] is None else (
            (distance >= row["low"]) & (distance <= high)
        )  # fmt: skip
        assert row["f1"] == pytest.approx(f1_pooled(count(called[own], truth[own])))
        assert row["landslide"] == pytest.approx(truth[own].mean())
    trend = told["trend"]
    near = (distance >= 2) & (distance <= trend["near"]["high"])
    far = distance >= trend["far"]["low"]
    one, other = (f1_pooled(count(called[own], truth[own])) for own in (near, far))
    assert trend["value"] == pytest.approx(one - other)


def test_a_leak_shows_and_prevalence_alone_does_not() -> None:
    folds = folds_of()
    distance = out_of_fold_distance(folds, folds.patch)
    rng = np.random.default_rng(1)
    even = rng.integers(50, 150, len(distance))
    leak = by_distance(counts_of(0.9, distance, even), distance, folds.block)["trend"]
    assert leak["verdict"] == "falls" and leak["even"]["low"] > 0
    # As good everywhere, but there is more to find near training tiles: F1 is higher there.
    more = np.where(distance <= 2, 4 * even, even)
    fair = by_distance(counts_of(0.6, distance, more), distance, folds.block)["trend"]
    assert fair["low"] > 0.05 and abs(fair["even"]["value"]) < 0.01
    assert fair["verdict"] == "none shown"
    worse = by_distance(counts_of(0.3, distance, even), distance, folds.block)["trend"]
    assert worse["verdict"] == "rises"
    few = by_distance(counts_of(0.9, distance, even), distance, folds.block // 1000)["trend"]
    assert few["verdict"] == "unknown" and few["low"] is None
