"""The stack's page, on a small real run and on planted values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from l4s_ensemble.report.figures import plot
from l4s_ensemble.report.pages.prediction import prediction
from l4s_ensemble.report.pages.stack import decision_sentence, stack
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json


def changed(run: Path, folder: Path, stage: str = "stack", **keys: Any) -> RunSource:
    """Summaries alone, one with other values; None takes a key away."""
    new = folder / "run"
    for part in ("pixel", "unet", "stack", "predict"):
        shutil.copytree(run / part, new / part, ignore=shutil.ignore_patterns("*.zarr", "masks"))
    summary = {**read_json(new / stage / "summary.json"), **keys}
    kept = {k: v for k, v in summary.items() if v is not None or k not in keys}
    write_json(new / stage / "summary.json", kept)
    return RunSource(new)


def drawn(page: dict[str, Any]) -> None:
    """Every figure can be drawn and every item of a section that is named is there or known."""
    for spec in page["figures"].values():
        json.dumps(plot(spec), allow_nan=False)
    named = {item for s in page["sections"] for item in s["items"]}
    assert set(page["figures"]) | set(page["tables"]) <= named


def test_the_page_tells_what_the_stage_told(tiny_run: Path) -> None:
    page, summary = stack(RunSource(tiny_run)), read_json(tiny_run / "stack/summary.json")
    drawn(page)
    rows = {r["model"]: r for r in summary["ledger"]}
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}
    assert whole["stack"]["found"] == rows["stack"]["objects"]["found"]
    assert whole["stack"]["precision"] == pytest.approx(
        rows["stack"]["objects"]["precision"], rel=1e-4
    )
    assert whole["stack"]["fit_s"] == pytest.approx(rows["stack"]["fit_s"], rel=1e-4)
    by_size = page["tables"]["whole_size"]["rows"]
    assert sum(r["reference"] for r in by_size) == rows["stack"]["objects"]["reference"]
    marked = [r["name"] for r in page["tables"]["tried"]["rows"] if r["chosen"] == "chosen"]
    assert marked == [f"{summary['learner']} mean"]
    text = {s["id"]: s["text"] for s in page["sections"]}
    for key in ("f1", "average_precision"):
        both = f"{rows['mean'][key]:.3f} against {rows['stack'][key]:.3f}"
        assert both in text["ledger"]
    assert "The threshold is" in text["decision"] and "that were checked hold" in text["leaks"]
    assert len(page["tables"]["agreement_size"]["rows"]) == len(summary["agreement_by_size"])


def test_a_landslide_over_a_seam_is_one_wherever_landslides_are_counted(tiny_run: Path) -> None:
    source = RunSource(tiny_run)
    page, listed = prediction(source, "prediction-valid"), source.summary("predict/valid/slides")
    assert listed["over_seams"] == 1
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}["stack"]
    by_size = page["tables"]["whole_size"]["rows"]
    assert whole["predicted"] == listed["slides"] == sum(r["predicted"] for r in by_size)
    assert listed["slides"] == sum(r["slides"] for r in page["tables"]["slides_sizes"]["rows"])
    text = next(s["text"] for s in page["sections"] if s["id"] == "landslides")
    assert f"{listed['slides']} landslides, " in text and "(1 are)" in text
    page = stack(source)
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}["stack"]
    by_size = page["tables"]["agreement_size"]["rows"]
    assert whole["reference"] == sum(r["slides"] for r in by_size)


def test_a_gain_without_an_interval_says_why(tiny_run: Path, tmp_path: Path) -> None:
    gain = {**read_json(tiny_run / "stack/summary.json")["gain"], "low": None, "high": None}
    page = stack(changed(tiny_run, tmp_path, gain={**gain, "blocks": 4}))
    assert "no interval: 4 blocks of tiles are too few" in page["lead"]


def test_the_decision_is_told_in_words(tiny_run: Path, tmp_path: Path) -> None:
    decision = read_json(tiny_run / "stack/summary.json")["decision"]
    decision["postprocess"] = {"smallest_px": 8, "gain": 0.004, "reason": None}
    decision["follow"] = "unlike"
    said = decision_sentence(changed(tiny_run, tmp_path, decision=decision).summary("stack"))
    assert "Landslides below 8 pixels are removed: F1 moves by +0.004" in said
    assert "unlike those of training" in said and "half as frequent" in said


def test_no_scores_no_figures(tiny_run: Path, tmp_path: Path) -> None:
    source = changed(tiny_run, tmp_path)
    shutil.rmtree(source.run / "predict/valid/scores")
    page = prediction(RunSource(source.run), "prediction-valid")
    drawn(page)
    assert "Without masks it has no score." in page["lead"]
