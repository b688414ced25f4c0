"""Contributions in words."""

from __future__ import annotations

import pytest

from l4s_ensemble.features.registry import catalogue
from l4s_ensemble.pixel.slide_words import feature_word, slide_words, weighed_words


def test_a_line_names_what_speaks_for_it_and_what_against() -> None:
    line = slide_words(
        [0.9, 1.0, 0.8, 0.4, -0.7, 0.01],
        ["bsi", "bsi_mean_5", "ndvi_min_9", "ndvi_gradient_1", "slope_deg", "northness"],
        values=[0.2, 0.2, 0.1, 0.3, 3.0, 0.0],
        typical=[0.0, 0.0, 0.6, 0.1, 20.0, 0.0],
    )
    assert line == "bare soil +1.9, vegetation missing +0.8, fresh edge +0.4, but flat −0.7"


@pytest.mark.parametrize(
    ("name", "high", "low"),
    [
        ("ndvi", "vegetation", "vegetation missing"),
        ("gli_mean_17", "vegetation", "vegetation missing"),
        ("ri_max_9", "bare soil", "little bare soil"),
        ("slope_mean_33", "slope", "flat"),
        ("bright_std_9", "mixed surroundings", "even surroundings"),
        ("ndvi_minus_mean_33", "greener than around", "barer than around"),
        ("bright_scene_rank", "bright for this scene", "dark for this scene"),
        ("level_b4", "much red light", "little red light"),
        ("refl_b12", "much short-wave infrared", "little short-wave infrared"),
        ("tpi_61_m", "ridge", "hollow"),
        ("my_own", "my_own", "my_own"),
    ],
)
def test_a_word_depends_on_the_value(name: str, high: str, low: str) -> None:
    assert feature_word(name, 1.0, 0.0) == high
    assert feature_word(name, -1.0, 0.0) == low


def test_every_feature_of_the_catalogue_has_a_word() -> None:
    without = [n for n in catalogue() if feature_word(n, 1.0, 0.0) == n]
    assert without == []


def test_opposite_words_are_one_topic() -> None:
    told = weighed_words(
        [1.0, -0.2, 0.3], ["bsi", "bsi_mean_5", "ndvi_minus_mean_9"], [1, -1, -1], [0, 0, 0]
    )
    assert [(t.word, round(t.log_odds, 6)) for t in told] == [
        ("bare soil", 0.8), ("barer than around", 0.3),
    ]  # fmt: skip
    assert told[0].features == ("bsi", "bsi_mean_5")


def test_without_values_words_take_no_side() -> None:
    assert slide_words([1.2, -0.6], ["slope_deg", "mndwi"]) == "slope +1.2, but water −0.6"
    assert slide_words([-0.6], ["mndwi"]) == "water −0.6"
    assert slide_words([0.0, 0.001], ["slope_deg", "mndwi"]) == "nothing stands out"


def test_three_to_five_words() -> None:
    names = ["bsi", "slope_deg", "bright", "mndwi", "tpi_7_m", "eastness"]
    assert slide_words([2.0, 0.1, 0.1, 0.1, 0.1, 0.1], names).count(",") == 2
    assert slide_words([2.0, 1.9, 1.8, 1.7, 1.6, 1.5], names).count(",") == 4
