"""Corrections of probabilities are those of scikit-learn."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.reliability import fit_beta, fit_isotonic


def skewed(tiles: int = 3) -> ScoreHistogram:
    """Scores whose logits are twice too far from zero."""
    rng = np.random.default_rng(0)
    found = ScoreHistogram.empty()
    for _ in range(tiles):
        z = rng.normal(-2.5, 2, 4000)
        found.add(1 / (1 + np.exp(-2 * z)), rng.random(4000) < 1 / (1 + np.exp(-z)))
    return found


def test_corrections_are_those_of_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    pooled = skewed()
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


def test_a_histogram_of_one_class_is_left_alone() -> None:
    one = ScoreHistogram.empty(10)
    one.add(np.array([0.2, 0.7]), np.zeros(2))
    assert fit_beta(one)(np.array([0.3]))[0] == 0.3
    assert fit_isotonic(ScoreHistogram.empty(10))(np.array([0.3]))[0] == 0.3
