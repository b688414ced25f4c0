"""The threshold as a decision: what the tables say is what the metrics say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.metrics.counts import scores_pooled
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.predict.summary import ResultSummary
from l4s_ensemble.report.parts import threshold
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.words import of_100

SPLIT = "predict/valid/scores"


def test_a_row_of_the_table_is_the_score_of_its_threshold(tiny_run: Path) -> None:
    tiles = TileHistograms.load(tiny_run / SPLIT / "tiles.npz")
    histogram = tiles.pooled()
    rows = threshold.costs(histogram, 0.4, 10.0)["rows"]
    for row in rows:
        expected = scores_pooled(tiles.counts(row["threshold"]))
        for key in ("recall", "f1"):
            assert row[key] == pytest.approx(expected[key], rel=1e-5)
        assert row["false"] == expected["fp"] * 100 and row["missed"] == expected["fn"] * 100
    by_name = {r["name"]: r for r in rows}
    assert by_name["in use"]["threshold"] == 0.4
    assert by_name["best F1 here"]["threshold"] == pytest.approx(histogram.best().value)
    # The dearer a miss, the lower the threshold; each is the cheapest of all thresholds.
    order = [r["threshold"] for r in rows[2:]]
    assert order == sorted(order, reverse=True) and len(set(order)) > 1
    for ratio, row in zip(threshold.RATIOS, rows[2:], strict=True):
        costs = [
            c["fp"] + ratio * c["fn"]
            for k in range(0, 1000, 7)
            if (c := scores_pooled(tiles.counts(k / 1000)))
        ]
        assert row["false"] / 100 + ratio * row["missed"] / 100 <= min(costs)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0"), (0.004, "fewer than 1"), (0.685, "69"), (0.997, "more than 99"), (1.0, "100")],
)
def test_of_a_hundred(share: float, said: str) -> None:
    assert of_100(share) == said


def test_without_masks_the_mapped_area_alone(run_copy: Path) -> None:
    shutil.rmtree(run_copy / SPLIT)
    source = RunSource(run_copy)
    result = source.need(ResultSummary, "valid")
    told = threshold.predicted(source, result)
    used = next(r for r in told["rows"] if r["mark"] == "in use")
    assert used["mapped"] == pytest.approx(result.predicted_pixels * 100, rel=1e-5)
    assert np.all(np.diff([r["mapped"] for r in told["rows"]]) <= 0)
    assert "nobody can say" in told["note"]
