"""What the report says of tiles unlike those of training."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from l4s_ensemble.report.checks.predictions import like_training
from l4s_ensemble.report.pages import likeness
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json


def test_a_run_shows_its_tiles_beside_those_held_out(whole_run: Path) -> None:
    source = RunSource(whole_run)
    told = likeness.told(source, "valid")
    assert told["patches"] == 4 and len(told["distance"]) == 4
    for shares in (told["here"], told["held_out"]):
        assert sum(shares) == pytest.approx(1) and len(shares) == len(told["edges"])
    beyond = [d > told["limit"] for d in told["distance"].values()]
    assert sum(beyond) == told["unlike"]
    right = np.array(told["edges"]) >= told["limit"] - 1e-9
    assert sum(np.array(told["here"])[right]) == pytest.approx(np.mean(beyond))
    assert set(likeness.figures(told)) == {"likeness"}


@pytest.mark.parametrize(
    ("unlike", "level", "words"),
    [(0, "passed", "Every tile is like"), (1, "tip", "1 of 4 tiles"), (3, "issue", "3 of 4 tiles")],
)
def test_the_check_weighs_how_many_are_unlike(
    whole_run: Path, tmp_path: Path, unlike: int, level: str, words: str
) -> None:
    run = copytree(whole_run, tmp_path / "run")
    path = run / "predict/valid/likeness/summary.json"
    write_json(path, {**read_json(path), "unlike": unlike})
    (found,) = like_training(RunSource(run))
    assert found.level == level and words in found.explanation


def test_scores_of_both_kinds_stand_in_one_table(whole_run: Path) -> None:
    told = likeness.told(RunSource(whole_run), "valid")

    def row(like: bool, f1: float, low: float | None) -> dict[str, Any]:
        each = {"value": f1, "low": low, "high": None if low is None else f1 + 0.1}
        return {"like": like, "tiles": 2, "pixel": each, "unet": each, "mean": each, "stack": each}

    both = {"likeness": [row(True, 0.7, 0.6), row(False, 0.3, None)]}
    (table,) = likeness.tables(told, both).values()
    assert [r["stack"] for r in table["rows"]] == [0.7, 0.3]
    assert table["rows"][0]["stack_span"] == [0.6, 0.8] and table["rows"][1]["stack_span"] is None
    assert likeness.tables(told, {"likeness": both["likeness"][:1]}) == {}


def test_a_run_that_knows_nothing_says_nothing(whole_run: Path, tmp_path: Path) -> None:
    run = copytree(whole_run, tmp_path / "run")
    write_json(run / "predict/valid/likeness/summary.json", {"known": False})
    source = RunSource(run)
    assert likeness.told(source, "valid") == {} and list(like_training(source)) == []
    assert likeness.sentence({}) == "" and likeness.figures({}) == {}
