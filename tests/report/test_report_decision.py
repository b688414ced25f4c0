"""The threshold as a decision: what the page is given is what the metrics say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.metrics.counts import scores_pooled
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report.parts import threshold
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json

SPLIT = "predict/valid/scores"


def some_histogram(seed: int = 0, bins: int = 100) -> ScoreHistogram:
    rng = np.random.default_rng(seed)
    made = ScoreHistogram.empty(bins)
    reference = rng.random(20_000) < 0.06
    made.add(np.clip(rng.normal(0.2 + 0.4 * reference, 0.2), 0, 1), reference)
    return made


def test_the_stack_page_holds_the_counts_of_every_model(tiny_run: Path) -> None:
    told = threshold.of_stage(RunSource(tiny_run), "stack", "train")
    assert told is not None
    assert [m["model"] for m in told["models"]] == ["pixel", "unet", "mean", "stack"]
    for m in told["models"]:
        tiles = TileHistograms.load(tiny_run / "stack" / f"tiles_{m['model']}.npz")
        assert m["positive"] == tiles.pooled().positive.tolist()
        assert m["negative"] == tiles.pooled().negative.tolist()
    assert told["pixel_km2"] == 1e-4  # 10 m
    assert (
        told["models"][-1]["threshold"] == read_json(tiny_run / "stack/summary.json")["threshold"]
    )


def test_a_row_of_the_table_is_the_score_of_its_threshold(tiny_run: Path) -> None:
    told = threshold.of_stage(RunSource(tiny_run), SPLIT, "valid")
    assert told is not None
    tiles = TileHistograms.load(tiny_run / SPLIT / "tiles.npz")
    marks = []
    for row in told["table"]["rows"]:
        expected = scores_pooled(tiles.counts(row["threshold"]))
        if expected["tp"] + expected["fp"]:  # nothing predicted: precision is a word
            assert row["precision"] == pytest.approx(expected["precision"], rel=1e-5)
        for key in ("recall", "f1", "iou"):
            assert row[key] == pytest.approx(expected[key], rel=1e-5)
        assert row["false"] == pytest.approx(expected["fp"] * 1e-4, rel=1e-5)
        assert row["missed"] == pytest.approx(expected["fn"] * 1e-4, rel=1e-5)
        marks.append(row["mark"] or "")
    assert sum("in use" in m for m in marks) == sum("best F1 here" in m for m in marks) == 1
    assert "would be no fair score" in told["note"]


def test_a_threshold_in_words() -> None:
    histogram = some_histogram()
    best = histogram.best()
    said = threshold.sentence(histogram, best.value, 1e-4)
    curve = histogram.curve()
    k = round(best.value * histogram.bins)
    assert f"Of 100 predicted pixels {curve['precision'][k] * 100:.0f} are landslide" in said
    assert "is as good" in said and "km²" in said
    far = threshold.sentence(histogram, 0.9, 1e-4)
    assert f"loses {best.f1 - curve['f1'][90]:.3f}" in far
    assert "predicts no landslide" in threshold.sentence(ScoreHistogram.empty(100), 0.5, 1.0)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0"), (0.004, "fewer than 1"), (0.685, "69"), (0.997, "more than 99"), (1.0, "100")],
)
def test_of_a_hundred(share: float, said: str) -> None:
    assert threshold._of_100(share) == said


def test_without_masks_the_predicted_area_alone(run_copy: Path) -> None:
    shutil.rmtree(run_copy / SPLIT)
    result = read_json(run_copy / "predict/valid/result/summary.json")
    assert threshold.of_stage(RunSource(run_copy), SPLIT, "valid") is None
    told = threshold.predicted_table(RunSource(run_copy), "valid")
    used = next(r for r in told["rows"] if r["mark"] == "in use")
    assert used["predicted"] == pytest.approx(result["predicted_pixels"] * 1e-4, rel=1e-5)
    assert "precision" not in used and "nobody can say" in told["note"]
