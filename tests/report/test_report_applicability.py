"""What the report says of tiles outside the area of applicability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4s_ensemble.report.checks import run_checks
from l4s_ensemble.report.parts import applicability
from l4s_ensemble.report.source import RunSource


def test_a_run_shows_its_tiles_beside_those_held_out(tiny_run: Path) -> None:
    source = RunSource(tiny_run)
    told = applicability.known(source, "valid")
    assert told["patches"] == 4 and len(told["distance"]) == 4
    for shares in (told["here"], told["held_out"]):
        assert sum(shares) == pytest.approx(1) and len(shares) == len(told["edges"])
    beyond = [d > told["limit"] for d in told["distance"].values()]
    assert sum(beyond) == told["outside"]
    right = np.array(told["edges"]) >= told["limit"] - 1e-9
    assert sum(np.array(told["here"])[right]) == pytest.approx(np.mean(beyond))
    assert set(applicability.figures(told)) == {"applicability"}


def test_scores_of_both_kinds_stand_in_one_table(tiny_run: Path) -> None:
    told = applicability.known(RunSource(tiny_run), "valid")

    def row(like: bool, f1: float, low: float | None) -> dict[str, Any]:
        each = {"value": f1, "low": low, "high": None if low is None else f1 + 0.1}
        return {"like": like, "tiles": 2, "pixel": each, "unet": each, "mean": each, "stack": each}

    both = {"applicability": [row(True, 0.7, 0.6), row(False, 0.3, None)]}
    (table,) = applicability.tables(told, both).values()
    assert [r["stack"] for r in table["rows"]] == [0.7, 0.3]
    assert (
        table["rows"][0]["stack_span"] == [0.6, 0.7 + 0.1]
        and table["rows"][1]["stack_span"] is None
    )
    assert applicability.tables(told, {"applicability": both["applicability"][:1]}) == {}


def test_a_run_that_knows_nothing_says_nothing(with_summary: Callable[..., RunSource]) -> None:
    source = with_summary("predict/valid/result", lambda s: s.update(applicability=None))
    assert applicability.known(source, "valid") == {}
    assert "applicability-valid" not in {c["key"] for c in run_checks(source)}
    assert applicability.sentence({}) == "" and applicability.figures({}) == {}
