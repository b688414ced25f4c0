"""A threshold under another prevalence, and one that follows a scene without its masks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.decision import follow_shown, prevalence
from l4s_ensemble.stack.decision.follow import (
    LONGEST,
    METHODS,
    corrected,
    expected_f1,
    follow,
    shifted_prior,
)


def calibrated(rng: np.random.Generator, pixels: int, prior: float) -> ScoreHistogram:
    """Scores whose likelihood ratio is known, calibrated at a prior of .05 whatever `prior` is."""
    truth = rng.random(pixels) < prior
    x = rng.normal(np.where(truth, 2.5, 0.0), 1.0)
    z = 2.5 * x - 2.5**2 / 2 + np.log(0.05 / 0.95)
    histogram = ScoreHistogram.empty(1000)
    histogram.add(1 / (1 + np.exp(-z)), truth)
    return histogram


def pixels_of(histogram: ScoreHistogram) -> np.ndarray:
    return histogram.positive + histogram.negative


def f1_at(histogram: ScoreHistogram, threshold: float) -> float:
    return float(histogram.curve()["f1"][round(threshold * histogram.bins)])


def test_the_expected_f1_is_that_of_every_labelling_by_its_chance(rng):
    """Brute force over all labellings of ten pixels, numerator and denominator apart."""
    p = np.sort(rng.random(10))
    found = expected_f1(np.ones(10), p)
    for first in range(10):
        top = below = 0.0
        for y in itertools.product((0, 1), repeat=10):
            chance = np.prod(np.where(y, p, 1 - p))
            top += chance * 2 * sum(y[first:])
            below += chance * (10 - first + sum(y))
        assert found[first] == pytest.approx(top / below)


def test_no_other_set_of_pixels_has_a_better_expected_f1_than_the_best_cut(rng):
    p = np.sort(rng.random(9))
    best = max(
        2 * p[list(s)].sum() / (len(s) + p.sum())
        for n in range(1, 10)
        for s in itertools.combinations(range(9), n)
    )
    assert expected_f1(np.ones(9), p).max() == pytest.approx(best)


def test_the_best_cut_is_at_half_the_best_f1(rng):
    """Lipton, Elkan and Narayanaswamy 2014, theorem 1."""
    p = (np.arange(1000) + 0.5) / 1000
    f1 = expected_f1(rng.integers(1, 1000, 1000), p)
    assert np.argmax(f1) / 1000 == pytest.approx(f1.max() / 2, abs=1.5e-3)


@pytest.mark.parametrize("prior", [0.01, 0.05, 0.15])
def test_the_prior_of_a_scene_is_found_from_calibrated_scores(rng, prior):
    here = calibrated(rng, 300_000, prior)
    p = (np.arange(1000) + 0.5) / 1000
    p[0] = 2e-4  # what the pixels of the lowest bin score in the mean
    assert shifted_prior(pixels_of(here), p, 0.05) == pytest.approx(prior, rel=0.06)


def test_a_probability_is_corrected_by_the_odds_of_the_priors():
    p = np.array([0.0, 0.2, 0.5, 1.0])
    new = corrected(p, 0.5, 0.8)
    np.testing.assert_allclose(new, [0, 0.5, 0.8, 1])
    np.testing.assert_allclose(corrected(new, 0.8, 0.5), p, atol=1e-12)


BY_SHIFT = [m for m in METHODS if m != "unlike"]
"""Methods that believe the probabilities of a scene, once its prior is known."""


@pytest.mark.parametrize("method", BY_SHIFT)
def test_scores_like_those_of_training_move_nothing(rng, method):
    source = calibrated(rng, 200_000, 0.05)
    for times in (1, 3):
        found = follow(source, times * pixels_of(source), 0.331, method)
        assert found.threshold == 0.331
        assert found.kept_because is None
        assert found.prior_here == pytest.approx(found.prior_training, rel=1e-4)


@pytest.mark.parametrize(("prior", "way"), [(0.015, 1), (0.12, -1)])
def test_under_label_shift_em_finds_the_threshold_and_more_than_the_rest(rng, prior, way):
    source, here = calibrated(rng, 400_000, 0.05), calibrated(rng, 400_000, prior)
    carried = source.best().value
    found = {m: follow(source, pixels_of(here), carried, m) for m in METHODS}
    assert way * (found["em"].threshold - carried) > 0.02
    assert f1_at(here, found["em"].threshold) > f1_at(here, carried)
    assert f1_at(here, found["em"].threshold) > here.best().f1 - 0.003
    assert f1_at(here, found["em"].threshold) > f1_at(here, found["quantile"].threshold)
    between = sorted([carried, found["em"].threshold])
    assert between[0] < found["shrunk"].threshold < between[1]


def test_the_same_share_is_called_by_quantile(rng):
    source, here = calibrated(rng, 400_000, 0.05), calibrated(rng, 400_000, 0.08)
    carried = source.best().value
    cut = round(1000 * follow(source, pixels_of(here), carried, "quantile").threshold)
    share = pixels_of(here)[cut:].sum() / pixels_of(here).sum()
    wanted = pixels_of(source)[round(1000 * carried) :].sum() / pixels_of(source).sum()
    assert share == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("method", BY_SHIFT)
def test_the_threshold_stays_where_the_scores_tell_nothing(rng, method):
    source = calibrated(rng, 200_000, 0.05)
    few = follow(source, calibrated(rng, 20_000, 0.3).positive, 0.3, method)
    assert few.threshold == 0.3
    assert few.kept_because == "too few pixels"
    unlike = np.zeros(1000, int)
    unlike[480:520] = 10_000
    strange = follow(source, unlike, 0.3, method)
    assert strange.threshold == 0.3
    assert strange.kept_because is not None
    assert follow(source, unlike, 0.3, method, guarded=False).kept_because is None
    one_class = ScoreHistogram(0 * source.positive, source.negative)
    assert follow(one_class, pixels_of(source), 0.3, method).threshold == 0.3


@pytest.mark.parametrize("method", METHODS)
def test_no_move_is_longer_than_allowed(rng, method):
    source = calibrated(rng, 200_000, 0.05)
    for prior in (0.008, 0.02, 0.2, 0.35):
        found = follow(source, pixels_of(calibrated(rng, 200_000, prior)), 0.3, method)
        move = np.log(found.threshold / (1 - found.threshold)) - np.log(0.3 / 0.7)
        assert abs(move) <= LONGEST + 0.01


def squeezed(histogram: ScoreHistogram, by: float) -> ScoreHistogram:
    """The same scores moved by some log-odds: their order is kept, their meaning lost."""
    z = np.log((np.arange(1000) + 0.5) / (999.5 - np.arange(1000))) + by
    there = np.clip((1000 / (1 + np.exp(-z))).astype(int), 0, 999)
    both = (histogram.positive, histogram.negative)
    return ScoreHistogram(
        *(np.bincount(there, weights=part, minlength=1000).astype(np.int64) for part in both)
    )


@pytest.mark.parametrize("by", [-3.0, 2.0])
def test_where_probabilities_mean_nothing_their_order_finds_the_threshold(rng, by):
    source = calibrated(rng, 400_000, 0.05)
    here = squeezed(calibrated(rng, 400_000, 0.06), by)
    carried = source.best().value
    found = follow(source, pixels_of(here), carried, "unlike")
    assert f1_at(here, found.threshold) > f1_at(here, carried) + 0.05
    assert f1_at(here, found.threshold) > here.best().f1 - 0.02
    kept = follow(source, pixels_of(here), carried, "em")
    assert kept.threshold == carried and kept.kept_because is not None


@pytest.mark.parametrize("prior", [0.02, 0.05, 0.12])
def test_scores_that_another_prior_explains_keep_the_threshold(rng, prior):
    source = calibrated(rng, 400_000, 0.05)
    found = follow(source, pixels_of(calibrated(rng, 400_000, prior)), 0.3, "unlike")
    assert found.threshold == 0.3
    assert found.kept_because == "scores like those of training"


def test_a_wrong_method_or_other_bins_are_named():
    reference = ScoreHistogram.empty(100)
    with pytest.raises(ModelError, match="of that name"):
        follow(reference, np.zeros(100, int), 0.5, "guess")
    with pytest.raises(ModelError, match="other bins"):
        follow(reference, np.zeros(50, int), 0.5, "em")


def test_another_prevalence_is_as_if_landslide_pixels_were_drawn_more_often(rng):
    one = calibrated(rng, 100_000, 0.05)
    rows = prevalence.rows(one, 0.3, (1.0, 2.0))
    now = one.positive.sum() / pixels_of(one).sum()
    assert rows[0]["f1"] == pytest.approx(f1_at(one, 0.3))
    assert rows[0]["f1_best"] == pytest.approx(one.best().f1)
    assert (rows[0]["plateau_low"], rows[0]["plateau_high"]) == (
        one.best().plateau_low,
        one.best().plateau_high,
    )
    times = 1000 * 2 * now / (1 - 2 * now) / (now / (1 - now))
    copied = ScoreHistogram(round(times) * one.positive, 1000 * one.negative)
    assert rows[1]["prevalence"] == pytest.approx(2 * now)
    assert rows[1]["f1"] == pytest.approx(f1_at(copied, 0.3), abs=1e-3)
    assert rows[1]["threshold_best"] == pytest.approx(copied.best().value, abs=0.01)
    assert rows[1]["lost"] >= 0
    assert prevalence.rows(ScoreHistogram.empty(100), 0.3) == []


def scenes(rng: np.random.Generator, priors: tuple[float, ...]) -> tuple[TileHistograms, ...]:
    """Rows of 40,000 pixels, six a scene."""
    place = np.repeat(np.arange(len(priors)), 6)
    tiles = TileHistograms.empty(np.arange(len(place)), 1000)
    for i, p in enumerate(place):
        one = calibrated(rng, 40_000, priors[p])
        tiles.positive[i], tiles.negative[i] = one.positive, one.negative
    return tiles, place


def test_following_is_shown_where_scenes_differ_in_prior_and_not_where_they_are_alike(rng):
    tiles, place = scenes(rng, (0.02, 0.05, 0.12))
    block = np.arange(len(place))
    table = {r["method"]: r for r in follow_shown.compare(tiles, place, block, resamples=200)}
    assert table["em"]["shown"]
    assert table["em"]["gain"] > 0.005
    method, _ = follow_shown.chosen(list(table.values()), "unseen scene")
    assert method == "em"
    assert follow_shown.chosen(list(table.values()), "scene")[0] is None
    tiles, place = scenes(rng, (0.05, 0.05, 0.05))
    alike = follow_shown.compare(tiles, place, block, resamples=200)
    assert follow_shown.chosen(alike, "unseen scene")[0] is None
    assert follow_shown.compare(tiles, np.zeros(18, int), block) == []


def test_masks_of_the_place_left_out_only_judge(rng):
    tiles, place = scenes(rng, (0.02, 0.05, 0.12))
    there = place == 2
    before = follow_shown.judged(tiles.subset(~there), tiles.subset(there), "em")[0]
    swapped = tiles.subset(there)
    swapped.positive, swapped.negative = swapped.negative, swapped.positive
    after = follow_shown.judged(tiles.subset(~there), swapped, "em")[0]
    assert after["threshold"] == before["threshold"]
    assert after["f1_followed"] != before["f1_followed"]


def test_places_are_scenes_where_there_are_several_large_ones():
    fold = np.array([0, 0, 1, 1])
    large = np.full(4, 70_000)
    place, kind = follow_shown.places([1, 1, 2, 2], fold, large)
    assert (place.tolist(), kind) == ([1, 1, 2, 2], "unseen scene")
    assert follow_shown.places([1, 2, 1, 2], fold, large)[1] == "scene"
    assert follow_shown.places([1, 1, 2, 2], fold, [70_000, 1, 1, 1])[1] == "fold"
    place, kind = follow_shown.places([1, 2, -1, -1], fold, large)
    assert (place.tolist(), kind) == ([1, 2, -1, -1], "unseen scene")
    assert follow_shown.places(None, fold, large)[1] == "fold"
