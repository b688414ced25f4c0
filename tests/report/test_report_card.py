"""The model card's page."""

from __future__ import annotations

import shutil
from pathlib import Path

from l4s_ensemble.config import build
from l4s_ensemble.predict.card import write_card
from l4s_ensemble.report.render import render_report
from l4s_ensemble.run.files import read_json, write_json

FEW = build({"report": {"gallery_tiles": 1}})


def test_the_card_and_the_slides_are_shown(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    write_card(run)
    slide = {"id": 1, "tiles": [1, 2], "area_m2": 4200.0, "reason": "bare soil +1.9"}
    write_json(
        run / "predict/valid/slides/summary.json",
        {
            "slides": 1, "area_m2": 4200.0, "note": "the 1 largest of 1 slides have a reason",
            "by_size": [{"from_px": 1, "below_px": None, "slides": 1, "area_m2": 4200.0}],
            "largest": [slide],
        },
    )  # fmt: skip
    out = render_report(run, tmp_path / "out", FEW).parent
    text = (out / "card.html").read_text(encoding="utf-8")
    card = read_json(run / "model_card.json")
    assert read_json(out / "card.json")["card"] == card
    for line in (*card["limits"], *card["misuse"], "not measured: nothing of this split was"):
        assert line.replace("'", "&#39;")[:60] in text
    assert 'href="card.html"' in (out / "index.html").read_text(encoding="utf-8")
    page = (out / "prediction-valid.html").read_text(encoding="utf-8")
    assert "bare soil +1.9" in page and "4,200" in page and "1, 2" in page


def test_a_run_without_a_card_has_no_page_of_it(whole_report: Path) -> None:
    assert not (whole_report / "card.html").exists()
