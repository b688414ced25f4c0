"""Slides found and false slides, by brute force and by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tiles_world import world, write_scores

from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics.by_block import blocks_of
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.objects import (
    SIZE_PX,
    ObjectCounts,
    count_objects,
    f1_objects,
    objects_of,
    summarise_objects,
)

EDGE = 64


def tile(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(EDGE, EDGE)), 1.5)
    return smooth > 0.2, smooth + 0.08 * rng.normal(size=smooth.shape) > 0.2


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Parts that touch by side or corner, one pixel at a time."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            around = {(y + b, x + a) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= around
            edge += around
        parts.append(part)
    return parts


def test_objects_by_flooding() -> None:
    for seed in range(3):
        truth, called = tile(seed)
        found = objects_of(truth, called)
        for i, (low, high) in enumerate(pairwise(SIZE_PX)):
            true = [p for p in flood(truth) if low <= len(p) < high]
            hit = [sum(bool(called[at]) for at in p) for p in true]
            assert found.slides[i] == len(true)
            assert found.found[i] == sum(2 * h >= len(p) for h, p in zip(hit, true, strict=True))
            assert found.touched[i] == sum(h > 0 for h in hit)
            calls = [p for p in flood(called) if low <= len(p) < high]
            right = [sum(bool(truth[at]) for at in p) for p in calls]
            assert found.called[i] == len(calls)
            assert found.false[i] == sum(10 * r < len(p) for r, p in zip(right, calls, strict=True))
        assert 0 < found.found.sum() < found.slides.sum()
        assert 0 < found.false.sum() < found.called.sum()


def test_a_half_is_found_and_a_tenth_is_not_false() -> None:
    truth, called = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[0, :4] = called[0, :2] = True  # half of it: found, and the call is all true
    truth[5, :4] = called[5, :1] = True  # a quarter: touched
    truth[10, :1] = called[10, :10] = True  # a tenth of the call is true
    truth[20, :1] = called[20, :11] = True  # less than a tenth
    got = summarise_objects(ObjectCounts.of_tiles([objects_of(truth, called)]), [0], resamples=10)
    assert [got[k] for k in ("slides", "found", "touched", "called", "false")] == [4, 3, 4, 4, 1]
    assert got["recall"] == got["precision"] == got["f1"] == 0.75
    assert got["f1_low"] is None  # one block says nothing
    assert [r["called"] for r in got["by_size"]][:2] == [2, 2]


def test_nothing_there_and_nothing_called() -> None:
    none, some = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    one = summarise_objects(ObjectCounts.of_tiles([objects_of(none, none)]), [0], resamples=10)
    assert one["recall"] is one["precision"] is one["f1"] is None
    one = summarise_objects(ObjectCounts.of_tiles([objects_of(none, some)]), [0], resamples=10)
    assert (one["recall"], one["precision"], one["f1"]) == (None, 0, 0)
    with pytest.raises(ValueError, match="shapes"):
        objects_of(none, some[:4])


def test_pooled_is_the_sum_of_tiles_and_the_interval_holds_it() -> None:
    tiles = [objects_of(*tile(seed)) for seed in range(12)]
    counts = ObjectCounts.of_tiles(tiles)
    got = summarise_objects(counts, np.arange(12) // 2, resamples=300)
    assert got["found"] == sum(int(t.found.sum()) for t in tiles)
    p, r = got["precision"], got["recall"]
    assert got["f1"] == pytest.approx(2 * p * r / (p + r))
    assert got["blocks"] == 6 and got["f1_low"] < got["f1"] < got["f1_high"]
    assert float(f1_objects(counts.table().sum(axis=0))) == got["f1"]


def test_files_give_what_arrays_give(tmp_path: Path) -> None:
    store, scores, dataset, logit = world(tmp_path)
    truth = dataset["mask"].values[:-1] == 1
    ids = np.arange(1, len(logit) + 1)
    other = write_scores(tmp_path / "other.zarr", ids, -logit + 1)
    stacked = write_scores(tmp_path / "stack.zarr", ids, sigmoid(logit), name="probability")
    by_hand = [objects_of(t, c) for t, c in zip(truth, sigmoid(logit) >= 0.4, strict=True)]
    for paths, jobs in (([scores], 1), ([stacked], 2)):
        got = count_objects(store, paths, 0.4, jobs=jobs)
        np.testing.assert_array_equal(got.table(), ObjectCounts.of_tiles(by_hand).table())
    # The mean of both logits is 0.5 everywhere.
    assert count_objects(store, [scores, other], 0.63).called.sum() == 0
    assert (count_objects(store, [scores, other], 0.62).called.sum(axis=1) == 1).all()
    kept = count_objects(store, [scores], lambda p: p >= np.inf)
    assert kept.called.sum() == 0 and kept.slides.sum() == sum(o.slides.sum() for o in by_hand)


def test_a_tile_without_a_score_is_refused(tmp_path: Path) -> None:
    store, scores, _, logit = world(tmp_path)
    with pytest.raises(RunError, match="not scored"):
        list(blocks_of(store, (scores,), np.array([1, len(logit) + 1])))
