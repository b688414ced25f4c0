"""The meta-learner: what may move it, what may not, and which one is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import precision_recall_curve

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.error_auc import error_auc, error_histogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.learners import (
    LEARNERS,
    LIMIT,
    LOGIT_BINS,
    WEIGHTS,
    Learner,
    OutOfFold,
    choose_learner,
    count_jointly,
    cross_fit,
    weigh_by_f1,
)
from l4s_ensemble.stack.uncertainty import uncertainty

TILES, EDGE = 24, 24
FOLD = np.arange(TILES) % 3


def tiles_of(rng: np.random.Generator, of_pixel: float, of_unet: float) -> OutOfFold:
    """Tiles whose logits hold so much of the reference each."""
    y = rng.random((TILES, EDGE, EDGE)) < 0.2
    pixel, unet = (
        (strength * y + rng.normal(size=y.shape)).astype(np.float32)
        for strength in (of_pixel, of_unet)
    )
    return OutOfFold(pixel, unet, y, FOLD, np.arange(TILES))


def test_the_plain_mean_is_half_of_either_within_the_clip(rng):
    plain = Learner(kind="plain", weight_pixel=0.5)
    pixel, unet = rng.normal(0, 3, (2, 4, 8, 8))
    found = plain.predict_proba(pixel, unet)
    np.testing.assert_allclose(found, expit((pixel + unet) / 2), atol=1e-6)
    assert found.dtype == np.float32
    wild = plain.predict_proba(np.array([1e9, -1e9]), np.array([1e9, -1e9]))
    np.testing.assert_allclose(logit(wild.astype(float)), [LIMIT, -LIMIT], atol=0.05)


def test_the_joint_histogram_is_numpys(rng):
    data = tiles_of(rng, 12.0, 5.0)  # some logits are beyond the limits
    chosen = FOLD == 1
    found = count_jointly(data, {0: chosen, 1: ~chosen})
    edges = [np.array([0, 0.5, 1]), *[np.linspace(-LIMIT, LIMIT, LOGIT_BINS + 1)] * 2]
    for k, own in ((0, chosen), (1, ~chosen)):
        clipped = [np.clip(a[own].ravel(), -LIMIT, LIMIT) for a in (data.pixel, data.unet)]
        columns = np.stack([data.y[own].ravel(), *clipped], axis=1)
        expected, _ = np.histogramdd(columns, edges)
        # A logit on an edge may fall on either side of it in float32.
        assert np.abs(found[k] - expected).sum() <= 4
        assert found[k].sum() == own.sum() * EDGE**2


def test_the_weight_is_that_of_the_best_f1(rng):
    data = tiles_of(rng, 2.0, 1.2)
    found = weigh_by_f1(count_jointly(data, {0: FOLD >= 0})[0])

    def best_f1(weight: float) -> float:
        score = (weight * data.pixel + (1 - weight) * data.unet).ravel()
        precision, recall, _ = precision_recall_curve(data.y.ravel(), score)
        return float((2 * precision * recall / (precision + recall + 1e-9)).max())

    assert 0.5 < found < 0.9
    assert best_f1(found) > max(map(best_f1, WEIGHTS)) - 0.002
    assert best_f1(found) > max(best_f1(0.0), best_f1(1.0)) + 0.01


@pytest.mark.parametrize(("of_pixel", "of_unet", "weight"), [(3, -1, 1.0), (-1, 3, 0.0)])
def test_a_misleading_model_gets_no_weight(rng, of_pixel, of_unet, weight):
    data = tiles_of(rng, of_pixel, of_unet)
    found = weigh_by_f1(count_jointly(data, {0: FOLD >= 0})[0])
    assert found == pytest.approx(weight, abs=0.03)


def test_one_class_alone_is_refused(rng):
    data = tiles_of(rng, 1, 1)
    data.y[:] = False
    with pytest.raises(DataError, match="both classes"):
        cross_fit(data, ["weighted"])


def test_a_fold_is_scored_by_what_was_fitted_on_others_without_guard_tiles(rng):
    data = tiles_of(rng, 2.0, 1.0)
    whole, of_fold = cross_fit(data, ["weighted"])["weighted"]
    assert whole.weight_pixel == weigh_by_f1(count_jointly(data, {0: FOLD >= 0})[0])
    assert of_fold[1].weight_pixel == weigh_by_f1(count_jointly(data, {0: FOLD != 1})[0])
    data.pixel[FOLD == 1] = rng.normal(size=data.pixel[FOLD == 1].shape)  # no longer informative
    assert cross_fit(data, ["weighted"])["weighted"][1][1] == of_fold[1]

    allowed = {k: np.flatnonzero(k != FOLD) for k in range(3)}
    assert cross_fit(data, LEARNERS, allowed) == cross_fit(data, LEARNERS)
    few = {k: ids[:4] for k, ids in allowed.items()}
    guarded = cross_fit(data, ["weighted"], few)["weighted"][1]
    only = np.isin(np.arange(TILES), few[1])
    assert guarded[1].weight_pixel == weigh_by_f1(count_jointly(data, {0: only})[0])


def scored(reference: np.ndarray, noise: float, seed: int) -> TileHistograms:
    rng = np.random.default_rng(seed)
    out = TileHistograms.empty(range(len(reference)), 100)
    for i, mask in enumerate(reference):
        out.add(i, np.clip(0.5 * mask + noise * rng.random(mask.shape), 0, 1), mask)
    return out


@pytest.mark.parametrize(
    ("plain", "weighted", "blocks", "chosen"),
    [
        (0.8, 0.8, TILES, "plain"),  # within noise: the simpler one
        (1.0, 0.8, TILES, "weighted"),
        (0.8, 1.0, TILES, "plain"),
        (0.9, 0.7, 2, "weighted"),  # no interval, but far better
        (0.802, 0.8, 2, "plain"),  # no interval, and hardly better
    ],
)
def test_the_simplest_that_is_nearly_as_good_as_the_best_is_chosen(
    rng, plain, weighted, blocks, chosen
):
    reference = rng.random((TILES, EDGE, EDGE)) < 0.1
    tiles = {
        "weighted": scored(reference, weighted, 1),
        "plain": scored(reference, plain, 31 if blocks > 2 else 1),
        "pixel": scored(reference, 0.3, 3),
    }
    rows = choose_learner(tiles, np.arange(TILES) % blocks)
    assert [row["name"] for row in rows] == ["pixel", "plain", "weighted"]
    assert [row["name"] for row in rows if row["chosen"]] == [chosen]
    by_name = {row["name"]: row for row in rows}
    assert by_name["pixel"]["f1"] > by_name[chosen]["f1"] + 0.1  # compared, never chosen
    assert max(row["behind"]["value"] for row in rows if row["name"] != "pixel") >= 0
    assert by_name["pixel"]["behind"]["value"] < -0.1 and all(row["why"] for row in rows)


def test_uncertainty_is_highest_at_the_threshold_and_points_at_errors(rng):
    p = np.linspace(0, 1, 1001)
    found = uncertainty(p, 0.3)
    assert p[np.argmax(found)] == pytest.approx(0.3) and found.max() == pytest.approx(1)
    assert (np.diff(found[p < 0.3]) >= 0).all() and (np.diff(found[p > 0.3]) <= 0).all()
    assert found.min() >= 0 and found.dtype == np.float32
    probability = rng.random((64, 64))
    reference = rng.random((64, 64)) < probability
    histogram = error_histogram(uncertainty(probability, 0.5), reference, probability >= 0.5)
    assert error_auc(histogram) > 0.7
