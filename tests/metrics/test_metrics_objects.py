"""Whole landslides, matched one to one: by brute force over all assignments, and by hand."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from l4s_ensemble.metrics.objects import (
    IOU_MATCHED,
    IOU_SMALL,
    SIZE_PX,
    SMALL_PX,
    ObjectCounts,
    f1_objects,
    matched,
    summarise_objects,
)
from l4s_ensemble.scenes.landslides import count_objects, tile_objects

EDGE = 40


def tile(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(EDGE, EDGE)), 1.5)
    return smooth > 0.2, smooth + 0.08 * rng.normal(size=smooth.shape) > 0.2


NOWHERE = ([-1], [-1], [-1])


def objects_of(reference: np.ndarray, predicted: np.ndarray) -> ObjectCounts:
    """Counts of one tile."""
    return count_objects([tile_objects(reference, {"m": predicted})], NOWHERE)["m"]


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


def by_brute_force(reference: np.ndarray, predicted: np.ndarray) -> set[tuple[int, int]]:
    """The pairs of the best assignment: most pairs, then the largest sum of IoU."""
    t, p = flood(reference), flood(predicted)
    iou = {
        (i, j): len(a & b) / len(a | b)
        for i, a in enumerate(t)
        for j, b in enumerate(p)
        if len(a & b) / len(a | b) >= (IOU_SMALL if len(a) < SMALL_PX else IOU_MATCHED)
    }
    rows, columns = sorted({i for i, _ in iou}), sorted({j for _, j in iou})
    columns += [-1] * len(rows)  # a landslide may have no match
    best: tuple[float, float, set[tuple[int, int]]] = (-1, 0, set())
    for order in set(permutations(columns, len(rows))):
        pairs = {(i, j) for i, j in zip(rows, order, strict=True) if (i, j) in iou}
        best = max(best, (len(pairs), sum(iou[x] for x in pairs), pairs), key=lambda x: x[:2])
    return {(len(t[i]), len(p[j])) for i, j in best[2]}


def test_matching_is_the_best_assignment() -> None:
    total = 0
    for seed in range(25):
        reference, predicted = tile(seed)
        pairs = by_brute_force(reference[:14, :14], predicted[:14, :14])
        found = objects_of(reference[:14, :14], predicted[:14, :14])
        total += len(pairs)
        for i, (low, high) in enumerate(pairwise(SIZE_PX)):
            sizes = [len(part) for part in flood(reference[:14, :14])]
            assert found.reference[0, i] == sum(low <= n < high for n in sizes)
        assert found.found.sum() == len(pairs)
        assert found.false.sum() == len(flood(predicted[:14, :14])) - len(pairs)
    assert total > 20


def test_a_matching_takes_most_pairs_and_then_the_largest_iou() -> None:
    iou = np.array([[0.9, 0.6, 0.0], [0.6, 0.0, 0.0], [0.0, 0.55, 0.5]])
    pairs = matched(iou)
    assert set(map(tuple, pairs.T)) == {(0, 1), (1, 0), (2, 2)}
    assert matched(np.zeros((0, 3))).shape == (2, 0)


def test_one_merged_blob_finds_one_landslide_at_most() -> None:
    """Found by half of its pixels, as was counted before, all four would be found."""
    reference = np.zeros((40, 40), bool)
    for y, x in ((2, 2), (2, 22), (22, 2), (22, 22)):
        reference[y : y + 15, x : x + 15] = True
    got = objects_of(reference, np.ones_like(reference))
    assert (got.reference.sum(), got.found.sum(), got.false.sum()) == (4, 0, 1)
    merged = reference | (np.arange(40) < 20)  # two of the four in one blob
    got = objects_of(reference, merged)
    assert (got.found.sum(), got.predicted.sum(), got.false.sum()) == (2, 3, 1)


def test_a_half_is_needed_and_a_tenth_of_small_ones() -> None:
    reference, predicted = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    reference[0, :20] = predicted[0, :10] = True  # IoU 0.5
    reference[5, :20] = predicted[5, :9] = True  # less
    reference[10, :1] = predicted[10, :10] = True  # 9 pixels or fewer: 0.1 is enough
    reference[15, :1] = predicted[15, :11] = True  # less than that
    counts = objects_of(reference, predicted)
    got = summarise_objects(counts, [0])
    assert [got[k] for k in ("reference", "found", "predicted", "false")] == [4, 2, 4, 2]
    assert got["recall"] == got["precision"] == got["f1"] == 0.5
    assert got["f1_low"] is None  # one block says nothing
    assert [(r["reference"], r["found"], r["predicted"], r["false"]) for r in got["by_size"]][
        :2
    ] == [(2, 1, 1, 1), (2, 1, 3, 1)]


def test_nothing_there_and_nothing_predicted() -> None:
    none, some = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    one = summarise_objects(objects_of(none, none), [0])
    assert one["recall"] is one["precision"] is one["f1"] is None
    one = summarise_objects(objects_of(none, some), [0])
    assert (one["recall"], one["precision"], one["f1"]) == (None, 0, 0)
    with pytest.raises(ValueError, match="shapes"):
        objects_of(none, some[:4])


def test_pooled_is_the_sum_of_tiles_and_the_interval_holds_it() -> None:
    each = [objects_of(*tile(seed)) for seed in range(24)]
    nowhere = (np.full(24, -1),) * 3
    tiles = [tile_objects(t, {"m": p}) for t, p in map(tile, range(24))]
    counts = count_objects(tiles, nowhere)["m"]
    got = summarise_objects(counts, np.arange(24) // 2)
    assert got["found"] == sum(int(t.found.sum()) for t in each) > 0
    assert got["found"] == got["predicted"] - got["false"]
    p, r = got["precision"], got["recall"]
    assert got["f1"] == pytest.approx(2 * p * r / (p + r))
    assert got["blocks"] == 12 and got["f1_low"] < got["f1"] < got["f1_high"]
    assert float(f1_objects(counts.table().sum(axis=0))) == got["f1"]


@pytest.mark.parametrize("seed", range(8))
def test_over_known_seams_the_counts_are_those_of_the_whole_picture(seed: int) -> None:
    """A landslide over a seam is one, and matched by all of its pixels."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(48, 64)), 2)
    whole = smooth > 0.1, smooth + 0.06 * rng.normal(size=smooth.shape) > 0.1
    order = rng.permutation(12)
    row, col = np.divmod(order, 4)
    cut = [
        [m[16 * r : 16 * r + 16, 16 * c : 16 * c + 16] for m in whole]
        for r, c in zip(row, col, strict=True)
    ]
    tiles = [tile_objects(t, {"m": p}) for t, p in cut]
    got = count_objects(tiles, (np.zeros(12, int), row, col))["m"]
    assert got.reference.shape == (12, len(SIZE_PX) - 1)
    np.testing.assert_array_equal(got.pooled().table(), objects_of(*whole).pooled().table())
    np.testing.assert_array_equal(got.pooled().found, objects_of(*whole).pooled().found)
    apart = count_objects(tiles, (np.full(12, -1),) * 3)["m"]
    assert apart.reference.sum() > got.reference.sum()


def test_a_landslide_over_a_seam_counts_once_in_the_tile_that_most_of_it_lies_in() -> None:
    reference, predicted = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    reference[5:8, 14:30] = predicted[5:8, 19:36] = True  # alone in the first tile: IoU 1 of 6
    side_by_side = ([0, 0], [3, 3], [4, 5])
    tiles = [tile_objects(reference[:, c], {"m": predicted[:, c]}) for c in np.s_[:20, 20:]]
    got = count_objects(tiles, side_by_side)["m"]
    assert got.table().tolist() == [[0, 0, 0, 0], [1, 1, 1, 0]]
    apart = count_objects(tiles, (np.full(2, -1),) * 3)["m"]
    assert apart.table().tolist() == [[1, 0, 1, 1], [1, 1, 1, 0]]
