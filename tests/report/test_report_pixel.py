from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from l4s_ensemble.metrics.summary import ObjectsOfSize
from l4s_ensemble.report.parts.comparison import size
from l4s_ensemble.report.parts.failures import between, up_to
from l4s_ensemble.report.pictures.crops import cut_out
from l4s_ensemble.run.files import read_json


def test_landslides_have_pictures_and_sentences(tiny_report: Path) -> None:
    twin = read_json(tiny_report / "pixel.json")
    text = re.sub(r"\s+", " ", (tiny_report / "pixel.html").read_text(encoding="utf-8"))
    listed = twin["blocks"]["landslides"]["rows"]
    assert listed
    for row in listed:
        with Image.open(tiny_report / row["picture"]["file"]) as picture:
            assert picture.size[0] == picture.size[1] == row["picture"]["size"] >= 160
        assert row["sentence"] in text


def test_the_cut_lies_around_the_landslide() -> None:
    size = (128, 128)
    rows, columns = cut_out((3.5, 113.0), 20, size)
    assert (rows.start, rows.stop) == (0, 40) and (columns.start, columns.stop) == (88, 128)
    assert cut_out((62, 62), 10, size) == (slice(42, 82), slice(42, 82))
    assert cut_out((64, 64), 400, size) == (slice(0, 128), slice(0, 128))


def test_bins_are_told_in_words() -> None:
    assert between(None, 5.0) == "< 5" and between(40.0, None) == "≥ 40"
    assert between(5.0, 10.0) == "5–10" and between(None, None) == "all"
    assert between(1.0, 2.0, whole=True) == "1" and between(4.0, 8.0, whole=True) == "4–7"
    assert between(-5.0, 10.0) == "−5 to 10"
    assert up_to(0.0, 1.0) == "≤ 1" and up_to(3.0, 5.0) == "3–5" and up_to(10, None) == "> 10"
    counts = {"reference": 0, "found": 0, "predicted": 0, "false": 0}
    ends = [
        ObjectsOfSize(low_px=low, high_px=high, recall=None, precision=None, **counts)
        for low, high in ((1, 9), (1000, None))
    ]
    assert [size(one, 10.0) for one in ends] == ["0.01–0.1", "≥ 10"]
