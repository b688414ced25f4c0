from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from l4s_ensemble.report.pages.features import groups
from l4s_ensemble.report.pages.pixel import colours
from l4s_ensemble.report.parts.comparison import area
from l4s_ensemble.report.parts.failures import between, up_to
from l4s_ensemble.report.pictures.landslides import cut_out
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json


def test_landslides_have_pictures_and_sentences(tiny_report: Path) -> None:
    twin = read_json(tiny_report / "pixel.json")
    text = re.sub(r"\s+", " ", (tiny_report / "pixel.html").read_text(encoding="utf-8"))
    assert twin["landslides"]["rows"]
    for row in twin["landslides"]["rows"]:
        with Image.open(tiny_report / row["picture"]["file"]) as picture:
            assert picture.size[0] == picture.size[1] == row["picture"]["size"] >= 160
        assert row["sentence"] in text


def test_the_cut_lies_around_the_landslide() -> None:
    size = (128, 128)
    rows, columns = cut_out([2, 5, 100, 125], size)
    assert rows.start == 0 and columns.stop == 128
    assert rows.stop - rows.start == columns.stop - columns.start == 40
    assert cut_out([60, 63, 60, 63], size) == (slice(42, 82), slice(42, 82))
    assert cut_out([0, 127, 0, 127], size) == (slice(0, 128), slice(0, 128))


def test_groups_have_the_colours_of_the_features_page(tiny_run: Path) -> None:
    source = RunSource(tiny_run)
    known = {g["name"]: g["colour"] for g in groups(source)}
    told = colours(source, [*known, "new"])
    assert {g: told[g] for g in known} == known and told["new"] not in known.values()


def test_bins_are_told_in_words() -> None:
    assert between(None, 5.0) == "< 5" and between(40.0, None) == "≥ 40"
    assert between(5.0, 10.0) == "5–10" and between(None, None) == "all"
    assert between(1.0, 2.0, whole=True) == "1" and between(4.0, 8.0, whole=True) == "4–7"
    assert between(-5.0, 10.0) == "−5 to 10"
    assert up_to(0.0, 1.0) == "≤ 1" and up_to(3.0, 5.0) == "3–5" and up_to(10, None) == "> 10"
    assert area({"low_px": 1, "high_px": 9}, 10.0) == "0.01–0.1"
    assert area({"low_px": 1000, "high_px": None}, 10.0) == "≥ 10"
