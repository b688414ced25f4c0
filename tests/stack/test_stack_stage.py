"""Which learner is chosen, and that a tile's fold has no part in the learner that scores it."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.metrics.counts import f1_pooled
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.choose import choose
from l4s_ensemble.stack.crossfit import cross_fit, draw, histograms
from l4s_ensemble.stack.tiles import Block

TILES, EDGE = 24, 24
FOLD = np.arange(TILES) % 3
ALLOWED = {k: np.flatnonzero(k != FOLD) for k in range(3)}


def scored(truth: np.ndarray, noise: float, seed: int) -> TileHistograms:
    rng = np.random.default_rng(seed)
    out = TileHistograms.empty(range(len(truth)), 100)
    for i, mask in enumerate(truth):
        out.add(i, np.clip(0.5 * mask + noise * rng.random(mask.shape), 0, 1), mask)
    return out


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    return rng.random((TILES, EDGE, EDGE)) < 0.1


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
def test_the_simplest_within_noise_of_the_best_is_chosen(truth, plain, weighted, blocks, chosen):
    tiles = {
        "weighted": scored(truth, weighted, 1),
        "plain": scored(truth, plain, 31 if blocks > 2 else 1),
    }
    block = np.arange(TILES) % blocks
    rows = choose(tiles, block, bases={"pixel": scored(truth, 0.3, 3)}, resamples=300)
    assert [row["name"] for row in rows] == ["pixel", "plain", "weighted"]
    assert [row["name"] for row in rows if row["chosen"]] == [chosen]
    by_name = {row["name"]: row for row in rows}
    assert by_name["pixel"]["f1"] > by_name[chosen]["f1"] + 0.1  # told, never chosen
    assert by_name[chosen]["gain"]["value"] == 0
    assert by_name["pixel"]["gain"]["shown"] and all(row["why"] for row in rows)


class Source:
    """Out-of-fold scores in memory; in one fold the reference may be turned round."""

    def __init__(self, turned: int | None = None) -> None:
        rng = np.random.default_rng(3)
        self.patch, self.fold, self.size = np.arange(TILES), FOLD, (EDGE, EDGE)
        self.truth = rng.random((TILES, EDGE, EDGE)) < 0.2
        noise = rng.normal(0, [[[[2.0]]], [[[4.0]]]], (2, *self.truth.shape))
        self.logits = (np.where(self.truth, 2.0, -2.0) + noise).astype(np.float32)
        if turned is not None:
            self.truth[turned == FOLD] ^= True

    def blocks(self):
        for i in range(0, TILES, 16):
            at = slice(i, min(i + 16, TILES))
            yield Block(at, *self.logits[:, at], self.truth[at])


def test_the_reference_of_a_fold_has_no_part_in_its_own_scores():
    before, after = (
        cross_fit("weighted", source, draw(source, 0, 4000), ALLOWED).of_fold
        for source in (Source(), Source(turned=0))
    )
    assert before[0] == after[0]
    assert abs(before[1].temperature - after[1].temperature) > 0.01


def test_pixels_are_drawn_tile_by_tile_and_guard_tiles_are_left_out():
    source = Source()
    sample = draw(source, 4, 2000)
    tiles, each = np.unique(sample.patch, return_counts=True)
    assert len(tiles) == TILES and set(each) == {2000 // TILES}
    assert np.isin(sample.pixel, source.logits[0]).all()
    few = {k: ids[:4] for k, ids in ALLOWED.items()}
    guarded = cross_fit("weighted", source, sample, few).of_fold
    alone = sample.of(np.isin(sample.patch, few[1]))
    only = cross_fit("weighted", source, alone, ALLOWED).of_fold
    assert guarded[1] == only[1] != cross_fit("weighted", source, sample, ALLOWED).of_fold[1]


def test_one_pass_counts_both_models_their_mean_and_the_candidates():
    source = Source()
    fits = {"plain": cross_fit("plain", source, draw(source, 0, 2000), ALLOWED)}
    tiles = histograms(source, fits)
    assert list(tiles) == ["pixel", "unet", "mean", "plain"]
    # The same but for rounding at the edge of a bin.
    np.testing.assert_allclose(tiles["plain"].positive, tiles["mean"].positive, atol=1)
    predicted = sigmoid(source.logits[0]) >= 0.5
    both = 2 * (predicted & source.truth).sum()
    expected = both / (predicted.sum() + source.truth.sum())
    assert f1_pooled(tiles["pixel"].counts(0.5)) == pytest.approx(expected)


def test_a_carried_threshold_suits_means_over_fold_models(rng):
    """Thresholds come from scores of single fold models and are used on their mean.

    Fold models share most of what they say of a pixel. Averaging their probabilities shrinks the
    extremes; that the threshold carries over all the same was measured on unseen tiles, and this
    holds it on scores of the same make.
    """
    z = rng.normal(-3, 2.5, (TILES, 64, 64))
    truth = rng.random(z.shape) < sigmoid(z)
    models = z + rng.normal(0, 1.0, (3, *z.shape))
    single, mean = (TileHistograms.empty(range(TILES)) for _ in range(2))
    for i in range(TILES):
        single.add(i, sigmoid(models[i % 3, i]), truth[i])
        mean.add(i, sigmoid(models[:, i]).mean(axis=0), truth[i])
    carried = f1_pooled(mean.counts(single.pooled().best().value))
    assert carried > mean.pooled().best().f1 - 0.005
    assert carried > single.pooled().best().f1  # and the mean is better
