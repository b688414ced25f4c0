"""Permutation importance and dependence, against scikit-learn and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from pixel_world import SENSOR
from sklearn.base import BaseEstimator, ClassifierMixin

from l4s_ensemble.pixel import dependence as dependence_room
from l4s_ensemble.pixel.dependence import dependence, grid_of, telling_features
from l4s_ensemble.pixel.importance import _scores, donors_by_weight, permutation_importance
from l4s_ensemble.pixel.mixed_scores import mixed_scores
from l4s_ensemble.pixel.model import PixelModel, booster_file
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.pixel.unseen import UnseenRows, draw_unseen, probability_of_rows, systematic
from l4s_ensemble.run.scores import ScoreFile


def fitted_model(
    folder: Path, folds: int = 1, leaves: int = 15
) -> tuple[PixelModel, UnseenRows, list[Any]]:
    """Boosters on four features, one of them noise, and rows to ask them about."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2400, 4)).astype(np.float32)
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    y = (2 * x[:, 0] + x[:, 2] ** 2 + rng.normal(size=len(x)) > 1.5).astype(np.uint8)
    fold = (np.arange(len(x)) % folds).astype(np.int64)
    fitted = []
    for k in range(folds):
        model = lgb.LGBMClassifier(
            n_estimators=20, num_leaves=leaves, verbosity=-1, n_jobs=1, min_child_samples=5
        )
        rows = fold != k if folds > 1 else np.full(len(x), True)
        model.fit(x[rows], y[rows], feature_name=["f0", "f1", "f2", "f3"])
        model.booster_.save_model(folder / booster_file(k))
        fitted.append(model)
    pixel = PixelModel(
        folder, ("f0", "f1", "f2", "f3"), ("one", "one", "two", "noise"), SENSOR, folds, 0, 0
    )
    return pixel, UnseenRows(x, y, np.ones(len(x)), fold, np.arange(len(x))), fitted


@pytest.mark.parametrize("leaves", [15, 90])
def test_mixed_scores_are_those_of_the_mixed_rows(leaves: int, tmp_path: Path) -> None:
    model, sample, _ = fitted_model(tmp_path, leaves=leaves)
    rng = np.random.default_rng(1)
    rows, donors = sample.values[:70], sample.values[100:150]
    taken = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]) > 0
    donor = rng.integers(0, 50, (5, 70, 3)).astype(np.int32)
    found = mixed_scores(model, 0, rows, donors, taken, donor)
    for x in range(5):
        for k in range(3):
            mixed = np.where(taken[x], donors[donor[x, :, k]], rows)
            told = model.booster(0).predict(mixed, raw_score=True)
            np.testing.assert_allclose(found[x, :, k], told, atol=1e-12)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_importance_agrees_with_scikit_learn(tmp_path: Path) -> None:
    from sklearn.inspection import permutation_importance as of_sklearn

    model, sample, fitted = fitted_model(tmp_path)
    told = permutation_importance(model, sample, 0.5, model.features, seed=0, repeats=8)
    for key, scoring in (("f1_loss", "f1"), ("average_precision_loss", "average_precision")):
        known = of_sklearn(
            fitted[0], sample.values, sample.y, scoring=scoring, n_repeats=8, random_state=0
        )
        own = {f["name"]: f[key] for f in told["features"]}
        for i, name in enumerate(model.features):
            spread = max(4 * float(known.importances_std[i]), 2e-3)
            assert own[name] == pytest.approx(float(known.importances_mean[i]), abs=spread)
    assert told["features"][0]["name"] == "f0"
    by_group = {g["group"]: g for g in told["groups"]}
    assert [g["group"] for g in told["groups"]][-1] == "noise"
    assert by_group["one"]["features"] == 2
    assert by_group["one"]["f1_loss"] > by_group["two"]["f1_loss"] > 0.02
    again = permutation_importance(model, sample, 0.5, model.features, seed=0, repeats=8, jobs=2)
    assert again == told


def test_scores_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, f1_score

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500).astype(np.uint8)
    p = np.round(rng.random(500) * 0.6 + 0.3 * y, 2)
    w = rng.uniform(0.1, 9, 500)
    f1, average = _scores(p, y, w, 0.5)
    assert f1 == pytest.approx(f1_score(y, p >= 0.5, sample_weight=w))
    assert average == pytest.approx(average_precision_score(y, p, sample_weight=w))


def test_rows_are_only_asked_of_the_model_that_did_not_see_them(tmp_path: Path) -> None:
    model, sample, _ = fitted_model(tmp_path, folds=2)
    told = permutation_importance(model, sample, 0.5, ["f3"], seed=0)
    p = np.empty(len(sample))
    for k in range(2):
        own = sample.fold == k
        p[own] = model.booster(k).predict(sample.values[own])
    assert told["f1"] == pytest.approx(_scores(p, sample.y, sample.weight, 0.5)[0])


def test_donors_are_drawn_by_weight_and_a_permutation_if_equal() -> None:
    rng = np.random.default_rng(0)
    assert sorted(donors_by_weight(np.full(50, 0.3), rng)) == list(range(50))
    weight = np.append(np.full(40, 0.5), np.full(10, 8.0))
    drawn = np.bincount(donors_by_weight(weight, rng), minlength=50)
    assert drawn.sum() == 50
    assert np.abs(drawn - 50 * weight / weight.sum()).max() <= 1


def test_systematic_draws_have_the_chances_they_say() -> None:
    rng = np.random.default_rng(0)
    size = np.append(rng.uniform(0.2, 2, 60), 40.0)
    seen = np.zeros(61)
    for _ in range(3000):
        chosen, inclusion = systematic(size, 12, rng)
        assert len(chosen) == 12 == len(set(chosen.tolist()))
        seen[chosen] += 1
    every = np.ones(61)
    every[:60] = size[:60] * 11 / size[:60].sum()
    np.testing.assert_allclose(seen / 3000, every, atol=0.04)
    np.testing.assert_allclose(inclusion, every[chosen])
    assert systematic(size, 100, rng)[1].tolist() == [1.0] * 61


def test_the_sample_stands_for_all_pixels() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    y = rng.random(n) < 0.3
    weight = np.where(y, 1.0, rng.choice([2.0, 30.0], n))
    probability = np.clip(rng.beta(1, 8, n) + 0.5 * y, 0, 1)
    plan = PixelPlan(
        np.arange(n) // 10, np.zeros(n, np.int32), np.where(y, 0, 2).astype(np.uint8), weight,
        np.arange(n // 10), np.zeros((n // 10, 3), np.int64),
    )  # fmt: skip
    rows = np.stack([probability, np.arange(n)], axis=1).astype(np.float32)
    found = []
    for _ in range(20):
        sample = draw_unseen(plan, rows, plan.patch % 3, probability, 2000, rng)
        assert len(np.unique(sample.values, axis=0)) == len(sample) == 2000
        assert np.average(sample.y, weights=sample.weight) == pytest.approx(
            np.average(y, weights=weight)
        )
        p, w = sample.values[:, 0], sample.weight
        found.append([w[(p >= 0.3) & (sample.y == k)].sum() for k in (0, 1)])
    known = [weight[(probability >= 0.3) & (y == k)].sum() for k in (0, 1)]
    np.testing.assert_allclose(np.mean(found, axis=0), known, rtol=0.03)


def test_probability_of_rows_reads_the_right_pixels(tmp_path: Path) -> None:
    ids = np.array([3, 5, 8, 9, 11, 20])
    scores = ScoreFile(tmp_path / "oof.zarr", ids, (4, 4))
    logit = np.random.default_rng(0).normal(size=(6, 4, 4)).astype(np.float32)
    for block in scores.blocks():
        scores.write(block, logit[block])
    patch, pixel = np.array([3, 3, 9, 20, 20]), np.array([0, 7, 15, 2, 3], np.int32)
    plan = PixelPlan(
        patch, pixel, np.zeros(5, np.uint8), np.ones(5), ids, np.zeros((6, 3), np.int64)
    )
    at = np.searchsorted(ids, patch)
    known = 1 / (1 + np.exp(-logit.reshape(6, -1)[at, pixel]))
    np.testing.assert_allclose(probability_of_rows(scores, plan), known, rtol=1e-6)


def test_partial_dependence_is_that_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.inspection import partial_dependence

    class Logit(ClassifierMixin, BaseEstimator):
        """A classifier whose decision is the booster's logit."""

        classes_ = np.array([0, 1])

        def fit(self, x: Any, y: Any) -> Logit:
            self.fitted_ = True
            return self

        def decision_function(self, x: Any) -> Any:
            return model.booster(0).predict(x, raw_score=True)

    model, sample, _ = fitted_model(tmp_path)
    told, arrays = dependence(model, sample, ["f2", "f0"])
    assert [row["name"] for row in told["features"]] == ["f2", "f0"]
    for row in told["features"]:
        column = model.features.index(row["name"])
        grid = np.array(row["grid"])
        known = partial_dependence(
            Logit().fit(None, None), sample.values.astype(np.float64), [column], method="brute",
            response_method="decision_function", custom_values={column: grid},
        )  # fmt: skip
        np.testing.assert_allclose(row["pd"], known["average"][0], atol=1e-9)
    assert arrays["pd"].shape == (2, 1, arrays["grid"].shape[1])


def test_accumulated_effect_is_the_feature_own_part_of_a_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an additive function the effect is its part in x, whatever else goes with x."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2)).astype(np.float32)
    x[:, 1] = 0.9 * x[:, 0] + 0.3 * x[:, 1]
    model = PixelModel(tmp_path, ("u", "v"), ("a", "a"), SENSOR, 2, 0, 0)

    def additive(
        model: Any, fold: int, rows: Any, donors: Any, taken: Any, donor: Any, threads: int = 1
    ) -> Any:
        out = np.empty(donor.shape)
        for i, columns in enumerate(taken):
            for k in range(donor.shape[2]):
                z = np.where(columns, donors[donor[i, :, k]], rows)
                out[i, :, k] = np.sin(z[:, 0]) + 2 * z[:, 1] + fold
        return out

    monkeypatch.setattr(dependence_room, "mixed_scores", additive)
    y = (x[:, 0] > 1).astype(np.uint8)
    weight = rng.uniform(0.5, 2, len(x))
    sample = UnseenRows(x, y, weight, np.arange(len(x)) % 2, np.arange(len(x)))
    told, arrays = dependence(model, sample, ["u"])
    row = told["features"][0]
    grid = np.array(row["grid"])
    known = np.sin(grid)
    place = np.clip(np.searchsorted(grid, x[:, 0]) - 1, 0, len(grid) - 2)
    known -= np.average((known[place] + known[place + 1]) / 2, weights=weight)
    np.testing.assert_allclose(row["ale"], known, atol=1e-6)
    # Each fold's curve is centred on its own pixels, so a fold's level is not in it.
    assert np.abs(arrays["ale"][0, 0] - arrays["ale"][0, 1]).max() < 0.05
    np.testing.assert_allclose(np.diff(row["pd"]), np.diff(np.sin(grid)), atol=1e-6)
    np.testing.assert_allclose(arrays["pd"][0, 1] - arrays["pd"][0, 0], 1, atol=0.1)


def test_a_grid_is_fine_where_landslides_are() -> None:
    value = np.append(np.linspace(0, 1, 900), np.linspace(5, 6, 100)).astype(np.float32)
    y = (value > 3).astype(np.uint8)
    grid = grid_of(value, y, np.where(y == 1, 1.0, 10.0), 20)
    assert len(grid) <= 21
    assert grid[0] == 0 and grid[-1] == 6
    assert abs(int((grid > 3).sum()) - 10) <= 1
    assert grid_of(np.ones(5, np.float32), np.array([0, 1, 0, 1, 1]), np.ones(5)).tolist() == [1.0]


def test_telling_features_are_no_copies() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400))
    values = np.stack([a, np.exp(a), b, np.ones(400)], axis=1).astype(np.float32)
    size = np.array([3.0, 2.0, 1.0, 9.0])
    assert telling_features(["a", "exp_a", "b", "flat"], values * 0 + size, values) == ["a", "b"]
