"""Look-alikes are drawn more often, by a known chance that their weights undo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fit_world import features_of, folds_of, ground, job_of, job_with
from hypothesis import given, settings
from hypothesis import strategies as st

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.fit import FitJob, fit_fold
from l4s_ensemble.pixel.mining import Mined, draw, inclusion_chances, mine
from l4s_ensemble.pixel.sampling import HARD_POOL, plan_pixels
from l4s_ensemble.pixel.strata import ELSEWHERE, LANDSLIDE, RIM


def mined(job: FitJob, seed: int = 0, k: int = 0) -> Mined:
    return mine(
        job.folds, job.folds.train_ids(k), job.plan, job.rows, job.model.features, job.config,
        job.expected, seed, 1,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=80),
    st.integers(1, 90),
    st.floats(0, 1),
)
def test_chances_sum_to_the_draws_and_grow_with_the_score(
    score: list[float], wanted: int, share: float
) -> None:
    p = np.array(score)
    chance = inclusion_chances(p, wanted, share)
    assert chance.sum() == pytest.approx(min(wanted, len(p)))
    assert ((chance > 0) & (chance <= 1)).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(chance[order]) >= -1e-12).all()
    assert chance.max() <= 50.001 * chance.min()
    taken = draw(chance, np.random.default_rng(0))
    assert len(taken) == min(wanted, len(p)) and len(np.unique(taken)) == len(taken)


def test_each_pixel_is_drawn_with_its_chance() -> None:
    rng = np.random.default_rng(0)
    chance = inclusion_chances(rng.random(40) ** 4, 12, 0.7)
    hits = np.zeros(40)
    for _ in range(4000):
        hits[draw(chance, rng)] += 1
    np.testing.assert_allclose(hits / 4000, chance, atol=0.04)


def test_look_alikes_are_drawn_more_often(tmp_path: Path) -> None:
    job = job_of(tmp_path, hard_share=0.5, negatives_per_positive=3)
    found = mined(job)
    plan = found.plan
    drawn = np.bincount(plan.stratum, minlength=3)
    assert drawn[RIM] + drawn[ELSEWHERE] == 3 * drawn[LANDSLIDE]
    pool = job.plan.rows_of(job.folds.train_ids(0))
    pool = pool[job.plan.stratum[pool] == ELSEWHERE]
    assert found.summary["pool"] == len(pool)
    assert len(pool) > 0.8 * HARD_POOL * drawn[ELSEWHERE]
    # All landslide and rim pixels of the fold's tiles are kept, and no row of another tile is.
    assert set(plan.patch) <= set(job.folds.train_ids(0).tolist())
    for s in (LANDSLIDE, RIM):
        there = job.plan.rows_of(job.folds.train_ids(0))
        assert drawn[s] == (job.plan.stratum[there] == s).sum()
    # One tile in seven is bare all over: it looks like a landslide.
    own = plan.stratum == ELSEWHERE
    alike = (plan.patch[own] - 100) % 7 == 3
    before = ((job.plan.patch[pool] - 100) % 7 == 3).mean()
    assert alike.mean() > 1.5 * before
    assert found.summary["probability_drawn"] > 1.3 * found.summary["probability_pool"]
    np.testing.assert_array_equal(job.plan.pixel[found.at], plan.pixel)
    # And the weights make them as rare as they are.
    ids = job.folds.train_ids(0)
    weight = plan.weights_of(ids)
    truth = ground()[0][ids - 100]
    assert weight.sum() == pytest.approx(truth.size)
    assert np.average(plan.landslide, weights=weight) == pytest.approx(truth.mean())
    assert weight[own][alike].sum() / weight[own].sum() == pytest.approx(before, rel=0.15)


def test_weights_give_back_what_is_measured_on_the_pool(tmp_path: Path) -> None:
    job = job_of(tmp_path, hard_share=0.6, trees=10)
    ids = job.folds.train_ids(0)
    rows = np.load(job.rows)
    known = None
    found = []
    for seed in range(25):
        one = mined(job, seed)
        weight, own = one.plan.weights_of(ids), one.plan.stratum == ELSEWHERE
        found.append(np.average(rows[one.at[own]] ** 2, axis=0, weights=weight[own]))
    pool = job.plan.rows_of(ids)
    pool = pool[job.plan.stratum[pool] == ELSEWHERE]
    known = np.average(rows[pool] ** 2, axis=0, weights=job.plan.weight[pool])
    error = np.std(found, axis=0) / 5
    assert (np.abs(np.mean(found, axis=0) - known) < 4 * error + 0.01).all()


def test_it_is_the_same_on_every_run(tmp_path: Path) -> None:
    job = job_of(tmp_path, hard_share=0.5)
    one, two, other = mined(job, 3), mined(job, 3), mined(job, 4)
    np.testing.assert_array_equal(one.at, two.at)
    np.testing.assert_array_equal(one.plan.weight, two.plan.weight)
    assert not np.array_equal(one.at, other.at)


def test_a_half_without_a_landslide_leaves_the_other_unmined(tmp_path: Path) -> None:
    masks, image = ground()
    folds = folds_of(masks)
    ids = folds.train_ids(0)
    block = folds.of(ids, "block")
    masks[~np.isin(folds.patch, ids[block == block[1]])] = 0
    assert masks.any()
    folds = folds_of(masks)
    config = PixelConfig(
        hard_share=0.5, trees=10, positives_max=1000, min_child_samples=5, rim_share=0.1
    )
    plan = plan_pixels(folds.patch, masks, config, 0)
    found = mined(job_with(tmp_path, folds, plan, features_of(plan, image), config))
    assert found.summary["drawn"] > 0
    assert np.isfinite(found.plan.weight).all()


def test_a_model_that_saw_hard_ground_is_still_calibrated(tmp_path: Path) -> None:
    masks, image = ground()
    means = {}
    for share in (0.0, 0.8):
        job = job_of(tmp_path / str(share), hard_share=share, trees=40, learning_rate=0.1)
        fit_fold(job, 0)
        held = job.folds.held_ids(0) - 100
        rows = np.moveaxis(image[held], 1, -1).reshape(-1, image.shape[1])
        p = sigmoid(job.model.booster(0).predict(rows, raw_score=True))
        means[share] = float(p.mean())
    truth = float(masks[held].mean())
    assert means[0.8] == pytest.approx(truth, rel=0.25)
    assert means[0.8] == pytest.approx(means[0.0], rel=0.2)
