"""Which tiles are looked at closely."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.notable import BEST, LARGEST, WORST, most_predicted, notable_tiles


def counts(tp: list[int], fp: list[int], fn: list[int]) -> Counts:
    a, b, c = (np.array(v, np.int64) for v in (tp, fp, fn))
    return Counts(a, b, c, np.zeros_like(a))


def test_half_are_the_worst_a_quarter_the_best_the_rest_the_largest() -> None:
    found = notable_tiles(
        counts(
            [0, 90, 500, 9, 0, 60, 70, 0], [50, 0, 40, 1, 9, 30, 3, 0], [50, 5, 60, 0, 0, 0, 2, 0]
        ),
        4,
    )
    assert found == [(0, WORST), (2, WORST), (1, BEST), (6, LARGEST)]


def test_tiles_without_errors_fill_up_and_none_is_twice() -> None:
    none = counts([0, 0, 0], [0, 0, 0], [0, 0, 0])
    assert notable_tiles(none, 2) == [(0, WORST), (1, WORST)]
    found = notable_tiles(counts([5, 0, 7], [1, 0, 0], [0, 0, 0]), 24)
    assert sorted(i for i, _ in found) == [0, 1, 2]


def test_without_masks_the_most_predicted_come_first() -> None:
    assert [i for i, _ in most_predicted([3, 9, 0, 9], 3)] == [1, 3, 0]
