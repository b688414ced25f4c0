from __future__ import annotations

import pytest

from l4s_ensemble.metrics import published
from l4s_ensemble.report import words


@pytest.mark.parametrize(
    ("value", "text"), [(0.65449, "0.654"), (1, "1.000"), (None, "–"), (-0.02, "−0.020")]
)
def test_scores_have_three_digits(value: float | None, text: str) -> None:
    assert words.score(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0\u202f%"), (1, "100\u202f%"), (0.0231, "2.3\u202f%"), (0.00049, "0.05\u202f%"),
     (0.99999, ">\u202f99.9\u202f%"), (1e-7, "<\u202f0.01\u202f%")],
)  # fmt: skip
def test_shares_never_round_to_none_or_all(value: float, text: str) -> None:
    assert words.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84, "0.8\u202fs"), (59.6, "1\u202fmin"), (200, "3\u202fmin 20\u202fs"), (4320,
    "1\u202fh 12\u202fmin")],
)  # fmt: skip
def test_durations(value: float, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (12.345, "12.3"), (0.00123456, "0.00123"), (-0.5, "−0.5"), (3e-7,
    "3.0e−07")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert words.number(value) == text


def test_sigfig_keeps_structure_and_whole_numbers() -> None:
    value = {"a": [1.23456789, 12345678, True, None, "x"], "b": (0.1,)}
    assert words.sigfig(value) == {"a": [1.235, 12345678, True, None, "x"], "b": [0.1]}


def headline(f1: float, **more: object) -> dict[str, object]:
    told = {
        "model": "stack",
        "split": "test",
        "kind": "split",
        "f1": f1,
        "f1_low": f1 - 0.02,
        "f1_high": f1 + 0.02,
        "not_comparable": "",
    }
    return {**told, **more}


@pytest.mark.parametrize("f1", [0.05, 0.31, 0.655, 0.97])
def test_the_published_list_is_sorted_and_holds_our_place_on_its_axis(f1: float) -> None:
    made = published.place(headline(f1))
    middles = [r.get("value", (r["low"] + r["high"]) / 2) for r in made["rungs"]]
    assert middles == sorted(middles)
    assert sum(r["ours"] for r in made["rungs"]) == 1
    assert all(-0.01 <= r["at"] <= 100.01 and r["left"] >= -0.01 for r in made["rungs"])
    assert all(r["left"] + r["width"] <= 100.01 for r in made["rungs"])


def test_only_an_official_split_in_full_compares() -> None:
    official = {"patches": 800, "sensor": "l4s"}
    assert published.why_not_comparable("test", "split", official, "official") == ""
    assert "out-of-fold" in published.why_not_comparable(
        "train", "out-of-fold", official, "official"
    )
    assert "held out of every fit" in published.why_not_comparable(
        "holdout", "holdout", official, "official"
    )
    assert "800" in published.why_not_comparable("test", "split", {"patches": 14}, "official")
    assert "not the release" in published.why_not_comparable("test", "split", official, "manifest")
    synthetic = {**official, "synthetic": True}
    assert "synthetic" in published.why_not_comparable("test", "split", synthetic, "manifest")
    rgb = {"patches": 800, "sensor": "l4s-rgb"}
    assert "l4s-rgb" in published.why_not_comparable("test", "split", rgb, "official")


def test_published_scores_stand_beside_comparable_ones_only() -> None:
    assert published.place(headline(0.8, not_comparable="it is on the moon")) is None
    assert published.place(None) is None
