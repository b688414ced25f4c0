"""The benchmark of thresholds reads score files and prints every method beside the best."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import thresholds
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.decision.follow import METHODS


def scene(rng: np.random.Generator, prior: float) -> TileHistograms:
    """Eight tiles of 128 x 128 whose scores are calibrated at a prior of .05."""
    tiles = TileHistograms.empty(np.arange(8))
    for i in range(8):
        truth = rng.random(128 * 128) < prior
        x = rng.normal(np.where(truth, 2.5, 0.0), 1.0)
        z = 2.5 * x - 2.5**2 / 2 + np.log(0.05 / 0.95)
        tiles.add(i, 1 / (1 + np.exp(-z)), truth)
    return tiles


def test_a_rarer_scene_gains_by_the_corrected_threshold(rng, tmp_path, monkeypatch, capsys):
    for name, prior in (("from", 0.05), ("to", 0.015)):
        scene(rng, prior).save(tmp_path / f"{name}.npz")
    words = ["--transfer", "made up", str(tmp_path / "from.npz"), str(tmp_path / "to.npz")]
    monkeypatch.setattr(sys, "argv", ["thresholds", *words, "--out", str(tmp_path / "out.json")])
    thresholds.main()
    printed = capsys.readouterr().out
    assert all(f"| {m} |" in printed for m in ("carried over", *METHODS, "best there"))
    told = json.loads((tmp_path / "out.json").read_text())["transfers"]["made up"]
    rows = {r["method"]: r for r in told["rows"]}
    assert rows["em"]["f1_carried"] < rows["em"]["f1_followed"] <= rows["em"]["f1_best"]
    assert [r["factor"] for r in told["prevalence"]] == [0.5, 1.0, 2.0]
    last = json.loads(printed.splitlines()[-1])["made up"]
    assert last["em"] == pytest.approx(rows["em"]["f1_followed"])
