"""Contributions in words."""

from __future__ import annotations

import pytest

from l4s_ensemble.pixel.landslide_words import sentence, weighed_words


def test_a_line_names_what_speaks_for_it_and_what_against() -> None:
    words = weighed_words(
        [0.9, 1.0, 0.8, 0.4, -0.7, 0.01],
        ["bsi", "bsi_mean_5", "ndvi_min_9", "ndvi_gradient_2", "slope_deg", "tpi_7_m"],
        values=[0.2, 0.2, 0.1, 0.3, 3.0, 0.0],
        typical=[0.0, 0.0, 0.6, 0.1, 20.0, 0.0],
    )
    known = "bare soil +1.9, vegetation missing +0.8, fresh edge +0.4, but flat −0.7"
    assert sentence(words) == known
    assert words[0]["features"] == ["bsi_mean_5", "bsi"]


def test_opposite_words_are_one_topic() -> None:
    words = weighed_words(
        [1.0, -0.2, 0.3], ["bsi", "bsi_mean_5", "ndvi_minus_mean_33"], [1, -1, -1], [0, 0, 0]
    )
    assert [(one["word"], round(one["log_odds"], 6)) for one in words] == [
        ("bare soil", 0.8),
        ("barer than 160 m around", 0.3),
    ]


@pytest.mark.parametrize(
    ("log_odds", "known"),
    [
        ([2.0, 0.1, 0.1, 0.1], "a +2.0, b +0.1, c +0.1"),
        ([2.0, 1.9, 1.8, 1.7, 1.6, 1.5], "a +2.0, b +1.9, c +1.8, d +1.7, e +1.6"),
        ([-0.6], "a −0.6"),
        ([0.0, 0.001], "nothing stands out"),
        ([], "nothing stands out"),
    ],
)
def test_three_to_five_words(log_odds: list[float], known: str) -> None:
    words = [{"word": w, "log_odds": v} for w, v in zip("abcdef", log_odds, strict=False)]
    assert sentence(words) == known
