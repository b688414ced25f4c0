"""Calibration: a rising map that is kept where it is shown to help."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.calibration import KINDS, choose_calibration, fit_calibration

EDGE, TILES = 48, 24
FOLD = np.repeat(np.arange(3), TILES // 3)
BLOCK = np.repeat(np.arange(TILES // 2), 2)


def scores(rng: np.random.Generator, factor: float = 1.0) -> tuple[np.ndarray, ...]:
    """Probabilities whose log-odds are `factor` times too large, the reference, histograms."""
    z = rng.normal(-3, 2, (TILES, EDGE, EDGE))
    reference, probability = rng.random(z.shape) < expit(z), expit(factor * z).astype(np.float32)
    tiles = TileHistograms.empty(range(TILES))
    for i in range(TILES):
        tiles.add(i, probability[i], reference[i])
    return probability, reference, tiles


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_rises_strictly_and_keeps_the_best_f1(rng, kind):
    probability, reference, tiles = scores(rng, factor=2.0)
    calibration = fit_calibration(kind, tiles.pooled())
    before, after = ScoreHistogram.empty(20_000), ScoreHistogram.empty(20_000)
    before.add(probability, reference)
    after.add(calibration(probability), reference)
    assert (np.diff(calibration(np.linspace(0, 1, 2001)).astype(float)) > 0).all()
    assert after.best().f1 == pytest.approx(before.best().f1, abs=5e-4)
    assert after.average_precision() == pytest.approx(before.average_precision(), abs=2e-3)


def test_overconfident_scores_are_corrected_and_it_shows(rng):
    *_, tiles = scores(rng, factor=2.0)
    found, table = choose_calibration(tiles, FOLD, BLOCK)
    assert table["chosen"] in KINDS
    assert table["after"]["calibration_error"] < table["before"]["calibration_error"] / 3
    assert table["after"]["log_loss"] < table["before"]["log_loss"]
    z = np.array([-2.5, -2, 0, 1])
    np.testing.assert_allclose(logit(found(expit(2 * z)).astype(float)), z, atol=0.3)


def test_calibrated_scores_are_left_alone(rng):
    probability, _, tiles = scores(rng)
    found, table = choose_calibration(tiles, FOLD, BLOCK)
    assert table["chosen"] == "none" and table["after"] == table["before"]
    assert found(probability) is probability


def test_one_fold_calibrates_nothing(rng):
    *_, tiles = scores(rng, factor=2.0)
    found, table = choose_calibration(tiles, np.zeros(TILES), BLOCK)
    assert found.kind == table["chosen"] == "none"
