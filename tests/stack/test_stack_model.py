"""The meta-learner: what may move it, what may not, and that its file is it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.metrics.error_auc import error_auc, error_histogram
from l4s_ensemble.stack.model import LIMIT, Learner, fit_weighted, load_learner
from l4s_ensemble.stack.uncertainty import uncertainty


def drawn(rng: np.random.Generator, of_pixel: float, of_unet: float, pixels: int = 20_000):
    """Logits that tell the truth each by so much, and the truth."""
    truth = rng.random(pixels) < 0.2
    pixel, unet = (
        (truth * strength + rng.normal(size=pixels)).astype(np.float32)
        for strength in (of_pixel, of_unet)
    )
    return pixel, unet, truth


def test_the_plain_mean_is_half_of_either_within_the_clip(rng):
    pixel, unet = rng.normal(0, 3, (2, 4, 8, 8))
    found = Learner().probability(pixel, unet)
    np.testing.assert_allclose(found, expit((pixel + unet) / 2), atol=1e-6)
    assert found.dtype == np.float32
    wild = Learner().probability(np.array([1e9, -1e9]), np.array([1e9, -1e9]))
    np.testing.assert_allclose(logit(wild.astype(float)), [LIMIT, -LIMIT], atol=0.05)


def test_where_no_weight_is_bounded_the_fit_is_scikit_learns(rng):
    pixel, unet, truth = drawn(rng, 2.0, 1.0)
    rows = np.stack([pixel, unet], axis=1)
    found = fit_weighted(pixel, unet, truth)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(
        StandardScaler().fit_transform(rows), truth
    )
    expected = oracle.predict_proba(StandardScaler().fit_transform(rows))[:, 1]
    np.testing.assert_allclose(found.probability(pixel, unet), expected, atol=2e-3)
    assert found.probability(pixel, unet).mean() == pytest.approx(truth.mean(), rel=0.01)


@pytest.mark.parametrize(("of_pixel", "of_unet", "weight"), [(2, -1, 1.0), (-1, 2, 0.0)])
def test_a_model_that_misleads_gets_weight_zero(rng, of_pixel, of_unet, weight):
    found = fit_weighted(*drawn(rng, of_pixel, of_unet))
    assert found.weight_pixel == weight
    higher = found.probability(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert higher[1] > higher[0]


def test_two_models_that_tell_nothing_leave_the_prevalence(rng):
    pixel, unet, truth = drawn(rng, -1, -1)
    found = fit_weighted(pixel, unet, truth)
    np.testing.assert_allclose(found.probability(pixel, unet), truth.mean(), rtol=0.02)


def test_one_class_alone_is_refused(rng):
    pixel, unet, truth = drawn(rng, 1, 1, 100)
    with pytest.raises(RunError, match="both classes"):
        fit_weighted(pixel, unet, truth & False)


def test_it_survives_its_file_and_refuses_another(rng, tmp_path):
    learner = fit_weighted(*drawn(rng, 2.0, 1.0))
    learner.save(tmp_path)
    assert load_learner(tmp_path) == learner
    path = tmp_path / "model.json"
    whole = json.loads(path.read_text())
    for change, message in (
        ({"format": 1}, "another version"),
        ({"kind": "trees"}, "not whole"),
        ({"temperature": "high"}, "not whole"),
    ):
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(ModelError, match=message):
            load_learner(tmp_path)
    path.write_text(json.dumps({k: v for k, v in whole.items() if k != "intercept"}))
    with pytest.raises(ModelError, match="not whole"):
        load_learner(tmp_path)


def test_uncertainty_is_highest_at_the_threshold_and_tells_errors(rng):
    p = np.linspace(0, 1, 1001)
    found = uncertainty(p, 0.3)
    assert p[np.argmax(found)] == pytest.approx(0.3) and found.max() == pytest.approx(1)
    assert (np.diff(found[p < 0.3]) >= 0).all() and (np.diff(found[p > 0.3]) <= 0).all()
    assert found.min() >= 0 and found.dtype == np.float32
    scored = rng.random((64, 64))
    truth = rng.random((64, 64)) < scored
    histogram = error_histogram(uncertainty(scored, 0.5), truth, scored >= 0.5)
    assert error_auc(histogram) > 0.7
