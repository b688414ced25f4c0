"""What the report says of tiles outside the area of applicability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4s_ensemble.predict.summary import ResultSummary, ScoresSummary
from l4s_ensemble.report.checks import run_checks
from l4s_ensemble.report.parts import applicability
from l4s_ensemble.report.source import RunSource


def test_a_run_shows_its_tiles_beside_those_held_out(tiny_run: Path) -> None:
    found = RunSource(tiny_run).need(ResultSummary, "valid").applicability
    assert found is not None and found.patches == 4 and len(found.distance) == 4
    for shares in (found.here, found.held_out):
        assert sum(shares) == pytest.approx(1) and len(shares) == len(found.edges)
    beyond = [d > found.limit for d in found.distance.values()]
    assert sum(beyond) == found.outside == len(found.tiles_outside())
    right = np.array(found.edges) >= found.limit - 1e-9
    assert sum(np.array(found.here)[right]) == pytest.approx(np.mean(beyond))
    assert set(applicability.figures(found)) == {"applicability"}


def test_scores_of_both_kinds_stand_in_one_table(with_summary: Callable[..., RunSource]) -> None:
    def row(like: bool, f1: float) -> dict[str, Any]:
        each = {"value": f1, "low": None, "high": None, "blocks": 4, "level": 0.95}
        return {"like": like, "tiles": 2, **dict.fromkeys(("pixel", "unet", "mean", "stack"), each)}

    def both(rows: list[dict[str, Any]]) -> ScoresSummary:
        source = with_summary("predict/valid/scores", lambda s: s.update(applicability=rows))
        return source.need(ScoresSummary, "valid")

    (table,) = applicability.tables(both([row(True, 0.7), row(False, 0.3)])).values()
    assert [(r["which"], r["stack"]) for r in table["rows"]] == [("inside", 0.7), ("outside", 0.3)]
    assert applicability.tables(both([row(True, 0.7)])) == {}


def test_a_run_that_knows_nothing_says_nothing(with_summary: Callable[..., RunSource]) -> None:
    source = with_summary("predict/valid/result", lambda s: s.update(applicability=None))
    assert "applicability-valid" not in {c["key"] for c in run_checks(source)}
    assert applicability.sentence(None) == "" and applicability.figures(None) == {}
