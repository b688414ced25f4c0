"""Contributions in words."""

from __future__ import annotations

from l4s_ensemble.pixel.slide_words import slide_words, weighed_words


def test_a_line_names_what_speaks_for_it_and_what_against() -> None:
    line = slide_words(
        [0.9, 1.0, 0.8, 0.4, -0.7, 0.01],
        ["bsi", "bsi_mean_5", "ndvi_min_9", "ndvi_gradient_2", "slope_deg", "tpi_7_m"],
        values=[0.2, 0.2, 0.1, 0.3, 3.0, 0.0],
        typical=[0.0, 0.0, 0.6, 0.1, 20.0, 0.0],
    )
    assert line == "bare soil +1.9, vegetation missing +0.8, fresh edge +0.4, but flat −0.7"


def test_opposite_words_are_one_topic() -> None:
    told = weighed_words(
        [1.0, -0.2, 0.3], ["bsi", "bsi_mean_5", "ndvi_minus_mean_33"], [1, -1, -1], [0, 0, 0]
    )
    assert [(t.word, round(t.log_odds, 6)) for t in told] == [
        ("bare soil", 0.8), ("barer than 160 m around", 0.3),
    ]  # fmt: skip
    assert told[0].features == ("bsi", "bsi_mean_5")


def test_without_values_words_take_no_side() -> None:
    assert slide_words([1.2, -0.6], ["slope_deg", "mndwi"]) == "slope +1.2, but water −0.6"
    assert slide_words([-0.6], ["mndwi"]) == "water −0.6"
    assert slide_words([0.0, 0.001], ["slope_deg", "mndwi"]) == "nothing stands out"


def test_three_to_five_words() -> None:
    names = ["bsi", "slope_deg", "bright", "mndwi", "tpi_7_m", "nmdi"]
    assert slide_words([2.0, 0.1, 0.1, 0.1, 0.1, 0.1], names).count(",") == 2
    assert slide_words([2.0, 1.9, 1.8, 1.7, 1.6, 1.5], names).count(",") == 4
