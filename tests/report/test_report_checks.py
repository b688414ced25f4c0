from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from l4s_ensemble.report.checks.all import run_checks
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json

Change = Callable[[dict[str, Any]], None]


def changed(whole_run: Path, tmp_path: Path, stage: str, change: Change) -> Path:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    path = run / stage / "summary.json"
    summary = read_json(path)
    change(summary)
    write_json(path, summary)
    return run


def levels(run: Path) -> dict[str, str]:
    return {c["key"]: c["level"] for c in run_checks(RunSource(run))}


def stack_row(summary: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in summary["ledger"] if r["model"] == "stack")
    return found


def test_a_good_run_has_no_issue_in_its_data(whole_run: Path) -> None:
    found = run_checks(RunSource(whole_run))
    assert [c["number"] for c in found] == list(range(1, len(found) + 1))
    assert len({c["key"] for c in found}) == len(found)
    good = {c["key"] for c in found if c["level"] == "passed"}
    assert {
        "units-train", "units-valid", "folds-leak", "degenerate-train", "one-feature", "loss",
        "plateau-stack", "submission-valid",
    } <= good  # fmt: skip
    assert all(c["title"] and c["explanation"].endswith(".") for c in found)


def inexact(s: dict[str, Any]) -> None:
    s["exact_share"], s["inexact"] = 0.97, ["image_3.h5"]


def many_degenerate(s: dict[str, Any]) -> None:
    s["degenerate"] = list(range(6))


def worse_than_a_feature(s: dict[str, Any]) -> None:
    s["oof"]["f1"] = 0.05


def worse_than_the_rule(s: dict[str, Any]) -> None:
    s["rule"]["gain"].update(value=-0.1, low=-0.2, high=-0.05)


def hardly_better_than_the_rule(s: dict[str, Any]) -> None:
    s["rule"]["gain"].update(value=0.02, low=-0.01, high=0.05)


def better_than_the_rule(s: dict[str, Any]) -> None:
    s["rule"]["gain"].update(value=0.2, low=0.1, high=0.3)


def no_slope(s: dict[str, Any]) -> None:
    s["rule"] = {"lacks": ["slope"]}


def diverged(s: dict[str, Any]) -> None:
    s["folds"][1]["epochs"][-1]["loss"] = 9.0


def one_bad_fold(s: dict[str, Any]) -> None:
    s["folds"][0]["f1"] = 0.01


def off_plateau(s: dict[str, Any]) -> None:
    s["oof"]["threshold"] = 0.99


def on_a_ridge(s: dict[str, Any]) -> None:
    row = s["oof"]
    row["plateau_low"], row["plateau_high"] = row["threshold"] - 0.01, row["threshold"] + 0.01


def overconfident(s: dict[str, Any]) -> None:
    n = len(s["histogram"]["negative"])
    s["histogram"]["negative"][n // 2] += 1_000_000


def no_gain(s: dict[str, Any]) -> None:
    s["gain"].update(low=-0.01, high=0.02)


def loses(s: dict[str, Any]) -> None:
    s["gain"].update(value=-0.03, low=-0.05, high=-0.01)


def no_interval(s: dict[str, Any]) -> None:
    s["gain"].update(low=None, high=None)


def lost_threshold(s: dict[str, Any]) -> None:
    stack_row(s)["f1_best"] = stack_row(s)["f1"] + 0.2


def all_alone(s: dict[str, Any]) -> None:
    s["block_kind"] = "tile"


def floods(s: dict[str, Any]) -> None:
    s["predicted_share"] = 0.6


def unverified(s: dict[str, Any]) -> None:
    s["submission"]["verified"] = False


def shifted(s: dict[str, Any]) -> None:
    s["bands"][7]["p50"] += 10 * (s["bands"][7]["p75"] - s["bands"][7]["p25"])


@pytest.mark.parametrize(
    ("stage", "change", "key", "level"),
    [
        ("data/train", inexact, "units-train", "issue"),
        ("data/train", many_degenerate, "degenerate-train", "tip"),
        ("pixel", worse_than_a_feature, "one-feature", "issue"),
        ("pixel", worse_than_the_rule, "rule-pixel", "issue"),
        ("pixel", hardly_better_than_the_rule, "rule-pixel", "tip"),
        ("pixel", no_slope, "rule-pixel", "tip"),
        ("pixel", better_than_the_rule, "rule-pixel", "passed"),
        ("unet", diverged, "loss", "issue"),
        ("pixel", one_bad_fold, "spread-pixel", "tip"),
        ("pixel", off_plateau, "plateau-pixel", "issue"),
        ("unet", on_a_ridge, "plateau-unet", "tip"),
        ("pixel", overconfident, "calibration-pixel", "issue"),
        ("stack", no_gain, "gain-stack", "tip"),
        ("stack", loses, "gain-stack", "issue"),
        ("stack", no_interval, "gain-stack", "tip"),
        ("predict/valid/scores", lost_threshold, "carries-valid", "issue"),
        ("predict/valid/scores", all_alone, "interval-valid", "tip"),
        ("predict/valid/result", floods, "prevalence-valid", "issue"),
        ("predict/valid/result", unverified, "submission-valid", "issue"),
        ("data/valid", shifted, "alike-valid", "tip"),
    ],
)
def test_a_planted_fault_is_found(
    whole_run: Path, tmp_path: Path, stage: str, change: Change, key: str, level: str
) -> None:
    assert levels(changed(whole_run, tmp_path, stage, change))[key] == level


def test_copies_of_a_tile_across_folds_are_a_leak(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    assert levels(run)["folds-leak"] == "passed"
    with (run / "scenes/patches.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = int(rows[0]["patch"])
    other = next(int(r["patch"]) for r in rows if _trained_without(rows, r))
    store = zarr.open_group(run / "data/train/patches.zarr", mode="r+")
    ids = store["patch"][:].tolist()
    hashes = store["content_hash"][:]
    hashes[ids.index(other)] = hashes[ids.index(first)]
    store["content_hash"][:] = hashes
    assert levels(run)["folds-leak"] == "issue"


def _trained_without(rows: list[dict[str, str]], row: dict[str, str]) -> bool:
    """Whether a tile trains in the fold that holds the first tile: far away and in another fold."""
    first = rows[0]
    far = max(abs(int(row[k]) - int(first[k])) for k in ("row", "col")) > 1
    touches_fold = any(
        r["fold"] == first["fold"]
        and max(abs(int(row[k]) - int(r[k])) for k in ("row", "col")) <= 1
        for r in rows
    )
    return far and row["fold"] != first["fold"] and not touches_fold


def test_ids_that_a_model_wrote_down_are_held_against_its_folds(
    whole_run: Path, tmp_path: Path
) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    folds = load_folds(run / "scenes")
    for k in range(folds.n_folds):
        write_json(run / f"pixel/fold_{k}.json", {"trained": folds.train_ids(k)})
    assert levels(run)["trained-tiles"] == "passed"
    write_json(run / "pixel/fold_0.json", {"trained": folds.held_ids(0)})
    assert levels(run)["trained-tiles"] == "issue"
