"""The fit of a fold: bins from disk, bags, constraints, and that nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from fit_world import NAMES, boosters_of, ground, job_of, text_of

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.fit import (
    FitJob,
    at_most,
    fit_fold,
    fit_folds,
    other_seed,
    parameters,
)
from l4s_ensemble.pixel.infer import score_tile
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.pixel.trees import read_trees

EVERYTHING: dict[str, Any] = {
    "constraints": "physics",
    "seeds": 2,
    "patch_power": 0.7,
}


def test_bins_from_disk_are_those_of_an_array(tmp_path: Path) -> None:
    job = job_of(tmp_path, trees=10)
    settings = parameters(job.config, job.model.seed + 1, 1)
    chosen = job.plan.rows_of(job.folds.train_ids(1))
    y, weight = job.plan.landslide[chosen], job.plan.weights_of(job.folds.train_ids(1))
    rows = np.load(job.rows)
    plain = lgb.Dataset(
        rows[chosen], y, weight=weight / weight.mean(), feature_name=list(NAMES), params=settings
    )
    known = lgb.train(settings, plain, 10).model_to_string()
    (found,) = job.boost(job.folds.train_ids(1), 1, 1)
    assert found.split("parameters:")[0] == known.split("parameters:")[0]


def test_a_bag_is_the_mean_of_its_boosters(tmp_path: Path) -> None:
    job = job_of(tmp_path, seeds=3, trees=12)
    fit_fold(job, 0)
    each = boosters_of(job, 0)
    rows = np.load(job.rows)[:2000]
    known = [b.predict(rows, raw_score=True) for b in each]
    assert len(each) == 3 and np.abs(known[0] - known[1]).max() > 0.05  # unlike each other
    # Of other rows and columns, and the first is the booster of a fit without a bag.
    settings = parameters(job.config, 7, 1)
    assert other_seed(settings, 0) == settings != other_seed(settings, 1)
    fit_fold(one := job_of(tmp_path / "one", trees=12), 0)
    assert text_of(one, 0) == text_of(job, 0)[:1]
    # Fast scores and exact contributions read all of them.
    model = replace(job.model, boosters=3)
    tile = np.ascontiguousarray(ground()[1][5])
    pixels = tile.reshape(3, -1).T
    mean = np.mean([b.predict(pixels, raw_score=True) for b in each], axis=0)
    np.testing.assert_allclose(score_tile(model, 0, tile).ravel(), mean, atol=1e-6)
    added, expected = contributions(model, 0, rows[:100])
    np.testing.assert_allclose(
        added.sum(axis=1) + expected, np.mean(known, axis=0)[:100], atol=1e-9
    )
    shap = np.mean([b.predict(rows[:100], pred_contrib=True) for b in each], axis=0)
    np.testing.assert_allclose(added, shap[:, :-1], atol=1e-9)


def test_boosters_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    fit_fold(job := job_of(tmp_path, trees=3), 0)
    fit_fold(more := job_of(tmp_path / "more", trees=2), 0)
    (one,), (other,) = text_of(job, 0), text_of(more, 0)
    with pytest.raises(ValueError, match="equally many"):
        read_trees([one, other])
    with pytest.raises(ValueError, match="equal columns"):
        read_trees([one, one.replace("feature_names=bare", "feature_names=bar")])


def test_constraints_hold_and_are_scored_exactly(tmp_path: Path) -> None:
    job = job_of(tmp_path, constraints="physics", trees=40, leaves=31)
    # The wrong way round, so that the constraint has something to forbid.
    job = replace(job, expected=(-1, 1, 0))
    fit_fold(job, 0)
    (booster,) = boosters_of(job, 0)
    tile = np.ascontiguousarray(ground()[1][8])
    by_lightgbm = booster.predict(tile.reshape(3, -1).T, raw_score=True).reshape(tile.shape[1:])
    np.testing.assert_array_equal(score_tile(job.model, 0, tile), by_lightgbm.astype(np.float32))
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
    settings = {**EVERYTHING, "trees": 3, "leaves": 4}
    one, two = (job_of(tmp_path / name, **settings) for name in "ab")
    told = fit_folds(one, jobs=1)
    assert [t["fold"] for t in told] == [0, 1, 2]
    fit_fold(two, 2, threads=2)
    assert text_of(one, 2) == text_of(two, 2)


def test_fits_side_by_side_stay_within_memory() -> None:
    assert at_most(1_250_000, 110) == 3
    assert at_most(10_000, 60) > 20
    assert at_most(10**9, 110) == 1


@pytest.mark.parametrize(
    ("asked", "relative", "number"),
    [("auto", True, 2), ("auto", False, 1), ("two", False, 2), ("one", True, 1)],
)
def test_how_many_views(asked: str, relative: bool, number: int, tmp_path: Path) -> None:
    job = replace(job_of(tmp_path, views=asked), relative=relative)
    assert len(replace(job, relational=(False, True, True)).views(0, 1)) == number
    # Where every column or none is relational, a second view would be the first one again.
    assert len(replace(job, relational=(True,) * 3).views(0, 1)) == 1
    assert len(replace(job, relational=(False,) * 3).views(0, 1)) == 1


def test_two_views_are_the_mean_of_both(tmp_path: Path) -> None:
    job = job_of(tmp_path, views="two", trees=20)
    job = replace(job, expected=(1, 0, 0), relational=(False, True, True))
    assert fit_fold(job, 0)["views"] == 2
    one, two = boosters_of(job, 0)
    # Sharing bins does not carry a rule from one view to the other.
    assert two.feature_importance()[0] == 0 and (two.feature_importance()[1:] > 0).all()
    assert one.feature_importance()[0] > 0
    rows = np.load(job.rows)[:500]
    known = [b.predict(rows, raw_score=True) for b in (one, two)]
    assert np.abs(known[0] - known[1]).max() > 0.1
    image = np.ascontiguousarray(rows.T[:, None])
    found = score_tile(replace(job.model, boosters=2), 0, image)[0]
    np.testing.assert_allclose(found, np.mean(known, axis=0), atol=1e-6)
