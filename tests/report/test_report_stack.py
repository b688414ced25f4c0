"""The stack's page, on a small real run and on planted values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from l4s_ensemble.report.pages.prediction import prediction
from l4s_ensemble.report.pages.stack import decision_sentence, stack
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json


def test_the_page_tells_what_the_stage_told(tiny_run: Path) -> None:
    page, summary = stack(RunSource(tiny_run)), read_json(tiny_run / "stack/summary.json")
    rows = {r["model"]: r for r in summary["comparison"]}
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}
    assert whole["stack"]["found"] == rows["stack"]["objects"]["found"]
    for key in ("precision", "f1"):
        assert whole["stack"][key] == rows["stack"]["objects"][key]
    assert whole["stack"]["fit_s"] == rows["stack"]["fit_s"]
    by_size = page["tables"]["whole_size"]["rows"]
    assert sum(r["reference"] for r in by_size) == rows["stack"]["objects"]["reference"]
    marked = [r["name"] for r in page["tables"]["tried"]["rows"] if r["chosen"] == "chosen"]
    assert marked == [f"{summary['learner']} mean"]
    text = {s["id"]: s["text"] for s in page["sections"]}
    for key in ("f1", "average_precision"):
        both = f"{rows['mean'][key]:.3f} against {rows['stack'][key]:.3f}"
        assert both in text["comparison"]
    assert "The threshold is" in text["decision"] and "that were checked hold" in text["leaks"]
    assert len(page["tables"]["agreement_size"]["rows"]) == len(summary["agreement_by_size"])


def test_a_landslide_over_a_seam_is_one_wherever_landslides_are_counted(tiny_run: Path) -> None:
    source = RunSource(tiny_run)
    page, listed = (
        prediction(source, "prediction-valid"),
        source.summary("predict/valid/landslides"),
    )
    assert listed["over_seams"] == 1
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}["stack"]
    by_size = page["tables"]["whole_size"]["rows"]
    assert whole["predicted"] == listed["landslides"] == sum(r["predicted"] for r in by_size)
    assert listed["landslides"] == sum(
        r["landslides"] for r in page["tables"]["landslides_sizes"]["rows"]
    )
    text = next(s["text"] for s in page["sections"] if s["id"] == "landslides")
    assert f"{listed['landslides']} landslides, " in text and "(1 are)" in text
    page = stack(source)
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}["stack"]
    by_size = page["tables"]["agreement_size"]["rows"]
    assert whole["reference"] == sum(r["landslides"] for r in by_size)


def test_a_gain_without_an_interval_says_why(with_summary: Callable[..., RunSource]) -> None:
    few = {"low": None, "high": None, "blocks": 4}
    page = stack(with_summary("stack", lambda s: s["gain"].update(few)))
    assert "no interval: 4 blocks of tiles are too few" in page["lead"]


def test_the_decision_is_told_in_words(with_summary: Callable[..., RunSource]) -> None:
    done = {"smallest_px": 8, "gain": 0.004, "reason": None}
    source = with_summary(
        "stack", lambda s: s["decision"].update(postprocess=done, adapt_threshold=True)
    )
    said = decision_sentence(source.summary("stack"))
    assert "Landslides below 8 pixels are removed: F1 moves by +0.004" in said
    assert "unlike those of training" in said and "half as frequent" in said
