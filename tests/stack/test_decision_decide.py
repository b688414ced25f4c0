"""The calibration, the whole decision and its file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.decision import calibrate, smallest
from l4s_ensemble.stack.decision.decide import Decision

EDGE = 48
TILES = 24
FOLD = np.repeat(np.arange(3), TILES // 3)


class Scores:
    """Out-of-fold scores of tiles in three folds, whose log-odds are `factor` times too large."""

    def __init__(self, rng: np.random.Generator, factor: float = 1.0) -> None:
        self.patch = np.arange(1, TILES + 1)
        self.fold = np.repeat(np.arange(3), TILES // 3)
        self.block = np.repeat(np.arange(TILES // 2), 2)
        z = rng.normal(-3, 2, (TILES, EDGE, EDGE))
        self.truth = (rng.random(z.shape) < expit(z)).astype(np.uint8)
        self._probability = expit(factor * z).astype(np.float32)

    def read(self, block: slice) -> np.ndarray:
        return self._probability[block]

    def histograms(self) -> TileHistograms:
        tiles = TileHistograms.empty(self.patch)
        for i in range(TILES):
            tiles.add(i, self._probability[i], self.truth[i])
        return tiles


@pytest.mark.parametrize("kind", calibrate.KINDS)
def test_a_map_rises_strictly_and_keeps_the_best_f1(rng, kind):
    scores = Scores(rng, factor=2.0)
    moved = calibrate.fit(kind, scores.histograms().pooled())
    before, after = ScoreHistogram.empty(20_000), ScoreHistogram.empty(20_000)
    before.add(scores._probability, scores.truth)
    after.add(moved(scores._probability), scores.truth)
    p = np.linspace(0, 1, 2001)
    assert (np.diff(moved(p).astype(float)) > 0).all()
    assert after.best().f1 == pytest.approx(before.best().f1, abs=5e-4)
    assert after.average_precision() == pytest.approx(before.average_precision(), abs=2e-3)


def test_scores_too_sure_are_corrected_and_it_shows(rng):
    scores = Scores(rng, factor=2.0)
    found, told = calibrate.choose(scores.histograms(), scores.fold, scores.block, resamples=200)
    assert told["chosen"] in calibrate.KINDS
    assert told["after"]["calibration_error"] < told["before"]["calibration_error"] / 3
    assert told["after"]["log_loss"] < told["before"]["log_loss"]
    z = np.array([-2.5, -2, 0, 1])
    np.testing.assert_allclose(logit(found(expit(2 * z)).astype(float)), z, atol=0.3)


def test_scores_that_hold_are_left_alone(rng):
    scores = Scores(rng)
    found, told = calibrate.choose(scores.histograms(), scores.fold, scores.block, resamples=200)
    assert told["chosen"] == "none"
    assert told["after"] == told["before"]
    p = scores.read(slice(0, 1))
    assert found(p) is p


def test_one_fold_calibrates_nothing(rng):
    scores = Scores(rng, factor=2.0)
    found, told = calibrate.choose(scores.histograms(), np.zeros(TILES), scores.block)
    assert (found.kind, told["tried"]) == ("none", [])


def masks(rng: np.random.Generator, specks: int):
    """Tiles of one large landslide that is found, and of specks that are false."""
    for _ in range(TILES):
        truth = np.zeros((EDGE, EDGE), bool)
        truth[10:25, 10:30] = True
        predicted = truth.copy()
        for y, x in rng.integers(28, EDGE - 2, (specks, 2)):
            predicted[y, x] = True
        yield predicted, truth


def test_small_landslides_are_removed_where_that_is_shown_to_help(rng):
    block = np.arange(TILES) // 2
    least, told = smallest.search(masks(rng, 9), FOLD, block, resamples=200)
    assert least == told["smallest_px"] > 0 and told["low"] > 0
    decision = Decision(0.5, smallest_px=least)
    predicted, truth = next(masks(rng, 9))
    cleaned = decision.called(predicted.astype(np.float32), 0.5)
    np.testing.assert_array_equal(cleaned == 1, truth)
    least, told = smallest.search(masks(rng, 0), FOLD, block, resamples=200)
    assert (least, told["gain"]) == (0, 0) and "not shown" in told["reason"]
    for few in ({"fold": FOLD * 0, "block": block}, {"fold": FOLD, "block": FOLD}):
        assert smallest.search(masks(rng, 9), **few, resamples=200)[0] == 0


def test_each_fold_is_cleaned_as_is_best_on_the_others(rng):
    """Fold 0 alone has specks, and they are false: no other fold says that they should go."""
    tiles = [(p if k == 0 else t, t) for (p, t), k in zip(masks(rng, 9), FOLD, strict=True)]
    least, told = smallest.search(tiles, FOLD, np.arange(TILES) // 2, resamples=200)
    assert (least, told["gain"]) == (0, 0)


def whole() -> Decision:
    return Decision(
        0.31,
        True,
        8,
        calibrate.Calibration("beta", (0.0, 0.5, 1.0), (0.0, 0.3, 1.0)),
        ScoreHistogram(np.arange(10), np.arange(10)[::-1].copy()),
    )


def test_only_a_scene_that_the_models_do_not_know_is_followed():
    strange = np.full(10, 20_000)
    assert whole().followed(strange, seen=True) is None
    assert whole().followed(strange) is not None
    assert replace(whole(), follow=False).followed(strange) is None


def test_a_decision_reads_back_as_it_was(tmp_path):
    decision = whole()
    decision.save(tmp_path / "decision.json")
    found = Decision.load(tmp_path / "decision.json")
    assert found == decision
    np.testing.assert_array_equal(found.reference.positive, decision.reference.positive)
    np.testing.assert_array_equal(found.reference.negative, decision.reference.negative)
    np.testing.assert_allclose(found.final(np.array([0.25, 0.75])), [0.15, 0.65])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 99, "another version"),
        ("kind", "logistic", "another version"),
        ("threshold", "high", "not whole"),
        ("threshold", 1.5, "not whole"),
        ("threshold", float("nan"), "not whole"),
        ("follow", "guess", "not whole"),
        ("smallest_px", -1, "not whole"),
        ("calibration", {"kind": "beta", "scored": [0, 1], "true": [1, 0]}, "not whole"),
        ("reference", {"positive": [1]}, "not whole"),
        ("reference", {"positive": [1], "negative": [1, 2]}, "not whole"),
    ],
)
def test_a_bad_file_is_told(tmp_path, key, value, message):
    path = tmp_path / "decision.json"
    whole().save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelError, match=message):
        Decision.load(path)
    path.write_text("[]")
    with pytest.raises(ModelError, match="another version"):
        Decision.load(path)
