"""The sample holds what it promises, and its weights undo it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError
from l4s_ensemble.pixel.sampling import BALANCE_MOST, SOFT_TRUST, allocate, balanced, plan_pixels
from l4s_ensemble.pixel.strata import ELSEWHERE, LANDSLIDE, RIM, edge, strata


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
    assert kind[10, 15] == RIM  # 5 px away
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
    config = PixelConfig(positives_max=400, negatives_per_positive=6, rim_share=0.25)
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
@pytest.mark.parametrize("rim_share", [0.0, 0.3, 1.0])
def test_weights_give_back_the_prevalence_of_any_set_of_tiles(
    positives_max: int, rim_share: float
) -> None:
    masks = masks_of(30)
    config = PixelConfig(positives_max=positives_max, rim_share=rim_share)
    plan = plan_pixels(np.arange(30) + 100, masks, config, seed=3)
    for ids in (np.arange(100, 130), np.arange(100, 120), np.arange(107, 130, 2)):
        rows, weight = plan.rows_of(ids), plan.weights_of(ids)
        assert np.isin(plan.patch[rows], ids).all()
        y = plan.landslide[rows]
        inside = masks[ids - 100]
        assert weight.sum() == pytest.approx(inside.size)
        assert np.average(y, weights=weight) == pytest.approx(inside.mean())
        assert (weight > 0).all()


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
    rim = plan.stratum == RIM
    np.testing.assert_array_equal(
        plan.pixel[rim & (plan.patch == 4)],
        turned.pixel[order][(turned.stratum[order] == RIM) & (turned.patch[order] == 4)],
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


def test_the_edge_is_the_pixels_beside_the_other_class() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:12, 4:12] = 1
    mask[4:6, 20:26] = 1  # two rows: all edge
    found = edge(mask, 1.0)
    assert found[4, 4:12].all() and found[4:12, 11].all() and not found[5:11, 5:11].any()
    assert found[3, 4:12].all() and not found[3, 3]  # the corner is 1.41 px away
    assert edge(mask, 1.5)[3, 3]
    assert not found[4:6, 20:26].any() and found[3, 20:26].all()
    for whole in (np.zeros((5, 5)), np.ones((5, 5))):
        assert not edge(whole, 2.0).any()
    # A landslide that goes on beyond the tile has no edge there.
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 10:] = 1
    assert np.flatnonzero(edge(mask, 1.0).any(axis=0)).tolist() == [9, 10]


@pytest.mark.parametrize("way", ["ignore", "soft"])
def test_edges_count_less_and_classes_as_much(way: str) -> None:
    masks = masks_of(30)
    settings = {"positives_max": 10**6, "negatives_per_positive": 3}
    config = PixelConfig(edge=way, edge_px=1.5, **settings)
    plan = plan_pixels(np.arange(30), masks, config, seed=2)
    edges = np.stack([edge(m, 1.5).ravel() for m in masks])
    at_edge = edges[plan.patch, plan.pixel]
    ids = np.arange(3, 25)
    rows, weight = plan.rows_of(ids), plan.weights_of(ids)
    y = plan.landslide[rows]
    inside = masks[ids]
    assert weight.sum() == pytest.approx(inside.size)
    assert np.average(y, weights=weight) == pytest.approx(inside.mean())
    if way == "ignore":
        assert edges[masks.reshape(30, -1) == 1].any() and not at_edge.any()
        assert plan.landslide.sum() == (masks.reshape(30, -1) * ~edges).sum()
    else:
        plain = plan_pixels(np.arange(30), masks, PixelConfig(**settings), seed=2)
        np.testing.assert_array_equal(plan.pixel, plain.pixel)
        ratio = weight / plain.weights_of(ids)
        for s in (LANDSLIDE, RIM):
            own = plan.stratum[rows] == s
            soft, firm = (ratio[own & (at_edge[rows] == e)] for e in (True, False))
            np.testing.assert_allclose(soft, soft[0])
            np.testing.assert_allclose(firm, soft[0] / SOFT_TRUST)
        np.testing.assert_allclose(plan.pixels_of(ids), plain.weights_of(ids))


def test_scenes_balanced_have_the_same_weight_within_each_class() -> None:
    masks = masks_of(30)
    masks[:20] *= np.random.default_rng(0).random((20, 1, 1)) < 0.8
    scene = np.repeat([1, 1, 2, -5, -6], 6)  # the last two stand alone: one group
    config = PixelConfig(positives_max=700, balance="scene")
    plan = plan_pixels(np.arange(30) + 7, masks, config, 0, scene)
    ids = np.arange(30) + 7
    weight, rows = plan.weights_of(ids), plan.rows_of(ids)
    y, group = plan.landslide[rows], np.maximum(scene, -1)[plan.patch[rows] - 7]
    assert np.average(y, weights=weight) == pytest.approx(masks.mean())
    for kind in (0, 1):
        total = [weight[(y == kind) & (group == g)].sum() for g in (1, 2, -1)]
        np.testing.assert_allclose(total, np.mean(total))
    assert not np.allclose(plan.pixels_of(ids), weight)
    plain = plan_pixels(ids, masks, config.model_copy(update={"balance": "none"}), 0, scene)
    np.testing.assert_allclose(plan.pixels_of(ids), plain.weights_of(ids))
    assert plan.within(ids[:9]).scene.tolist() == [1] * 9


def test_a_few_pixels_cannot_stand_for_a_scene() -> None:
    weight = np.ones(10_001)
    scene = np.r_[np.zeros(10_000), 1]
    out = balanced(weight, np.ones(10_001), scene)
    assert out.sum() == pytest.approx(10_001)
    assert out[-1] / out[0] == pytest.approx(BALANCE_MOST / 0.50005, rel=1e-3)
    # Where a scene lacks a class, the others share it.
    out = balanced(np.ones(6), [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 2, 2])
    np.testing.assert_allclose(out, [1, 1, 1, 1.5, 0.75, 0.75])


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


def test_a_plan_within_tiles_is_theirs_alone() -> None:
    masks = masks_of(12)
    plan = plan_pixels(np.arange(12), masks, PixelConfig(edge="soft"), seed=5)
    ids = np.array([1, 4, 5, 9])
    part = plan.within(ids)
    assert part.tile.tolist() == ids.tolist() and len(part.trust) == len(part)
    np.testing.assert_allclose(part.weights_of(np.arange(12)), plan.weights_of(ids))
