"""Whether probabilities mean what they say, before and after a correction."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.reliability import calibration, fit_beta, fit_isotonic
from l4s_ensemble.metrics.tiles import TileHistograms


def skewed(folds: int = 4, tiles: int = 24) -> tuple[TileHistograms, np.ndarray]:
    """Scores whose logits are twice too far from zero."""
    rng = np.random.default_rng(0)
    found = TileHistograms.empty(np.arange(tiles))
    for i in range(tiles):
        z = rng.normal(-2.5, 2, 4000)
        y = rng.random(4000) < 1 / (1 + np.exp(-z))
        found.add(i, 1 / (1 + np.exp(-2 * z)), y)
    return found, np.arange(tiles) % folds


def test_a_cross_fitted_correction_repairs_what_is_skewed() -> None:
    tiles, fold = skewed()
    told = calibration(tiles, fold)
    maps = {m["name"]: m for m in told["maps"]}
    assert list(maps) == ["as scored", "beta", "isotonic"]
    before = maps["as scored"]
    for name in ("beta", "isotonic"):
        after = maps[name]
        assert after["expected_calibration_error"] < 0.25 * before["expected_calibration_error"]
        assert after["brier"] < before["brier"]
        assert after["log_loss"] < before["log_loss"]
        # Lipton et al.: of calibrated scores the best threshold is half the best F1.
        assert abs(after["off_half"]) < 0.03 < abs(before["off_half"])
        assert after["f1_at_half"] > after["f1_best"] - 0.005


def test_numbers_before_are_those_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss, log_loss

    tiles, fold = skewed(tiles=4)
    before = calibration(tiles, fold)["maps"][0]
    pooled = tiles.pooled()
    middle = (np.arange(pooled.bins) + 0.5) / pooled.bins
    p = np.concatenate([np.repeat(middle, pooled.positive), np.repeat(middle, pooled.negative)])
    y = np.repeat([1, 0], [pooled.positive.sum(), pooled.negative.sum()])
    assert before["brier"] == pytest.approx(brier_score_loss(y, p))
    assert before["log_loss"] == pytest.approx(log_loss(y, p))
    observed, predicted = calibration_curve(y, p, n_bins=20)
    told = before["reliability"]
    there = [i for i, n in enumerate(told["pixels"]) if n]
    np.testing.assert_allclose([told["observed"][i] for i in there], observed)
    np.testing.assert_allclose([told["predicted"][i] for i in there], predicted)


def test_corrections_are_those_of_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    tiles, _ = skewed(tiles=3)
    pooled = tiles.pooled()
    middle = (np.arange(pooled.bins) + 0.5) / pooled.bins
    p = np.concatenate([np.repeat(middle, pooled.positive), np.repeat(middle, pooled.negative)])
    y = np.repeat([1, 0], [pooled.positive.sum(), pooled.negative.sum()])
    grid = np.linspace(0.01, 0.99, 50)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    np.testing.assert_allclose(fit_isotonic(pooled)(grid), isotonic.predict(grid), atol=1e-9)
    terms = np.stack([np.log(p), -np.log1p(-p)], axis=1)
    beta = LogisticRegression(C=1e9, tol=1e-9, max_iter=2000).fit(terms, y)
    known = beta.predict_proba(np.stack([np.log(grid), -np.log1p(-grid)], axis=1))[:, 1]
    np.testing.assert_allclose(fit_beta(pooled)(grid), known, atol=1e-4)


def test_no_tile_corrects_itself() -> None:
    tiles, fold = skewed()
    changed = TileHistograms(tiles.patch, tiles.positive.copy(), tiles.negative.copy())
    own = fold == 2
    changed.positive[own], changed.negative[own] = tiles.negative[own], tiles.positive[own]
    others = tiles.subset(~own).pooled()
    for fit in (fit_beta, fit_isotonic):
        curve = fit(changed.subset(~own).pooled())(np.linspace(0, 1, 11))
        np.testing.assert_array_equal(curve, fit(others)(np.linspace(0, 1, 11)))
    # One fold of tiles whose labels are turned round is not set right by its own labels.
    assert calibration(changed, fold)["maps"][2]["brier"] > 0.15


def test_a_histogram_of_one_class_is_left_alone() -> None:
    one = ScoreHistogram.empty(10)
    one.add(np.array([0.2, 0.7]), np.zeros(2))
    assert fit_beta(one)(np.array([0.3]))[0] == 0.3
    assert fit_isotonic(ScoreHistogram.empty(10))(np.array([0.3]))[0] == 0.3
