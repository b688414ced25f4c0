from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import curves


def test_thinned_curve_lies_on_the_whole_one(rng: np.random.Generator) -> None:
    reference = rng.random(20_000) < 0.1
    probability = np.clip(0.3 * reference + 0.6 * rng.random(20_000), 0, 0.999)
    histogram = ScoreHistogram.empty()
    histogram.add(probability, reference)
    thin = curves.precision_recall(histogram, 0.4)
    assert 20 < len(thin["recall"]) < 400
    binned = np.floor(probability * 1000) / 1000
    precision, recall, threshold = precision_recall_curve(reference, binned)
    for t, p, r in zip(thin["threshold"], thin["precision"], thin["recall"], strict=True):
        k = np.searchsorted(threshold, t - 1e-9)
        assert abs(precision[k] - p) < 1e-3
        assert abs(recall[k] - r) < 1e-3


def test_class_histograms_sum_to_one(rng: np.random.Generator) -> None:
    made = curves.class_histogram(rng.normal(size=1000).astype(np.float32), rng.random(1000) < 0.2)
    for key in ("landslide", "other"):
        assert abs(sum(made[key]) - 1) < 2e-3
    assert len(made["edges"]) == len(made["other"]) + 1


def test_plain_has_no_nan() -> None:
    assert curves.plain(np.array([1.23456, np.nan, np.inf])) == [1.235, None, None]
