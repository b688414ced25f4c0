"""The pages of the stack and of a prediction, on a small real run and on planted values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from l4s_ensemble.predict.summary import LandslidesSummary, ScoresSummary
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pages.overview import verdict
from l4s_ensemble.report.pages.prediction import area_sentence, prediction
from l4s_ensemble.report.pages.stack import decision_sentence, stack
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json
from l4s_ensemble.stack.summary import StackSummary


def test_the_page_shows_what_the_stage_found(tiny_run: Path) -> None:
    source = RunSource(tiny_run)
    page, summary = stack(source), source.need(StackSummary)
    rows = {r.model: r for r in summary.comparison}
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}
    objects = rows["stack"].objects
    assert objects is not None and whole["stack"]["found"] == objects.found
    assert whole["stack"]["f1"] == objects.f1
    by_size = page["tables"]["whole_size"]["rows"]
    assert sum(r["reference"] for r in by_size) == objects.reference
    assert [r["chosen"] for r in page["tables"]["tried"]["rows"]].count("chosen") == 1
    assert f"F1 {rows['mean'].f1:.3f} against {rows['stack'].f1:.3f}" in page["lead"]
    assert any("checks for leaks hold" in s for s in page["blocks"]["leaks"]["lines"])
    everyone, *sizes = page["tables"]["agreement"]["rows"]
    assert len(sizes) == len(summary.agreement_by_size) and everyone["size"] == "all"


def test_a_landslide_over_a_seam_is_one_wherever_landslides_are_counted(
    tiny_run: Path, tiny_report: Path
) -> None:
    source = RunSource(tiny_run)
    page, listed = prediction(source, "prediction-valid"), source.need(LandslidesSummary, "valid")
    assert listed.over_seams == 1
    whole = {r["model"]: r for r in page["tables"]["whole"]["rows"]}["stack"]
    by_size = page["tables"]["whole_size"]["rows"]
    assert whole["predicted"] == listed.landslides == sum(r["predicted"] for r in by_size)
    series = page["figures"]["frequency"]["data"]["series"][-1]
    assert series["name"] == "mapped" and series["y"][0] == listed.landslides
    assert series["y"] == sorted(series["y"], reverse=True)
    text = next(s["text"] for s in page["sections"] if s["id"] == "landslides")
    assert f"{listed.landslides} landslides of " in text and "(1 such)" in text
    rows = read_json(tiny_report / "prediction-valid.json")["blocks"]["largest"]["rows"]
    assert [r["id"] for r in rows] == [r.id for r in listed.largest[: len(rows)]]
    for row in rows:
        assert (tiny_report / row["picture"]["file"]).is_file()


def test_a_gain_without_an_interval_says_why(with_summary: Callable[..., RunSource]) -> None:
    few = {"low": None, "high": None, "blocks": 4, "shown": False}
    page = stack(with_summary("stack", lambda s: s["gain"].update(few)))
    assert "no interval: 4 blocks of tiles are too few" in page["lead"]


def test_the_decision_is_said_in_words(with_summary: Callable[..., RunSource]) -> None:
    done = {"smallest_px": 8, "gain": 0.004, "reason": None}

    def change(summary: dict[str, Any]) -> None:
        summary["decision"]["postprocess"].update(done)
        summary["decision"]["adapt_threshold"] = True

    said = decision_sentence(with_summary("stack", change).need(StackSummary))
    assert "Landslides below 8 pixels are removed: F1 moves by +0.004" in said
    assert "differ from training" in said


def test_areas_are_said_in_words(with_summary: Callable[..., RunSource]) -> None:
    def change(summary: dict[str, Any]) -> None:
        summary["masks"] |= {"tp": 5000, "fn": 600, "fp": 2616}

    source = with_summary("predict/valid/scores", change)
    assert area_sentence(source, "valid").endswith("56\u202fha in the reference: +36\u202f%.")
    assert words.area(3e8) == "30,000\u202fha" and words.percent(-0.204) == "−20\u202f%"


def test_the_verdict_follows_from_the_numbers(with_summary: Callable[..., RunSource]) -> None:
    def of(change: Callable[[dict[str, Any]], Any]) -> dict[str, str]:
        source = with_summary("predict/valid/scores", change)
        made = verdict(source, headline.on_split(source, "valid"))
        return {key: " ".join(made[key]) for key in ("use", "avoid", "why")}

    def row(summary: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = next(r for r in summary["comparison"] if r["model"] == "stack")
        return found

    def poor(summary: dict[str, Any]) -> None:
        summary["baselines"][0]["f1"] = 0.99

    assert "simple rule does as well: NDVI and slope has F1 0.990" in of(poor)["avoid"]

    def good(summary: dict[str, Any]) -> None:
        row(summary).update(f1=0.995, tp=1000, fp=10, fn=0)

    use = of(good)["use"]
    assert "Finding ground with landslides" in use and "The mapped area: +1" in use

    def rough(summary: dict[str, Any]) -> None:
        row(summary)["objects"] |= {"f1": 0.4, "found": 3, "reference": 9}

    assert "single landslides: 3 of 9 are matched" in of(rough)["avoid"]

    def large(summary: dict[str, Any]) -> None:
        row(summary).update(f1=0.995, tp=1000, fp=500, fn=0)

    assert "area without correction: +50" in of(large)["avoid"]


def test_rows_of_baselines_are_those_of_the_scores(tiny_run: Path) -> None:
    source = RunSource(tiny_run)
    scores = source.need(ScoresSummary, "valid")
    drawn = prediction(source, "prediction-valid")["figures"]["baselines"]
    assert drawn["data"]["names"][:2] == [b.name for b in scores.baselines]
    assert "No interval: 4 blocks" in drawn["read"]
