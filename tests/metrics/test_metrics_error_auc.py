"""Areas for error against scikit-learn, and risk-coverage by sorting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from l4s_ensemble.metrics.error_auc import BINS, SHARES, error_auc, error_histogram, risk_coverage


@pytest.fixture(scope="module")
def pixels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Uncertainty, reference and call of pixels; wrong ones tend to be less sure."""
    rng = np.random.default_rng(3)
    n = 30000
    reference = rng.random(n) < 0.1
    predicted = reference ^ (rng.random(n) < 0.08)
    u = np.clip(0.05 + 0.2 * (reference != predicted) + 0.3 * rng.random(n) ** 2, 0, 1)
    return u, reference, predicted


def test_the_area_is_scikit_learns(pixels) -> None:
    u, reference, predicted = pixels
    histogram = error_histogram(u, reference, predicted)
    assert histogram.sum() == len(u)
    assert error_auc(histogram) == pytest.approx(roc_auc_score(reference != predicted, u), abs=5e-4)
    assert error_auc(error_histogram(u, reference, reference)) is None


def test_values_on_the_bins_give_the_area_to_the_last_digit(pixels) -> None:
    _, reference, predicted = pixels
    coarse = (np.random.default_rng(0).integers(0, BINS, len(reference)) + 0.5) / BINS
    histogram = error_histogram(coarse**2, reference, predicted)
    assert error_auc(histogram) == pytest.approx(roc_auc_score(reference != predicted, coarse))


def test_risk_coverage_by_sorting(pixels) -> None:
    u, reference, predicted = pixels
    rows = risk_coverage(error_histogram(u, reference, predicted))
    order = np.argsort(-u)
    for share, row in zip(SHARES, rows, strict=True):
        seen = np.zeros(len(u), bool)
        seen[order[: round(share * len(u))]] = True
        assert row["share"] == share
        assert row["f1_rest"] == pytest.approx(
            f1_score(reference[~seen], predicted[~seen]), abs=3e-3
        )
        helped = np.where(seen, reference, predicted)
        assert row["f1_helped"] == pytest.approx(f1_score(reference, helped), abs=3e-3)
        wrong = reference != predicted
        assert row["errors_seen"] == pytest.approx((wrong & seen).sum() / wrong.sum(), abs=3e-3)
    assert rows[-1]["f1_helped"] > rows[0]["f1_helped"] + 0.1
    none = np.zeros((4, 10), int)
    known = {"f1_rest": None, "f1_helped": None, "errors_seen": None}
    assert risk_coverage(none) == [{"share": share, **known} for share in SHARES]


def test_where_nothing_that_is_left_is_called_there_is_no_f1() -> None:
    """A miss that nobody looks at is no score of 0: there is nothing to be precise about."""
    u = np.array([0.1, 0.2, 0.2, 0.2, 0.9])
    rows = risk_coverage(error_histogram(u, np.array([0, 0, 0, 1, 1]) > 0, u > 0.5))
    assert rows[0]["f1_rest"] == pytest.approx(2 / 3)
    assert rows[-1]["share"] == 0.2 and rows[-1]["f1_rest"] is None
    assert rows[-1]["f1_helped"] == pytest.approx(2 / 3)
