from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import precision_recall_curve

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import curves


def test_correlation_is_spearmans(rng: np.random.Generator) -> None:
    values = np.round(rng.normal(size=(500, 4)), 1).astype(np.float32)
    values[:, 3] += 2 * values[:, 0]
    np.testing.assert_allclose(
        curves.correlation(values), spearmanr(values).statistic, atol=1e-9, rtol=0
    )


def test_a_constant_feature_correlates_with_nothing() -> None:
    values = np.stack([np.ones(50), np.arange(50)], axis=1).astype(np.float32)
    assert curves.correlation(values)[0, 1] == 0


def test_thinned_curve_lies_on_the_whole_one(rng: np.random.Generator) -> None:
    truth = rng.random(20_000) < 0.1
    probability = np.clip(0.3 * truth + 0.6 * rng.random(20_000), 0, 0.999)
    histogram = ScoreHistogram.empty()
    histogram.add(probability, truth)
    thin = curves.precision_recall(histogram, 0.4)
    assert 20 < len(thin["recall"]) < 400
    binned = np.floor(probability * 1000) / 1000
    precision, recall, threshold = precision_recall_curve(truth, binned)
    for t, p, r in zip(thin["threshold"], thin["precision"], thin["recall"], strict=True):
        k = np.searchsorted(threshold, t - 1e-9)
        assert abs(precision[k] - p) < 1e-3
        assert abs(recall[k] - r) < 1e-3


def test_class_histograms_sum_to_one(rng: np.random.Generator) -> None:
    made = curves.class_histogram(rng.normal(size=1000).astype(np.float32), rng.random(1000) < 0.2)
    for key in ("landslide", "other"):
        assert abs(sum(made[key]) - 1) < 2e-3
    assert len(made["edges"]) == len(made["other"]) + 1


def test_telling_features_are_not_copies(rng: np.random.Generator) -> None:
    a = rng.normal(size=400)
    values = np.stack([a, a + 1e-3, rng.normal(size=400)], axis=1).astype(np.float32)
    rows = [{"auc": 0.9}, {"auc": 0.89}, {"auc": 0.4}]
    assert curves.telling(rows, curves.correlation(values)) == [0, 2]


def test_plain_has_no_nan() -> None:
    assert curves.plain(np.array([1.23456, np.nan, np.inf])) == [1.235, None, None]
