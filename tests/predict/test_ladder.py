"""What is shown of a split for the competition, and what stops before hours of fitting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.compete import compete
from l4s_ensemble.config import build, load
from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.errors import DataError
from l4s_ensemble.pipeline import Run
from l4s_ensemble.predict import ladder
from l4s_ensemble.predict.submission import write_submission
from l4s_ensemble.run.files import write_json


def predicted(run: Path, split: str, tiles: int, f1: float) -> Path:
    """Leave a prediction with a score; give the folder of its data stage."""
    result = run / "predict" / split / "result"
    for n in range(tiles):
        write_mask(result / "masks" / f"mask_{n + 1}.h5", np.zeros((8, 8), np.uint8))
    write_submission(result / "masks", result / "submission.zip")
    write_json(
        run / "predict" / split / "scores" / "summary.json",
        {"ledger": [{"model": "pixel", "f1": 0.1}, {"model": "stack", "f1": f1}]},
    )
    write_json(run / "scenes" / "summary.json", {"grid": "official"})
    write_json(run / "data" / split / "summary.json", {"patches": tiles, "sensor": "l4s"})
    return run / "data" / split


def test_the_whole_official_split_stands_on_the_ladder(tmp_path):
    data = predicted(tmp_path, "valid", 245, 0.61)
    told = ladder.show(tmp_path, "valid", data, scored=True)
    assert told["submission"]["complete"] and told["not_comparable"] == ""
    assert told["ladder"]["sentence"] == "above Official baseline, U-Net (57.8)"


def test_a_part_of_a_split_does_not_and_without_masks_there_is_no_score(tmp_path):
    data = predicted(tmp_path, "test", 3, 0.99)
    told = ladder.show(tmp_path, "test", data, scored=True)
    assert not told["submission"]["complete"] and "800" in told["not_comparable"]
    told = ladder.show(tmp_path, "test", data, scored=False)
    assert told["submission"]["verified"] and "ladder" not in told and "no masks" in told["why"]


def test_nothing_is_fitted_where_there_is_nothing_to_compete_on(tmp_path, tiny_root, monkeypatch):
    monkeypatch.setattr(Run, "fit", lambda self: pytest.fail("fitted"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "TrainData").symlink_to(tiny_root / "TrainData")
    config = build({"data": {"root": str(tmp_path / "data")}})
    with pytest.raises(DataError, match="nothing to compete on"):
        compete(Run(tmp_path / "run", config))


def test_splits_are_scored_only_where_masks_are(tmp_path, tiny_root, monkeypatch):
    done = []
    monkeypatch.setattr(Run, "fit", lambda self: {"stack": True, "unet": False})
    monkeypatch.setattr(Run, "predict", lambda self, split: done.append(("predict", split)))
    monkeypatch.setattr(Run, "evaluate", lambda self, split: done.append(("evaluate", split)))
    monkeypatch.setattr(Run, "summary", lambda self, stage: {})
    predicted(tmp_path, "valid", 4, 0.5)
    predicted(tmp_path, "test", 3, 0.5)
    told = compete(Run(tmp_path, build({"data": {"root": str(tiny_root)}})))
    assert done == [("predict", "valid"), ("evaluate", "valid"), ("predict", "test")]
    assert [s["scored"] for s in told["splits"]] == [True, False]
    assert told["fitted"] == ["stack"]


def test_the_preset_reads_all_bands_and_sets_nothing_aside():
    config = load("competition")
    assert config.data.sensor == "l4s" and config.data.holdout is None
    assert config.unet.bands is None and config.scenes.folds == 5
