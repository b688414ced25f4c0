"""The sample holds what it promises, and its weights undo it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError
from l4s_ensemble.pixel.sampling import (
    BOUNDARY,
    ELSEWHERE,
    LANDSLIDE,
    allocate,
    plan_pixels,
    strata,
)


def masks_of(n: int, seed: int = 0, size: int = 40) -> NDArray[np.uint8]:
    """Discs of many sizes; every third tile is empty."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    out = np.zeros((n, size, size), np.uint8)
    for i in range(n):
        if i % 3:
            cy, cx = rng.uniform(5, size - 5, 2)
            out[i] = (y - cy) ** 2 + (x - cx) ** 2 <= rng.uniform(2, 9) ** 2
    return out


def test_strata_follow_the_distance_to_the_next_landslide_pixel() -> None:
    mask = np.zeros((21, 21), np.uint8)
    mask[10, 10] = 1
    kind = strata(mask)
    assert kind[10, 10] == LANDSLIDE
    assert kind[10, 15] == BOUNDARY  # 5 px away
    assert kind[10, 16] == ELSEWHERE  # 6 px
    assert kind[14, 14] == ELSEWHERE  # 5.66 px along the diagonal
    assert (strata(np.zeros((8, 8))) == ELSEWHERE).all()


def test_all_landslide_pixels_are_taken_when_there_is_room() -> None:
    masks = masks_of(12)
    plan = plan_pixels(np.arange(12), masks, PixelConfig(positives_max=10**6), seed=1)
    assert plan.landslide.sum() == masks.sum()
    for i in range(12):
        own = plan.pixel[(plan.patch == i) & (plan.stratum == LANDSLIDE)]
        np.testing.assert_array_equal(own, np.flatnonzero(masks[i]))


def test_rows_hold_the_promised_shares_and_empty_tiles_too() -> None:
    masks = masks_of(30)
    config = PixelConfig(positives_max=400, negatives_per_positive=6, boundary_share=0.25)
    plan = plan_pixels(np.arange(30), masks, config, seed=1)
    drawn = np.bincount(plan.stratum, minlength=3)
    assert drawn.tolist() == [400, 600, 1800]
    empty = [i for i in range(30) if not masks[i].any()]
    assert set(empty) <= set(plan.patch.tolist())
    # No pixel twice, and each row's stratum is that of its pixel.
    pairs = plan.patch * masks[0].size + plan.pixel
    assert len(np.unique(pairs)) == len(plan)
    kinds = np.stack([strata(m).ravel() for m in masks])
    np.testing.assert_array_equal(kinds[plan.patch, plan.pixel], plan.stratum)


@pytest.mark.parametrize("positives_max", [100, 300, 10**6])
@pytest.mark.parametrize("boundary_share", [0.0, 0.3, 1.0])
def test_weights_give_back_the_prevalence_of_any_set_of_tiles(
    positives_max: int, boundary_share: float
) -> None:
    masks = masks_of(30)
    config = PixelConfig(positives_max=positives_max, boundary_share=boundary_share)
    plan = plan_pixels(np.arange(30) + 100, masks, config, seed=3)
    for ids in (np.arange(100, 130), np.arange(100, 120), np.arange(107, 130, 2)):
        weight, inside = plan.weights_of(ids), masks[ids - 100]
        np.testing.assert_array_equal(weight > 0, np.isin(plan.patch, ids))
        assert weight.sum() == pytest.approx(inside.size)
        assert np.average(plan.landslide, weights=weight) == pytest.approx(inside.mean())


def test_a_tile_is_drawn_alike_whatever_stands_beside_it() -> None:
    masks = masks_of(12)
    config = PixelConfig(positives_max=10**6, negatives_per_positive=1)
    plan = plan_pixels(np.arange(12), masks, config, seed=5)
    again = plan_pixels(np.arange(12), masks, config, seed=5)
    for name in ("patch", "pixel", "stratum", "weight"):
        np.testing.assert_array_equal(getattr(plan, name), getattr(again, name))
    # Another order of the tiles changes the order of the rows only.
    turned = plan_pixels(np.arange(12)[::-1], masks[::-1], config, seed=5)
    order = np.lexsort((turned.pixel, turned.patch))
    boundary = plan.stratum == BOUNDARY
    np.testing.assert_array_equal(
        plan.pixel[boundary & (plan.patch == 4)],
        turned.pixel[order][(turned.stratum[order] == BOUNDARY) & (turned.patch[order] == 4)],
    )
    other = plan_pixels(np.arange(12), masks, config, seed=6)
    assert not np.array_equal(plan.pixel, other.pixel)


def test_one_class_is_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match="landslide"):
        plan_pixels([1, 2], np.zeros((2, 8, 8)), PixelConfig(), seed=0)
    masks = masks_of(6)
    plan = plan_pixels(np.arange(6), masks, PixelConfig(), seed=0)
    with pytest.raises(DataError, match="fewer folds"):
        plan.weights_of([0, 3])  # the empty ones


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=40),
    st.integers(0, 60_000),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_allocation_is_exact_bounded_and_fair(n: list[int], total: int, power: float) -> None:
    available = np.array(n)
    out = allocate(available, total, power)
    assert out.sum() == min(total, available.sum())
    assert (out >= 0).all() and (out <= available).all()
    order = np.argsort(available, kind="stable")
    assert (np.diff(out[order]) >= -1).all()  # more pixels never give fewer rows (but for rounding)


def test_power_of_a_tile_is_a_setting() -> None:
    masks = masks_of(30)
    by_power = {
        power: plan_pixels(
            np.arange(30), masks, PixelConfig(positives_max=300, patch_power=power), seed=1
        )
        for power in (0.0, 0.5, 1.0)
    }
    there = masks.reshape(30, -1).sum(axis=1)
    big = int(np.argmax(there))
    drawn = [int((p.landslide[p.patch == big]).sum()) for p in by_power.values()]
    assert drawn[0] < drawn[1] < drawn[2]
    assert drawn[2] == pytest.approx(300 * there[big] / there.sum(), abs=1)
    for plan in by_power.values():
        weight = plan.weights_of(np.arange(30))
        assert np.average(plan.landslide, weights=weight) == pytest.approx(masks.mean())
