from __future__ import annotations

from pathlib import Path

import pytest

from l4s_ensemble.run.files import read_json


def test_progress_has_a_line_for_each_fold(tiny_report: Path, tiny_run: Path) -> None:
    panels = read_json(tiny_report / "unet.json")["figures"]["progress"]["data"]
    loss = next(p for p in panels if p["label"] == "training loss")["series"]
    folds = read_json(tiny_run / "unet/summary.json")["folds"]
    assert [s["name"] for s in loss] == [f"fold {f['fold']}" for f in folds]
    for line, fold in zip(loss, folds, strict=True):
        assert line["y"] == pytest.approx([e["loss"] for e in fold["epochs"]], rel=1e-3)
