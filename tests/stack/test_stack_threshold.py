"""The threshold of a scene, a threshold under another prevalence, the smallest landslide."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.stack.threshold import (
    choose_smallest,
    lost_at,
    remove_small,
    scene_threshold,
    shifted_prior,
)

EDGE, TILES = 48, 24
FOLD = np.repeat(np.arange(3), TILES // 3)
BLOCK = np.arange(TILES) // 2


def calibrated(rng: np.random.Generator, pixels: int, prior: float) -> ScoreHistogram:
    """Scores whose likelihood ratio is known, calibrated at a prior of .05 whatever `prior` is."""
    reference = rng.random(pixels) < prior
    x = rng.normal(np.where(reference, 2.5, 0.0), 1.0)
    z = 2.5 * x - 2.5**2 / 2 + np.log(0.05 / 0.95)
    histogram = ScoreHistogram.empty(1000)
    histogram.add(1 / (1 + np.exp(-z)), reference)
    return histogram


def pixels_of(histogram: ScoreHistogram) -> np.ndarray:
    return histogram.positive + histogram.negative


def f1_at(histogram: ScoreHistogram, threshold: float) -> float:
    return float(histogram.curve()["f1"][round(threshold * histogram.bins)])


@pytest.mark.parametrize("prior", [0.01, 0.05, 0.15])
def test_the_prior_of_a_scene_is_found_from_calibrated_scores(rng, prior):
    here = calibrated(rng, 300_000, prior)
    p = (np.arange(1000) + 0.5) / 1000
    p[0] = 2e-4  # what the pixels of the lowest bin score in the mean
    assert shifted_prior(pixels_of(here), p, 0.05) == pytest.approx(prior, rel=0.06)


@pytest.mark.parametrize("prior", [0.02, 0.05, 0.12])
def test_scores_that_another_prior_explains_keep_the_threshold(rng, prior):
    source = calibrated(rng, 400_000, 0.05)
    found = scene_threshold(source, pixels_of(calibrated(rng, 400_000, prior)), 0.331)
    assert found.threshold == 0.331
    assert found.kept_because == "scores like those of training"


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
    found = scene_threshold(source, pixels_of(here), carried)
    assert f1_at(here, found.threshold) > f1_at(here, carried) + 0.05
    assert f1_at(here, found.threshold) > here.best().f1 - 0.02
    share = pixels_of(here)[round(1000 * found.threshold) :].sum() / pixels_of(here).sum()
    wanted = pixels_of(source)[round(1000 * carried) :].sum() / pixels_of(source).sum()
    assert share == pytest.approx(wanted, rel=0.2)


def test_the_threshold_stays_where_there_is_too_little_to_go_by(rng):
    source = calibrated(rng, 200_000, 0.05)
    few = scene_threshold(source, calibrated(rng, 20_000, 0.3).positive, 0.3)
    assert (few.threshold, few.kept_because) == (0.3, "too few pixels")
    one_class = ScoreHistogram(0 * source.positive, source.negative)
    assert scene_threshold(one_class, pixels_of(source), 0.3).threshold == 0.3
    with pytest.raises(ModelError, match="other bins"):
        scene_threshold(source, np.zeros(50, int), 0.5)


def test_what_a_threshold_loses_is_that_of_scores_with_more_landslide_pixels(rng):
    one = calibrated(rng, 100_000, 0.05)
    now = one.positive.sum() / pixels_of(one).sum()
    assert lost_at(one, one.best().value, 1.0) == pytest.approx(0)
    times = round(1000 * 2 * now / (1 - 2 * now) / (now / (1 - now)))
    copied = ScoreHistogram(times * one.positive, 1000 * one.negative)
    expected = copied.best().f1 - f1_at(copied, 0.3)
    assert lost_at(one, 0.3, 2.0) == pytest.approx(expected, abs=1e-3)
    assert lost_at(ScoreHistogram.empty(100), 0.3, 2.0) is None


def masks(rng: np.random.Generator, specks: int):
    """Tiles of one large landslide that is found, and of specks that are false."""
    for _ in range(TILES):
        reference = np.zeros((EDGE, EDGE), bool)
        reference[10:25, 10:30] = True
        predicted = reference.copy()
        for y, x in rng.integers(28, EDGE - 2, (specks, 2)):
            predicted[y, x] = True
        yield predicted, reference


def test_small_landslides_are_removed_where_that_is_shown_to_help(rng):
    found = choose_smallest(masks(rng, 9), FOLD, BLOCK)
    assert found["smallest_px"] > 0 and found["low"] > 0
    predicted, reference = next(masks(rng, 9))
    np.testing.assert_array_equal(remove_small(predicted, found["smallest_px"]), reference)
    found = choose_smallest(masks(rng, 0), FOLD, BLOCK)
    assert (found["smallest_px"], found["gain"]) == (0, 0) and "not shown" in found["reason"]
    for fold, block in ((FOLD * 0, BLOCK), (FOLD, FOLD)):
        assert choose_smallest(masks(rng, 9), fold, block)["smallest_px"] == 0


def test_each_fold_is_cleaned_as_is_best_on_the_others(rng):
    """Fold 0 alone has specks, and they are false: no other fold says that they should go."""
    tiles = [(p if k == 0 else t, t) for (p, t), k in zip(masks(rng, 9), FOLD, strict=True)]
    found = choose_smallest(tiles, FOLD, BLOCK)
    assert (found["smallest_px"], found["gain"]) == (0, 0)
