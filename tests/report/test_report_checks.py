from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from l4s_ensemble.report.checks import run_checks
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json

Change = Callable[[dict[str, Any]], Any]
SCORES, RESULT = "predict/valid/scores", "predict/valid/result"


def levels(run: Path) -> dict[str, str]:
    return {c["key"]: c["level"] for c in run_checks(RunSource(run))}


def stack_row(summary: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in summary["comparison"] if r["model"] == "stack")
    return found


def test_a_good_run_has_no_issue_in_its_data(tiny_run: Path) -> None:
    found = run_checks(RunSource(tiny_run))
    assert [c["number"] for c in found] == list(range(1, len(found) + 1))
    assert len({c["key"] for c in found}) == len(found)
    good = {c["key"] for c in found if c["level"] == "passed"}
    assert {
        "units",
        "leaks",
        "degenerate",
        "copies",
        "finite",
        "baseline",
        "loss",
        "interval-stack",
        "submission-valid",
    } <= good
    assert all(c["title"] and c["explanation"].endswith(".") for c in found)


def test_checks_are_few_and_each_measure_has_one_verdict_a_place(tiny_run: Path) -> None:
    """Sixty-one checks contradicted each other: of calibration alone there were four."""
    found = run_checks(RunSource(tiny_run))
    assert len(found) <= 27  # with two predicted splits
    for word in ("robabilities are", "mapped area", "ombining"):
        pages = [c["page"] for c in found if word in c["title"]]
        assert pages and len(pages) == len(set(pages)), word


def gain(low: float | None, high: float | None) -> Change:
    shown = low is not None and low > 0
    return lambda s: s["gain"].update(low=low, high=high, shown=shown)


def brighter(s: dict[str, Any]) -> None:
    for key in ("p25", "p50", "p75"):
        s["bands"][3][key] += 5000


def area(factor: float) -> Change:
    def change(s: dict[str, Any]) -> None:
        s["masks"] |= {"tp": 1000, "fn": 0, "fp": round(1000 * (factor - 1))}

    return change


@pytest.mark.parametrize(
    ("stage", "change", "key", "level"),
    [
        ("data/train", lambda s: s.update(exact_share=0.97, inexact=["a"]), "units", "issue"),
        ("data/train", lambda s: s.update(degenerate=[1, 2, 3]), "degenerate", "tip"),
        ("data/valid", brighter, "shift", "tip"),
        ("pixel", lambda s: s["oof"].update(f1=0.05), "baseline", "issue"),
        ("pixel", lambda s: s["rule"].update(f1=0.99), "baseline", "issue"),
        ("pixel", lambda s: s["folds"][0].update(f1=0.01), "folds", "tip"),
        ("stack", lambda s: s.update(threshold=0.999), "plateau", "issue"),
        ("stack", lambda s: stack_row(s).update(calibration_error=0.2),
         "calibration-stack", "issue"),
        ("unet", lambda s: s["folds"][1]["epochs"][-1].update(loss=9.0), "loss", "issue"),
        ("unet", lambda s: s["folds"][1]["epochs"][0].update(loss=2.0), "loss", "passed"),
        ("stack", gain(-0.01, 0.02), "gain-stack", "tip"),
        ("stack", gain(0.01, 0.02), "gain-stack", "passed"),
        ("stack", gain(-0.05, -0.01), "gain-stack", "issue"),
        ("stack", gain(None, None), "gain-stack", "tip"),
        ("stack", lambda s: stack_row(s).update(blocks=9), "interval-stack", "tip"),
        (SCORES, lambda s: stack_row(s).update(f1_best=0.99), "threshold-valid", "issue"),
        (SCORES, lambda s: s["baselines"][1].update(f1=0.99), "baselines-valid", "issue"),
        (SCORES, lambda s: s.update(block_kind="tile"), "interval-valid", "tip"),
        (SCORES, area(1.05), "area-valid", "passed"),
        (SCORES, area(1.18), "area-valid", "tip"),
        (SCORES, area(1.5), "area-valid", "issue"),
        (SCORES, lambda s: s["uncertainty"]["auc"].update(all=0.5),
        "uncertainty-valid", "issue"),
        ("predict/test/result", lambda s: s.update(predicted_share=0.6), "area-test", "issue"),
        (RESULT, lambda s: s["submission"].update(verified=False), "submission-valid", "issue"),
        (RESULT, lambda s: s["applicability"].update(outside=1), "applicability-valid", "tip"),
        (RESULT, lambda s: s["applicability"].update(outside=3), "applicability-valid", "issue"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(
    run_copy: Path, stage: str, change: Change, key: str, level: str
) -> None:
    path = run_copy / stage / "summary.json"
    summary = read_json(path)
    change(summary)
    write_json(path, summary)
    assert levels(run_copy)[key] == level


@pytest.mark.parametrize(("kind", "level"), [("warning", "tip"), ("error", "issue")])
def test_what_the_scan_found_is_told(run_copy: Path, kind: str, level: str) -> None:
    assert "scan" not in levels(run_copy)
    fault = {"level": kind, "code": "nan", "where": "b", "message": "m", "split": "valid"}
    write_json(run_copy / "data/check.json", {"faults": [fault]})
    assert levels(run_copy)["scan"] == level


def test_copies_across_splits_are_an_issue_within_one_a_tip(run_copy: Path) -> None:
    hashes = {
        s: zarr.open_group(run_copy / f"data/{s}/patches.zarr", mode="r+")["content_hash"]
        for s in ("train", "valid")
    }
    own, other = hashes["train"][:], hashes["valid"][:]
    own[1] = own[0]
    hashes["train"][:] = own
    assert levels(run_copy)["copies"] == "tip"
    other[0] = own[2]
    hashes["valid"][:] = other
    assert levels(run_copy)["copies"] == "issue"


def test_copies_of_a_tile_across_folds_are_a_leak(run_copy: Path) -> None:
    with (run_copy / "scenes/patches.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["role"] == "fit"]
    first, last = rows[0], rows[-1]
    assert first["fold"] != last["fold"]
    store = zarr.open_group(run_copy / "data/train/patches.zarr", mode="r+")
    ids, hashes = store["patch"][:].tolist(), store["content_hash"][:]
    hashes[ids.index(int(last["patch"]))] = hashes[ids.index(int(first["patch"]))]
    store["content_hash"][:] = hashes
    assert levels(run_copy)["leaks"] == "issue"


def test_ids_that_a_model_wrote_down_are_held_against_its_folds(run_copy: Path) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    note = run_copy / "pixel/fold_0.json"
    held = [int(i) for i in load_folds(run_copy / "scenes").held_out_ids(0)]
    write_json(note, {**read_json(note), "trained": held})
    assert levels(run_copy)["leaks"] == "issue"
