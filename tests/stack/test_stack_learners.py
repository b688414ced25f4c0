"""The meta-learner: what may move it, what may not, and which one is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from l4s_ensemble.errors import DataError
from l4s_ensemble.metrics.error_auc import error_auc, error_histogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.learners import (
    LIMIT,
    PLAIN,
    OutOfFold,
    choose_learner,
    cross_fit,
    draw,
    fit_weighted,
)
from l4s_ensemble.stack.uncertainty import uncertainty

TILES, EDGE = 24, 24
FOLD = np.arange(TILES) % 3


def drawn(rng: np.random.Generator, of_pixel: float, of_unet: float, pixels: int = 20_000):
    """Logits (pixel, 2) that hold so much of the reference each, and the reference."""
    reference = rng.random(pixels) < 0.2
    strength = reference[:, np.newaxis] * [of_pixel, of_unet]
    return (strength + rng.normal(size=(pixels, 2))).astype(np.float32), reference


def test_the_plain_mean_is_half_of_either_within_the_clip(rng):
    pixel, unet = rng.normal(0, 3, (2, 4, 8, 8))
    found = PLAIN.predict_proba(pixel, unet)
    np.testing.assert_allclose(found, expit((pixel + unet) / 2), atol=1e-6)
    assert found.dtype == np.float32
    wild = PLAIN.predict_proba(np.array([1e9, -1e9]), np.array([1e9, -1e9]))
    np.testing.assert_allclose(logit(wild.astype(float)), [LIMIT, -LIMIT], atol=0.05)


def test_where_no_weight_is_bounded_the_fit_is_scikit_learns(rng):
    logits, reference = drawn(rng, 2.0, 1.0)
    rows = StandardScaler().fit_transform(logits)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(rows, reference)
    found = fit_weighted(logits, reference).predict_proba(*logits.T)
    np.testing.assert_allclose(found, oracle.predict_proba(rows)[:, 1], atol=2e-3)
    assert found.mean() == pytest.approx(reference.mean(), rel=0.01)


@pytest.mark.parametrize(("of_pixel", "of_unet", "weight"), [(2, -1, 1.0), (-1, 2, 0.0)])
def test_a_misleading_model_gets_no_weight(rng, of_pixel, of_unet, weight):
    found = fit_weighted(*drawn(rng, of_pixel, of_unet))
    assert found.weight_pixel == weight
    higher = found.predict_proba(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert higher[1] > higher[0]


def test_two_uninformative_models_leave_the_prevalence(rng):
    logits, reference = drawn(rng, -1, -1)
    found = fit_weighted(logits, reference).predict_proba(*logits.T)
    np.testing.assert_allclose(found, reference.mean(), rtol=0.02)


def test_one_class_alone_is_refused(rng):
    logits, reference = drawn(rng, 1, 1, 100)
    with pytest.raises(DataError, match="both classes"):
        fit_weighted(logits, reference & False)


def test_pixels_are_drawn_tile_by_tile_and_guard_tiles_are_left_out(rng):
    y = rng.random((TILES, EDGE, EDGE)) < 0.2
    logits = (np.where(y, 2.0, -2.0) + rng.normal(0, 3, (2, *y.shape))).astype(np.float32)
    data = OutOfFold(*logits, y, FOLD, np.arange(TILES))
    sample = draw(data, seed=4, size=2000)
    tiles, each = np.unique(sample.tile, return_counts=True)
    assert len(tiles) == TILES and set(each) == {2000 // TILES}
    assert np.isin(sample.logits[sample.tile == 3], logits[:, 3]).all()
    some = OutOfFold(*logits[:, 5:], y[5:], FOLD[5:], np.arange(5, TILES))
    same = draw(some, seed=4, size=2000 // TILES * len(some.fold))
    np.testing.assert_array_equal(same.logits, sample.logits[sample.tile >= 5])

    allowed = {k: np.flatnonzero(k != FOLD) for k in range(3)}
    few = {k: ids[:4] for k, ids in allowed.items()}
    _, guarded = cross_fit("weighted", sample, few)
    keep = np.isin(sample.tile, few[1])
    assert guarded[1] == fit_weighted(sample.logits[keep], sample.reference[keep])
    assert cross_fit("weighted", sample, allowed) == cross_fit("weighted", sample)
    assert guarded[1] != cross_fit("weighted", sample)[1][1]


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
def test_the_simplest_within_noise_of_the_best_is_chosen(rng, plain, weighted, blocks, chosen):
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
    assert by_name[chosen]["gain"]["value"] == 0
    assert by_name["pixel"]["gain"]["shown"] and all(row["why"] for row in rows)


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
