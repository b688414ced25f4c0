"""The comparison of three networks on tiles set aside: its settings, its counts, its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.unet_seeds import _seeds, areas, pooled, settings_of, show, table
from l4s_ensemble.config import load
from l4s_ensemble.metrics.counts import f1_pooled
from l4s_ensemble.metrics.tiles import TileHistograms


def _run(good: float, seed: int, threshold: float = 0.5) -> dict[str, Any]:
    """Scores of twelve tiles; a share `good` of their pixels is scored right."""
    rng = np.random.default_rng(seed)
    tiles = TileHistograms.empty(np.arange(12))
    for i in range(12):
        truth = rng.random(400) < 0.3
        right = rng.random(400) < good
        tiles.add(i, np.where(right == truth, 0.9, 0.1), truth)
    told = {"seconds": 60.0, "processor": 120.0, "threads": 2, "trained_on": 100}
    return {"tiles": tiles, "threshold": threshold, **told}


def test_every_network_has_the_inputs_of_its_recipe() -> None:
    preset = load("l4s-rgb").unet
    ours, smp, official = (settings_of(a, preset, 800, 20) for a in ("ours", "smp", "official"))
    assert ours == preset
    assert (smp.network, smp.epochs) == ("smp:unet/resnet34", 20)
    assert (smp.light, smp.level, smp.loss) == (ours.light, ours.level, ours.loss)
    assert (official.network, official.steps, official.standard) == ("baseline", 800, "fit")
    assert not official.symmetries
    assert not official.neighbours


def test_seeds_are_pooled_at_their_own_thresholds() -> None:
    runs = [_run(0.9, 1, 0.5), _run(0.9, 2, 0.95)]  # the second calls nothing
    whole = pooled(runs)
    first = runs[0]["tiles"].counts(0.5)
    np.testing.assert_array_equal(whole.tp, first.tp)
    np.testing.assert_array_equal(whole.fp, first.fp)
    assert (whole.fn > first.fn).all()


def test_gain_is_that_of_the_first_and_paired() -> None:
    found = {"ours": [_run(0.95, 1), _run(0.95, 2)], "smp": [_run(0.7, 3)]}
    rows = table(np.arange(12) // 2, found)
    assert rows[0]["gain_of_first"] is None
    value, low, high = rows[1]["gain_of_first"]
    assert value == pytest.approx(rows[0]["f1"] - rows[1]["f1"])
    assert 0 < low <= value <= high
    assert rows[0]["f1"] == pytest.approx(f1_pooled(pooled(found["ours"])))
    assert len(rows[0]["f1_of_seeds"]) == 2


def test_parts_of_the_holdout_make_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"ours": [_run(0.95, 1)], "smp": [_run(0.7, 3)]}
    row, block = np.repeat([3, 30], 6), np.arange(12) // 2
    parts, rows = areas(row, block, found), table(block, found)
    assert parts["all"]["f1"]["ours"][0] == pytest.approx(rows[0]["f1"])
    assert parts["all"]["ours over"]["smp"] == pytest.approx(rows[1]["gain_of_first"])
    assert sum(told["tiles"] for told in parts.values()) == 2 * 12
    low = pooled([{**found["ours"][0], "tiles": found["ours"][0]["tiles"].subset(row < 12)}])
    assert parts["rows 0 to 11"]["f1"]["ours"][0] == pytest.approx(f1_pooled(low))
    show(rows, parts)
    assert "ours over smp: +" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "arm", "wanted"),
    [
        ("0,1,2", "smp", [0, 1, 2]),
        ("ours=0,1;official=4", "ours", [0, 1]),
        ("ours=0,1;official=4", "official", [4]),
        ("ours=0,1", "smp", [0]),
    ],
)
def test_seeds_for_all_or_each(words: str, arm: str, wanted: list[int]) -> None:
    assert _seeds(words, arm) == wanted
