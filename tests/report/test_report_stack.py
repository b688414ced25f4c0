from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated_stack import SMALLEST, enrich_stack

from l4s_ensemble.config import build
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report.checks.all import run_checks
from l4s_ensemble.report.figures import makers as figures
from l4s_ensemble.report.pages.prediction import prediction
from l4s_ensemble.report.pages.stack import decision as stack_decision
from l4s_ensemble.report.pages.stack import distance as stack_distance
from l4s_ensemble.report.pages.stack.page import stack
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import write
from l4s_ensemble.run.files import read_json, write_json

FEW = build({"report": {"gallery_tiles": 1}})
NEW = (
    "learner", "learners", "marginal", "decision", "leaks", "distance", "uncertainty",
    "agreement", "agreement_where", "coefficients",
)  # fmt: skip
NEW_SCORES = ("marginal", "masks", "reliability_of", "uncertainty", "distance", "tiles")
OLD = {"pr", "reliability", "coefficients", "agreement"}
FIGURES = OLD | {
    "adds", "slides_by_size", "learners", "prevalence", "calibration", "beside", "only_where",
    "distance", "risk",
}  # fmt: skip
TABLES = {
    "ledger", "whole", "whole_size", "tried", "prevalences", "calibrations", "follow",
    "follow_places", "postprocess", "beside_size", "beside_rim", "disagreed", "distances", "doubt",
    "looked", "leaks",
}  # fmt: skip
HERE = {
    "pr", "reliability", "adds", "slides_by_size", "by_size", "seen_unseen", "risk",
    "likeness",
}  # fmt: skip


@pytest.fixture(scope="module")
def rich_run(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("rich") / "run"
    shutil.copytree(whole_run, run)
    enrich_stack(run)
    return run


@pytest.fixture(scope="module")
def rich_report(rich_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_report(rich_run, tmp_path_factory.mktemp("report") / "out", FEW).parent


def flat(path: Path) -> str:
    import html

    bare = re.sub(r"<script.*?</script>|<[^>]+>", " ", path.read_text(encoding="utf-8"), flags=16)
    return re.sub(r"\s+", " ", html.unescape(bare))


def changed(run: Path, folder: Path, stage: str = "stack", **keys: Any) -> RunSource:
    """Summaries alone, one with other values; None takes a key away."""
    new = folder / "run"
    for part in ("pixel", "unet", "stack", "predict"):
        shutil.copytree(run / part, new / part, ignore=shutil.ignore_patterns("*.zarr"))
    summary = {**read_json(new / stage / "summary.json"), **keys}
    kept = {k: v for k, v in summary.items() if v is not None or k not in keys}
    write_json(new / stage / "summary.json", kept)
    return RunSource(new)


def levels(source: RunSource) -> dict[str, str]:
    told = run_checks(source)
    assert all(c["explanation"].endswith(".") for c in told)
    return {c["key"]: c["level"] for c in told}


def without(value: Any, *path: str) -> Any:
    """A copy of nested plain values, to change."""
    out = json.loads(json.dumps(value))
    for key in path:
        out = out[key]
    return out


@pytest.mark.parametrize("name", ["stack", "prediction-valid"])
def test_a_page_shows_all_that_its_twin_holds(rich_report: Path, name: str) -> None:
    twin, text = read_json(rich_report / f"{name}.json"), flat(rich_report / f"{name}.html")
    clean = lambda said: re.sub(r"\s+", " ", said)  # noqa: E731
    assert set(twin["figures"]) == (FIGURES if name == "stack" else HERE)
    if name == "stack":
        assert set(twin["tables"]) == TABLES and twin["missing"] == []
    assert not set(twin["figures"]) & set(twin["tables"])  # a name is a figure or a table
    shown = {item for s in twin["sections"] for item in s["items"]}
    assert set(twin["figures"]) | set(twin["tables"]) <= shown
    for one in twin["figures"].values():
        assert clean(one["title"]) in text and clean(one["read"]) in text and len(one["read"]) > 60
    for table in twin["tables"].values():
        for row in table["rows"]:
            for column in table["columns"]:
                assert clean(write(row[column["key"]], column["kind"])) in text
    for part in twin["sections"]:
        assert clean(part["text"]) in text


@pytest.mark.parametrize("name", ["stack", "prediction-valid"])
def test_every_axis_is_named_and_every_number_is_one(rich_report: Path, name: str) -> None:
    css = (rich_report / "assets/report.css").read_text()
    for key, spec in read_json(rich_report / f"{name}.json")["figures"].items():
        made = figures.plot(spec)
        told = json.dumps(made, allow_nan=False)
        assert not [c for c in re.findall(r'"@([\w-]+)"', told) if f"--{c}:" not in css]
        for plot in made["plots"]:
            assert plot["data"], key
            named = [plot["layout"][a]["title"]["text"] for a in ("xaxis", "yaxis")]
            assert named[0] and (named[1] or plot["data"][0].get("orientation") == "h"
                                 or key in ("adds", "learners")), key  # fmt: skip


def test_the_ledger_has_all_rows_with_slides_and_seconds(rich_report: Path, rich_run: Path) -> None:
    tables = read_json(rich_report / "stack.json")["tables"]
    names = [r["model"] for r in tables["ledger"]["rows"]]
    assert names == [
        "pixel classifier", "U-Net", "mean of both", "stack", "stack without the U-Net",
        "stack without the pixel classifier",
    ]  # fmt: skip
    whole = {r["model"]: r for r in tables["whole"]["rows"]}
    told = next(
        r for r in read_json(rich_run / "stack/summary.json")["ledger"] if r["model"] == "stack"
    )
    assert whole["stack"]["found"] == told["objects"]["found"]
    assert whole["stack"]["false_share"] == pytest.approx(
        told["objects"]["false"] / told["objects"]["called"], rel=1e-4
    )
    assert whole["stack"]["fit_s"] == told["fit_s"] > whole["U-Net"]["fit_s"] > 0
    assert set(whole) == set(names[:4])  # the others were not counted
    assert sum(r["slides"] for r in tables["whole_size"]["rows"]) == told["objects"]["slides"]


def test_one_learner_is_marked_and_reasons_stand_beside(rich_report: Path) -> None:
    twin = read_json(rich_report / "stack.json")
    marked = [r["name"] for r in twin["figures"]["learners"]["data"]["rows"] if r["marked"]]
    rows = twin["tables"]["tried"]["rows"]
    assert marked == [r["name"] for r in rows if r["chosen"] == "chosen"] and len(marked) == 1
    assert all(r["why"] for r in rows)
    assert [r["behind"] for r in rows if r["why"].startswith("the best")] == [0]
    assert {"pixel classifier alone", "U-Net alone", "weighted mean"} <= {r["name"] for r in rows}


def test_intervals_are_drawn_as_they_are(rich_report: Path, rich_run: Path) -> None:
    gains = {
        r["part"]: r for r in read_json(rich_run / "stack/summary.json")["marginal"]
    }  # fmt: skip
    (plot,) = figures.plot(read_json(rich_report / "stack.json")["figures"]["adds"])["plots"]
    (dots,) = plot["data"]
    at = dots["y"].index("stack without U-Net")
    row = gains["unet"]
    assert dots["x"][at] == pytest.approx(row["value"], rel=1e-3)
    assert dots["x"][at] - dots["error_x"]["arrayminus"][at] == pytest.approx(row["low"], abs=2e-4)
    assert dots["x"][at] + dots["error_x"]["array"][at] == pytest.approx(row["high"], abs=2e-4)
    lonely = {"name": "a", "value": 0.1, "low": None, "high": None, "colour": "mean"}
    (plot,) = figures.plot({"kind": "intervals", "data": {"axis": "F1", "rows": [lonely]}})["plots"]
    assert plot["data"][0]["error_x"]["array"] == [0.0]
    assert plot["data"][0]["customdata"] == ["unknown"]


def test_inputs_are_grouped_by_the_model_that_they_come_from(
    rich_run: Path, tmp_path: Path
) -> None:
    rows = [{"name": n, "share": 0.25} for n in
            ("logit_pixel", "around5_unet", "apart5", "slope_deg")]  # fmt: skip
    page = stack(changed(rich_run, tmp_path, importances=rows, learner="trees"))
    spec = page["figures"]["coefficients"]
    assert [r["group"] for r in spec["data"]["rows"]] == [
        "pixel classifier", "U-Net", "both", "terrain",
    ]  # fmt: skip
    assert "share of the gain" in spec["data"]["axis"]
    assert page["lead"].startswith("A meta-learner of boosted trees joins both models by 5 inputs")


def test_curves_at_other_prevalences_pass_through_what_is_told(
    rich_report: Path, rich_run: Path
) -> None:
    summary = read_json(rich_run / "stack/summary.json")
    d = read_json(rich_report / "stack.json")["figures"]["prevalence"]["data"]
    assert len(d["curves"]) == 3 == len(summary["decision"]["prevalence"])
    now = next(c for c in d["curves"] if c["name"] == "as in training")
    best = ScoreHistogram.from_dict(summary["histogram"]).best()
    assert now["best"][1] == pytest.approx(best.f1, abs=1e-3)
    for curve, row in zip(d["curves"], summary["decision"]["prevalence"], strict=True):
        assert len(curve["f1"]) == len(d["threshold"])
        assert max(curve["f1"]) <= curve["best"][1] + 1e-3
        near = int(np.argmin(np.abs(np.array(d["threshold"]) - row["threshold"])))
        assert curve["f1"][near] == pytest.approx(row["f1"], abs=0.03)


def test_the_decision_is_told_in_words(rich_run: Path, tmp_path: Path) -> None:
    said = stack_decision.sentence(RunSource(rich_run))
    assert (
        "Post-processing kept: smallest landslide (pixels 16, spared at 0.8, spare edge)." in said
    )
    assert "half as frequent" in said and "does not follow the scene: " in said
    assert stack_decision.step_words({**SMALLEST, "spare_edge": False}).count(",") == 1
    decision = without(read_json(rich_run / "stack/summary.json")["decision"])
    decision["postprocess"] |= {"kept": []}
    decision["follow"] |= {"chosen": "em", "why": "shown on scenes"}
    said = stack_decision.sentence(changed(rich_run, tmp_path, decision=decision))
    assert "none of 3 kinds that were tried" in said
    assert "follows the scene by best expected F1" in said


def test_distance_is_told_in_words(rich_run: Path) -> None:
    part = {"low": 2, "high": 2, "tiles": 5, "f1": 0.7, "f1_even": 0.6}
    trend = {
        "near": part, "far": {**part, "low": 3, "high": 6, "f1": 0.5},
        "even": {"value": 0.1, "low": 0.05, "high": 0.15}, "verdict": "falls",
    }  # fmt: skip
    said = stack_distance.sentence({"distance": {"trend": trend}})
    assert "At a distance of 2 tiles from training tiles F1 is 0.700" in said
    assert (
        "as a leak would show" in said
        and "at a distance of 3 to 6 tiles it is 0.500" in said
        and "+0.050 to +0.150" in said
    )
    assert stack_distance.sentence({"distance": {"trend": None}}) == ""
    assert stack_distance.sentence({}) == ""


def test_looking_at_more_pixels_never_lowers_f1(rich_report: Path) -> None:
    for name in ("stack", "prediction-valid"):
        d = read_json(rich_report / f"{name}.json")["figures"]["risk"]["data"]
        assert (np.diff(d["f1_helped"]) >= -1e-9).all() and d["errors_seen"][0] == 0


def test_tiles_with_most_disagreement_come_first(rich_report: Path) -> None:
    rows = read_json(rich_report / "stack.json")["tables"]["disagreed"]["rows"]
    one = [r["one"] for r in rows]
    assert rows and one == sorted(one, reverse=True)
    assert all(r["one"] == r["only_unet"] + r["only_pixel"] for r in rows)


def test_masks_stand_beside_the_threshold_alone(rich_report: Path, rich_run: Path) -> None:
    twin = read_json(rich_report / "prediction-valid.json")
    alone, handed = twin["tables"]["masks"]["rows"]
    told = read_json(rich_run / "predict/valid/scores/summary.json")["masks"]
    assert handed["f1"] == pytest.approx(told["f1"], rel=1e-4)
    assert handed["gain"] == pytest.approx(handed["f1"] - alone["f1"], abs=1e-4)
    assert {"label": "follows the scene", "value": True, "kind": "text"} in twin["facts"]
    (moved,) = twin["tables"]["thresholds"]["rows"]
    assert moved["threshold"] > moved["carried"]
    assert [m["name"] for m in twin["figures"]["seen_unseen"]["data"]] == [
        "pixel classifier", "U-Net", "stack",
    ]  # fmt: skip


def test_a_holdout_has_its_distance(rich_run: Path, tmp_path: Path) -> None:
    counted = read_json(rich_run / "stack/summary.json")["distance"]
    source = changed(rich_run, tmp_path, "predict/valid/scores", distance=counted)
    page = prediction(source, "valid")
    assert "distance" in page["figures"] and "distances" in page["tables"]
    assert "distance-prediction-valid" in levels(source)


def test_checks_of_a_good_stack(rich_run: Path) -> None:
    told = levels(RunSource(rich_run))
    assert told["leaks-stack"] in ("passed", "tip")
    assert {
        "learner", "adds-pixel-stack", "adds-unet-stack", "calibrated-stack", "other-prevalence",
        "distance-stack", "doubt-stack", "doubt-prediction-valid", "masks-valid", "word-valid",
        "adds-unet-prediction-valid",
    } - set(told) <= {"adds-unet-prediction-valid"}  # fmt: skip
    assert told["learner"] == "passed"


def test_planted_faults_of_a_stack_are_found(rich_run: Path, tmp_path: Path) -> None:
    s = without(read_json(rich_run / "stack/summary.json"))
    s["leaks"]["details"][0]["passed"] = False
    s["marginal"][0] |= {"value": -0.02, "low": -0.03, "high": -0.01}
    s["marginal"][1] |= {"value": 0.0, "low": -0.01, "high": 0.01}
    s["decision"]["calibration"]["after"]["calibration_error"] = 0.1
    s["threshold"] = 0.7
    for row in s["uncertainty"]["measures"]:
        row["auc"]["all"] = 0.5
    part = {"low": 2, "high": 2, "tiles": 5, "f1": 0.7, "f1_even": 0.6}
    s["distance"]["trend"] = {
        "near": part, "far": part, "even": {"value": 0.1, "low": 0.05, "high": 0.15},
        "verdict": "falls",
    }  # fmt: skip
    base = next(r for r in s["learners"] if r["name"] == "unet")
    base["gain"] |= {"value": 0.03, "low": 0.02, "high": 0.04}
    told = levels(changed(rich_run, tmp_path, **s))
    assert {k: told[k] for k in (
        "leaks-stack", "adds-unet-stack", "adds-pixel-stack", "calibrated-stack",
        "other-prevalence", "doubt-stack", "distance-stack", "learner",
    )} == {
        "leaks-stack": "tip", "adds-unet-stack": "issue", "adds-pixel-stack": "tip",
        "calibrated-stack": "issue", "other-prevalence": "issue", "doubt-stack": "issue",
        "distance-stack": "tip", "learner": "tip",
    }  # fmt: skip


def test_masks_that_lose_are_found(rich_run: Path, tmp_path: Path) -> None:
    scores = without(read_json(rich_run / "predict/valid/scores/summary.json"))
    scores["masks"]["over_threshold"]["value"] = -0.02
    next(r for r in scores["ledger"] if r["model"] == "stack")["calibration_error"] = 0.1
    told = levels(changed(rich_run, tmp_path, "predict/valid/scores", **scores))
    assert told["masks-valid"] == "tip" and told["word-valid"] == "issue"


def test_older_runs_have_what_they_know_and_say_what_not(whole_run: Path) -> None:
    source = RunSource(whole_run)
    page = stack(source)
    assert set(page["figures"]) == OLD | {"adds"} and set(page["tables"]) == {"ledger"}
    (missing,) = page["missing"]
    assert missing["command"].startswith("l4s-ensemble fit stack --run ")
    assert "How the decision was made" in missing["stage"]
    page = prediction(source, "valid")
    assert set(page["figures"]) == {"pr", "reliability", "by_size", "adds", "likeness"}
    assert set(page["tables"]) == {"ledger"}
    assert not {k for k in levels(source) if k.startswith(("leaks-", "doubt-", "adds-", "word-"))}


@pytest.mark.parametrize("key", NEW)
def test_any_part_of_the_stack_may_be_missing(rich_run: Path, tmp_path: Path, key: str) -> None:
    source = changed(rich_run, tmp_path, **{key: None})
    page = stack(source)
    for spec in page["figures"].values():
        figures.plot(spec)
    levels(source)


@pytest.mark.parametrize("key", NEW_SCORES)
def test_any_part_of_scores_may_be_missing(rich_run: Path, tmp_path: Path, key: str) -> None:
    source = changed(rich_run, tmp_path, "predict/valid/scores", **{key: None})
    page = prediction(source, "valid")
    for spec in page["figures"].values():
        figures.plot(spec)
    levels(source)


def test_no_scores_no_figures(rich_run: Path, tmp_path: Path) -> None:
    source = changed(rich_run, tmp_path)
    shutil.rmtree(source.run / "predict/valid/scores")
    page = prediction(RunSource(source.run), "valid")
    assert set(page["figures"]) == {"likeness"} and set(page["tables"]) == {"thresholds"}
    assert "Without masks it has no score." in page["lead"]
