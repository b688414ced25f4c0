from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import figures


def test_thinned_curve_lies_on_the_whole_one(rng: np.random.Generator) -> None:
    reference = rng.random(20_000) < 0.1
    probability = np.clip(0.3 * reference + 0.6 * rng.random(20_000), 0, 0.999)
    histogram = ScoreHistogram.empty()
    histogram.add(probability, reference)
    thin = figures.precision_recall_curve(histogram, 0.4)
    assert 20 < len(thin["recall"]) < 400
    binned = np.floor(probability * 1000) / 1000
    precision, recall, threshold = precision_recall_curve(reference, binned)
    for t, p, r in zip(thin["threshold"], thin["precision"], thin["recall"], strict=True):
        k = np.searchsorted(threshold, t - 1e-9)
        assert abs(precision[k] - p) < 1e-3
        assert abs(recall[k] - r) < 1e-3


def test_plain_has_no_nan() -> None:
    assert figures.plain(np.array([1.23456, np.nan, np.inf])) == [1.235, None, None]
