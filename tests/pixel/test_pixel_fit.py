"""The fit of a fold: bins from disk, bags, constraints, and that nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from fit_world import NAMES, features_of, ground, job_of, text_of

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.boost import boost, dataset, merge
from l4s_ensemble.pixel.fit import FitJob, at_most, fit_fold, fit_folds
from l4s_ensemble.pixel.infer import score_tile
from l4s_ensemble.pixel.settings import other_seed, parameters
from l4s_ensemble.pixel.shapley import contributions

EVERYTHING: dict[str, Any] = {
    "constraints": "physics",
    "seeds": 2,
    "patch_power": 0.7,
}


def test_bins_from_disk_are_those_of_an_array(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    settings = parameters(job.config, 3, 1)
    chosen = job.plan.rows_of(job.folds.train_ids(1))
    y, weight = job.plan.landslide[chosen], job.plan.weights_of(job.folds.train_ids(1))
    rows = np.load(job.rows)
    plain = lgb.Dataset(
        rows[chosen], y, weight=weight / weight.mean(), feature_name=list(NAMES), params=settings
    )
    known = lgb.train(settings, plain, 10).model_to_string()
    found = boost(dataset(job.rows, chosen, y, weight, NAMES, settings), settings, 10)
    assert found.split("parameters:")[0] == known.split("parameters:")[0]


def test_a_bag_is_the_mean_of_its_boosters(tmp_path: Path) -> None:
    job = job_of(tmp_path, seeds=3, trees=12)
    fit_fold(job, 0)
    settings = parameters(job.config, 7, 1)
    chosen = job.plan.rows_of(job.folds.train_ids(0))
    y, weight = job.plan.landslide[chosen], job.plan.weights_of(job.folds.train_ids(0))
    data = dataset(job.rows, chosen, y, weight, NAMES, settings)
    each = [lgb.train(other_seed(settings, n), data, 12) for n in range(3)]
    rows = np.load(job.rows)[:2000]
    known = [b.predict(rows, raw_score=True) for b in each]
    assert np.abs(known[0] - known[1]).max() > 0.05  # unlike each other
    bag = job.model.booster(0)
    assert bag.num_trees() == 36
    np.testing.assert_allclose(
        bag.predict(rows, raw_score=True), np.mean(known, axis=0), rtol=0, atol=1e-12
    )
    early = [b.predict(rows, raw_score=True, num_iteration=5) for b in each]
    np.testing.assert_allclose(
        bag.predict(rows, raw_score=True, num_iteration=15), np.mean(early, axis=0), atol=1e-12
    )
    gain = np.sum([b.feature_importance("gain") for b in each], axis=0)
    np.testing.assert_allclose(bag.feature_importance("gain"), gain, rtol=1e-5)
    # Fast scores and exact contributions read the bag like any booster.
    tile = np.ascontiguousarray(ground()[1][5])
    assert job.model.trees(0) is not None
    by_lightgbm = bag.predict(tile.reshape(3, -1).T, raw_score=True).reshape(tile.shape[1:])
    np.testing.assert_array_equal(job.model.trees(0).score(tile), by_lightgbm)
    np.testing.assert_array_equal(score_tile(job.model, 0, tile), by_lightgbm.astype(np.float32))
    added, expected = contributions(job.model, 0, rows[:100])
    np.testing.assert_allclose(
        added.sum(axis=1) + expected, bag.predict(rows[:100], raw_score=True), atol=1e-9
    )
    np.testing.assert_allclose(added, bag.predict(rows[:100], pred_contrib=True)[:, :-1], atol=1e-9)


def test_boosters_that_do_not_belong_together_are_not_merged(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    settings = parameters(job.config, 3, 1)
    at = job.plan.rows_of(job.folds.patch)
    y, weight = job.plan.landslide[at], job.plan.weights_of(job.folds.patch)
    data = dataset(job.rows, at, y, weight, NAMES, settings)
    one, more = (boost(data, settings, n) for n in (2, 3))
    with pytest.raises(ValueError, match="equally many"):
        merge([one, more])
    with pytest.raises(ValueError, match="columns"):
        merge([one, one.replace("feature_names=bare", "feature_names=bar")])


def test_constraints_hold_and_are_scored_exactly(tmp_path: Path) -> None:
    job = job_of(tmp_path, constraints="physics", trees=40, leaves=31)
    # The wrong way round, so that the constraint has something to forbid.
    job = replace(job, expected=(-1, 1, 0))
    fit_fold(job, 0)
    booster, trees = job.model.booster(0), job.model.trees(0)
    tile = np.ascontiguousarray(ground()[1][8])
    by_lightgbm = booster.predict(tile.reshape(3, -1).T, raw_score=True).reshape(tile.shape[1:])
    assert trees is not None
    np.testing.assert_array_equal(trees.score(tile), by_lightgbm)
    rows = np.repeat(np.load(job.rows)[:50], 40, axis=0)
    for column, sign in ((0, -1), (1, 1)):
        walked = rows.copy()
        walked[:, column] = np.tile(np.linspace(-4, 6, 40), 50)
        logit = booster.predict(walked, raw_score=True).reshape(50, 40)
        assert (sign * np.diff(logit, axis=1) >= -1e-12).all()
    free = parameters(PixelConfig(), 0, 1, (1, 0))
    assert "monotone_constraints" not in free
    physics = PixelConfig(constraints="physics")
    assert parameters(physics, 0, 1, (1, 0))["monotone_constraints"] == [1, 0]
    assert "monotone_constraints" not in parameters(physics, 0, 1, (0, 0))


def hidden(job: FitJob, k: int, folder: Path) -> FitJob:
    """The same job with nonsense in every row that fold `k` must not read."""
    rng = np.random.default_rng(0)
    rows, stratum = np.load(job.rows), job.plan.stratum.copy()
    secret = ~np.isin(job.plan.patch, job.folds.train_ids(k))
    rows[secret] = rng.normal(size=(int(secret.sum()), rows.shape[1]))
    stratum[secret] = rng.permutation(stratum[secret])
    folder.mkdir()
    np.save(folder / "rows.npy", rows)
    pixels = job.folds.landslide_pixels.copy()
    outside = ~np.isin(job.folds.patch, job.folds.train_ids(k))
    pixels[outside] = rng.permutation(pixels[outside])
    return replace(
        job,
        rows=folder / "rows.npy",
        plan=replace(job.plan, stratum=stratum),
        model=replace(job.model, folder=folder),
        folds=replace(job.folds, landslide_pixels=pixels),
    )


def test_held_tiles_choose_nothing(tmp_path: Path) -> None:
    job = job_of(tmp_path / "a", **EVERYTHING)
    info = fit_fold(job, 1)
    other = hidden(job, 1, tmp_path / "b")
    again = fit_fold(other, 1)
    assert text_of(job, 1) == text_of(other, 1)
    for key in ("trees", "rows", "prevalence"):
        assert info[key] == again[key]
    assert info["seeds"] == 2
    prevalence = job.folds.of(info["trained"], "landslide_pixels").sum() / (
        len(info["trained"]) * 24 * 24
    )
    assert info["prevalence"] == pytest.approx(prevalence, rel=1e-9)


def test_any_number_of_threads_fits_the_same(tmp_path: Path) -> None:
    # Small: on busy cores two threads wait for each other.
    settings = {**EVERYTHING, "trees": 6, "leaves": 4}
    one, two = (job_of(tmp_path / name, **settings) for name in "ab")
    told = fit_folds(one, jobs=1)
    assert [t["fold"] for t in told] == [0, 1, 2]
    fit_fold(two, 2, threads=2)
    assert text_of(one, 2) == text_of(two, 2)


def test_fits_side_by_side_stay_within_memory() -> None:
    assert at_most(1_250_000, 110) == 3
    assert at_most(10_000, 60) > 20
    assert at_most(10**9, 110) == 1


def test_features_of_a_plan_are_those_of_its_pixels(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    _, image = ground()
    np.testing.assert_array_equal(np.load(job.rows), features_of(job.plan, image))
