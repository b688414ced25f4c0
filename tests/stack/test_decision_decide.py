"""The calibration, the whole decision and its file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.special import expit, logit

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.decision import calibrate, search
from l4s_ensemble.stack.decision.decide import Decision, decide
from l4s_ensemble.stack.decision.postprocess import Step

EDGE = 48
TILES = 24


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


def decided(scores: Scores, **settings):
    config = StackConfig(resamples=200, **settings)
    return decide(scores, scores.truth, scores.fold, scores.block, config, 0)


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


def test_the_decision_is_the_best_threshold_of_calibrated_scores(rng):
    scores = Scores(rng, factor=2.0)
    decision, told = decided(scores, postprocess="none")
    assert decision.calibration.kind in calibrate.KINDS
    p = decision.calibrated(scores.read(slice(0, TILES)))
    histogram = ScoreHistogram.empty(1000)
    histogram.add(p, scores.truth)
    best = histogram.best()
    assert decision.threshold == best.value
    assert told["f1"] == pytest.approx(best.f1)
    assert told["postprocess"]["reason"] == "not asked for"
    mask = decision.mask(p[0], decision.threshold)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask == 1, p[0] >= np.float32(best.value))
    json.dumps(told, allow_nan=False)


def test_settings_turn_each_part_off(rng):
    scores = Scores(rng, factor=2.0)
    decision, told = decided(scores, calibrate="none", postprocess="none", follow="none")
    assert (decision.calibration.kind, decision.steps, decision.follow) == ("none", (), None)
    assert told["calibration"]["after"] == told["calibration"]["before"]
    assert decision.threshold_for(np.zeros(3)) == decision.threshold
    asked, _ = decided(scores, postprocess="none", follow="expected")
    assert asked.follow == "expected"
    pixels = asked.reference.positive + asked.reference.negative
    assert asked.threshold_for(pixels) == asked.threshold


@pytest.fixture
def few(monkeypatch):
    """A dozen blocks are enough: what is made up is clear."""
    monkeypatch.setattr(search, "FEWEST_BLOCKS", 12)


def test_noise_keeps_no_step_and_tells_what_was_tried(rng, few):
    """Each pixel's truth is drawn alone: no neighbour can say anything about it."""
    scores = Scores(rng)
    decision, told = decided(scores)
    assert decision.steps == ()
    assert decision.threshold == told["threshold_without_steps"]
    rows = {row["step"]: row for row in told["postprocess"]["tried"]}
    assert rows["smooth"]["gain"] < 0
    assert not any(row["kept"] for row in rows.values())


def test_an_image_that_shows_the_edges_is_used_and_asked_for_again(rng, few):
    """The scores are blurred, the image is sharp: the filter by the image finds the edges."""
    scores = Scores(rng)
    scores.truth[:] = 0
    for i, (y, x) in enumerate(rng.integers(4, 24, (TILES, 2))):
        scores.truth[i, y : y + 20, x : x + 16] = 1
    blurred = uniform_filter(scores.truth.astype(float), (0, 9, 9))
    noisy = blurred * 0.8 + 0.1 + rng.normal(0, 0.12, blurred.shape)
    scores._probability = np.clip(noisy, 0, 1).astype(np.float32)
    image = 100 + 50 * scores.truth + rng.normal(0, 5, blurred.shape)
    guide = np.stack([image, rng.random(image.shape)], axis=-1)
    config = StackConfig(resamples=200, calibrate="none")
    decision, told = decide(scores, scores.truth, scores.fold, scores.block, config, 0, guide=guide)
    assert decision.wants_guide
    kept = [row for row in told["postprocess"]["tried"] if row["kept"]]
    assert kept[0]["step"] == "guided"
    assert kept[0]["gain"] > 0.03
    tiles = zip(scores._probability, guide, scores.truth, strict=True)
    pairs = [(decision.mask(p, decision.threshold, g), t) for p, g, t in tiles]
    hit = sum(int((mask & truth).sum()) for mask, truth in pairs)
    called = sum(int(mask.sum()) + int(truth.sum()) for mask, truth in pairs)
    assert 2 * hit / called > told["f1"] + 0.03
    with pytest.raises(ModelError, match="image"):
        decision.mask(scores._probability[0], decision.threshold)


def test_without_a_landslide_there_is_no_threshold(rng):
    scores = Scores(rng)
    scores.truth[:] = 0
    with pytest.raises(RunError, match="no landslide"):
        decided(scores)


def whole() -> Decision:
    return Decision(
        0.31,
        "em",
        ScoreHistogram(np.arange(10), np.arange(10)[::-1].copy()),
        (
            Step.of("guided", radius_px=2, epsilon=0.1, guide="image"),
            Step.of("smallest", pixels=8, spared_at=2.0, spare_edge=True),
        ),
        calibrate.Calibration("beta", (0.0, 0.5, 1.0), (0.0, 0.3, 1.0)),
    )


def test_a_scene_that_the_models_know_is_never_unlike():
    decision, strange = replace(whole(), follow="unlike"), np.full(10, 20_000)
    assert decision.followed(strange, seen=True) is None
    found = decision.followed(strange)
    assert found is not None and found.method == "unlike"
    assert whole().followed(strange, seen=True) is not None  # label shift is there as well


def test_a_decision_reads_back_as_it_was(tmp_path):
    decision = whole()
    decision.save(tmp_path / "decision.json")
    found = Decision.load(tmp_path / "decision.json")
    assert found == decision
    np.testing.assert_array_equal(found.reference.positive, decision.reference.positive)
    np.testing.assert_array_equal(found.reference.negative, decision.reference.negative)
    assert found.wants_guide
    assert not replace(found, steps=()).wants_guide


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 99, "another version"),
        ("kind", "logistic", "another version"),
        ("threshold", "high", "not whole"),
        ("threshold", 1.5, "not whole"),
        ("threshold", float("nan"), "not whole"),
        ("follow", "guess", "not whole"),
        ("steps", [{"name": "erode"}], "not whole"),
        ("steps", 3, "not whole"),
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
