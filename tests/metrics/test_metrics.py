"""Scores against scikit-learn, histograms against brute force, intervals against their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from l4s_ensemble.metrics import counts
from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index, sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, summarise


def synthetic(rng: np.random.Generator, tiles: int = 6, edge: int = 16):
    reference = rng.random((tiles, edge, edge)) < 0.15
    probability = np.clip(0.35 * reference + rng.random((tiles, edge, edge)) * 0.65, 0, 1)
    return probability, reference


def test_pooled_scores_agree_with_scikit_learn(rng):
    probability, reference = synthetic(rng)
    predicted = probability >= 0.5
    found = counts.score(predicted, reference)
    flat = (reference.ravel(), predicted.ravel())
    assert found["f1"] == pytest.approx(oracle.f1_score(*flat))
    assert found["precision"] == pytest.approx(oracle.precision_score(*flat))
    assert found["recall"] == pytest.approx(oracle.recall_score(*flat))
    assert found["iou"] == pytest.approx(oracle.jaccard_score(*flat))


def test_pooled_f1_is_not_the_mean_over_tiles():
    reference = np.zeros((2, 4, 4), bool)
    reference[0] = True  # one tile all landslide and found, one tile with a single false pixel
    predicted = reference.copy()
    predicted[1, 0, 0] = True
    assert counts.score(predicted, reference)["f1"] == pytest.approx(32 / 33)


def test_scores_of_nothing_are_zero_not_nan():
    empty = np.zeros((1, 3, 3), bool)
    assert counts.score(empty, empty) == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "iou": 0.0,
        "tp": 0,
        "fp": 0,
        "fn": 0,
        "tn": 9,
    }


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="shapes must be equal"):
        counts.count(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)))


def test_curve_equals_brute_force_at_every_threshold(rng):
    probability, reference = synthetic(rng)
    histogram = ScoreHistogram.empty(50)
    histogram.add(probability, reference)
    curve = histogram.curve()
    for k in (0, 1, 10, 25, 49):
        expected = counts.score(probability >= k / 50, reference)
        assert curve["f1"][k] == pytest.approx(expected["f1"])
        assert curve["recall"][k] == pytest.approx(expected["recall"])


def test_best_threshold_is_the_best_and_on_its_plateau(rng):
    probability, reference = synthetic(rng)
    histogram = ScoreHistogram.empty(200)
    histogram.add(probability, reference)
    best = histogram.best()
    every = [counts.score(probability >= k / 200, reference)["f1"] for k in range(200)]
    assert best.f1 == pytest.approx(max(every))
    assert best.plateau_low <= best.value <= best.plateau_high
    assert every[round(best.plateau_low * 200)] >= best.f1 - 0.01


def test_average_precision_agrees_with_scikit_learn(rng):
    probability, reference = synthetic(rng, tiles=3)
    binned = np.floor(probability * 1000) / 1000
    histogram = ScoreHistogram.empty(1000)
    histogram.add(probability, reference)
    expected = oracle.average_precision_score(reference.ravel(), binned.ravel())
    assert histogram.average_precision() == pytest.approx(expected, abs=1e-9)


def test_a_calibrated_score_shows_as_calibrated(rng):
    probability = rng.random((1, 600, 600))
    histogram = ScoreHistogram.empty(1000)
    histogram.add(probability, rng.random(probability.shape) < probability)
    assert histogram.expected_calibration_error() < 0.01
    histogram.add(probability, np.zeros(probability.shape, bool))
    assert histogram.expected_calibration_error() > 0.2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.integers(2, 997))
def test_bins_and_thresholds_agree(values, bins):
    p = np.array(values)
    k = np.arange(bins)[:, np.newaxis]
    np.testing.assert_array_equal(np.floor(p * bins) >= k, bin_index(p, bins) >= k)


def test_sigmoid_stays_finite_and_float32():
    out = sigmoid(np.array([-1e4, 0.0, 1e4]))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [0, 0.5, 1])


def test_tiles_pool_to_the_whole_and_survive_a_file(rng, tmp_path):
    probability, reference = synthetic(rng)
    tiles = TileHistograms.empty([5, 2, 9, 11, 12, 13], 100)
    for i in range(6):
        tiles.add(i, probability[i], reference[i])
    tiles.save(tmp_path / "t.npz")
    again = TileHistograms.load(tmp_path / "t.npz")
    whole = counts.count(probability >= 0.4, reference)
    for name in ("tp", "fp", "fn", "tn"):
        np.testing.assert_array_equal(getattr(again.counts(0.4), name), getattr(whole, name))
    histogram = ScoreHistogram.empty(100)
    histogram.add(probability, reference)
    np.testing.assert_array_equal(again.pooled().positive, histogram.positive)
    np.testing.assert_array_equal(again.subset([0, 2]).patch, [5, 9])


def test_summary_keeps_a_given_threshold_and_says_so(rng):
    probability, reference = synthetic(rng, tiles=12)
    tiles = TileHistograms.empty(range(12), 100)
    for i in range(12):
        tiles.add(i, probability[i], reference[i])
    given_one = summarise(tiles, range(12), threshold=0.9)
    chosen = summarise(tiles, range(12))
    assert given_one["threshold"] == 0.9 and not given_one["threshold_chosen_here"]
    assert chosen["threshold_chosen_here"] and chosen["f1"] >= given_one["f1"]
    assert chosen["f1_low"] <= chosen["f1"] <= chosen["f1_high"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_interval_holds_the_value_and_is_seeded(seed):
    rng = np.random.default_rng(seed)
    probability, reference = synthetic(rng, tiles=24, edge=8)
    c = counts.count(probability >= 0.45, reference)
    block = np.arange(24) // 2
    first = f1_interval(c, block, resamples=200, seed=1)
    assert first == f1_interval(c, block, resamples=200, seed=1)
    assert 0 <= first.low <= first.high <= 1
    assert first.blocks == 12


def test_blocks_of_like_tiles_widen_the_interval(rng):
    good, bad = [], []
    for _ in range(12):  # twelve blocks of four tiles; within a block all tiles are alike
        right = rng.random() < 0.5
        reference = np.zeros((4, 8, 8), bool)
        reference[:, :4] = True
        predicted = reference if right else ~reference
        good.append(predicted)
        bad.append(reference)
    c = counts.count(np.concatenate(good), np.concatenate(bad))
    by_block = f1_interval(c, np.repeat(np.arange(12), 4), seed=0)
    by_tile = f1_interval(c, np.arange(48), seed=0)
    assert by_block.high - by_block.low > 1.5 * (by_tile.high - by_tile.low)


def test_a_paired_gain_of_a_model_over_itself_is_exactly_zero(rng):
    probability, reference = synthetic(rng, tiles=12)
    c = counts.count(probability >= 0.5, reference)
    gain = f1_gain_interval(c, c, np.arange(12))
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    assert not gain.is_above_zero


@pytest.mark.parametrize(("blocks", "known"), [(9, False), (10, True)])
def test_fewer_than_ten_blocks_give_no_interval(rng, blocks, known):
    probability, reference = synthetic(rng, tiles=20)
    found = f1_interval(counts.count(probability >= 0.5, reference), np.arange(20) % blocks)
    assert (found.low is not None, found.high is not None) == (known, known)
    assert found.blocks == blocks
    assert found.is_above_zero == known
