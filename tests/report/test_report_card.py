"""The model card's page."""

from __future__ import annotations

import html
from pathlib import Path

from l4s_ensemble.report.pages.prediction import LISTED
from l4s_ensemble.run.files import read_json


def test_the_card_and_the_landslides_are_shown(tiny_run: Path, tiny_report: Path) -> None:
    text = html.unescape((tiny_report / "card.html").read_text(encoding="utf-8"))
    card = read_json(tiny_run / "model_card.json")
    assert read_json(tiny_report / "card.json")["card"] == card
    for line in (*card["limits"], *card["misuse"], "not measured:"):
        assert line in text
    assert 'href="card.html"' in (tiny_report / "index.html").read_text(encoding="utf-8")
    page = html.unescape((tiny_report / "prediction-valid.html").read_text(encoding="utf-8"))
    for landslide in read_json(tiny_run / "predict/valid/landslides/summary.json")["largest"][
        :LISTED
    ]:
        assert landslide["reason"] in page
