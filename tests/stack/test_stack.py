"""The meta-learner: its inputs, its file, and that two unlike models beat either."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack import agreement, inputs, ledger
from l4s_ensemble.stack.meta import fit_logistic
from l4s_ensemble.stack.model import LogisticStack

WINDOWS = (3, 9)


def pair(rng: np.random.Generator, edge: int = 32):
    return rng.normal(-3, 2, (edge, edge)), rng.normal(-3, 2, (edge, edge))


def test_inputs_are_what_their_names_say(rng):
    pixel, unet = pair(rng)
    layers = dict(zip(inputs.names(WINDOWS), inputs.compute(pixel, unet, WINDOWS), strict=True))
    np.testing.assert_allclose(layers["logit_pixel"], pixel, rtol=1e-6)
    np.testing.assert_allclose(layers["lower_logit"], np.minimum(pixel, unet), rtol=1e-6)
    inner = pixel[10 - 4 : 10 + 5, 20 - 4 : 20 + 5].mean()
    assert layers["mean9_logit_pixel"][10, 20] == pytest.approx(inner, rel=1e-4)


def test_inputs_turn_with_the_tile(rng):
    pixel, unet = pair(rng)
    straight = inputs.compute(pixel, unet, WINDOWS)
    turned = inputs.compute(np.rot90(pixel), np.rot90(unet), WINDOWS)
    np.testing.assert_allclose(np.rot90(straight, axes=(1, 2)), turned, atol=1e-4)


def test_inputs_stay_finite_at_extremes():
    wild = np.full((8, 8), 1e9)
    assert np.isfinite(inputs.compute(wild, -wild, WINDOWS)).all()


def fitted(rng: np.random.Generator) -> tuple[LogisticStack, np.ndarray, np.ndarray, np.ndarray]:
    """Two noisy views of one truth, with independent noise."""
    truth = np.zeros((64, 64), bool)
    truth[8:20, 8:30] = truth[40:50, 40:60] = True
    signal = np.where(truth, 1.0, -3.0)
    pixel, unet = (signal + rng.normal(0, 2, truth.shape) for _ in range(2))
    rows = inputs.compute(pixel, unet, WINDOWS).reshape(len(inputs.names(WINDOWS)), -1).T
    settings = StackConfig(windows_px=WINDOWS)
    return fit_logistic(rows, truth.ravel(), settings), pixel, unet, truth


def best_f1(probability: np.ndarray, truth: np.ndarray) -> float:
    tiles = TileHistograms.empty([1])
    tiles.add(0, probability, truth)
    return tiles.pooled().best().f1


def test_the_stack_beats_either_base_where_their_errors_differ(rng):
    model, pixel, unet, truth = fitted(rng)
    stacked = best_f1(model.probability(pixel, unet), truth)
    assert stacked > best_f1(expit(pixel), truth) + 0.05
    assert stacked > best_f1(expit(unet), truth) + 0.05


def test_the_stack_is_calibrated_on_what_it_was_fitted_on(rng):
    model, pixel, unet, truth = fitted(rng)
    probability = model.probability(pixel, unet)
    assert probability.mean() == pytest.approx(truth.mean(), abs=0.01)


def test_where_no_weight_is_bounded_the_fit_is_scikit_learns(rng):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    truth = rng.random(4000) < 0.2
    rows = (truth[:, None] * [2.0, 1.0, 0.5] + rng.normal(size=(4000, 3))).astype(np.float32)
    settings = StackConfig(windows_px=())
    found = fit_logistic(rows, truth, settings)
    scaled = StandardScaler().fit_transform(rows)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(scaled, truth)
    np.testing.assert_allclose(found.coefficient, oracle.coef_[0], rtol=2e-3)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=2e-3)


def test_a_model_that_misleads_gets_weight_zero(rng):
    truth = rng.random(4000) < 0.2
    good = truth * 2.0 + rng.normal(size=4000)
    bad = truth * -1.0 + rng.normal(size=4000)
    rows = np.stack([good, bad, np.minimum(good, bad)], axis=1).astype(np.float32)
    found = fit_logistic(rows, truth, StackConfig(windows_px=()))
    assert found.coefficient[0] > 0.5 and found.coefficient[1] == 0
    assert min(found.coefficient) >= 0


def test_the_model_survives_its_file_and_refuses_another(rng, tmp_path):
    model, pixel, unet, _ = fitted(rng)
    path = tmp_path / "model.json"
    model.save(path)
    again = LogisticStack.load(path)
    assert again == model
    np.testing.assert_array_equal(again.probability(pixel, unet), model.probability(pixel, unet))
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "names": value["names"][::-1]}))
    with pytest.raises(ModelError, match="inputs are not those"):
        LogisticStack.load(path)
    path.write_text(json.dumps({**value, "format": 99}))
    with pytest.raises(ModelError, match="another version"):
        LogisticStack.load(path)


def test_one_class_alone_is_refused(rng):
    rows = rng.normal(size=(100, len(inputs.names(WINDOWS)))).astype(np.float32)
    with pytest.raises(RunError, match="both classes"):
        fit_logistic(rows, np.zeros(100, bool), StackConfig(windows_px=WINDOWS))


def test_ledger_gain_is_over_the_better_base(rng):
    truth = rng.random((6, 16, 16)) < 0.2
    noise = {"pixel": 1.5, "unet": 1.1, "mean": 0.9, "stack": 0.2}
    tiles = {name: TileHistograms.empty(range(6), 100) for name in ledger.MODELS}
    for name, scored in tiles.items():
        for i in range(6):
            p = np.clip(truth[i] * 0.6 + rng.random((16, 16)) * noise[name], 0, 1)
            scored.add(i, p, truth[i])
    table = ledger.rows(tiles, np.arange(6), resamples=200)
    found = ledger.gain(tiles, table, np.arange(6), resamples=200)
    by_name = {row["model"]: row for row in table}
    assert found["over"] == "unet"
    assert found["value"] == pytest.approx(by_name["stack"]["f1"] - by_name["unet"]["f1"])
    assert found["shown"]


def test_agreement_counts_each_pixel_of_interest_once(rng):
    p, u, t = (rng.random((20, 20)) < 0.3 for _ in range(3))
    counted = agreement._Tallies()
    agreement.count(counted, t, p, u)
    found = agreement.total(agreement.rows_of(counted))
    assert sum(found.values()) == int((p | u | t).sum())
    assert found["only_pixel"] == int(((p == t) & (u != t) & (p | u | t)).sum())
