"""The benchmark of transfers, on a few small made-up tiles of two scenes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "unet"))

import unet_world

from benchmarks import unet_transfer
from l4s_ensemble.config import build
from l4s_ensemble.scenes.surroundings import measure_surroundings
from l4s_ensemble.unet.training.engine import FoldTrainer

COLUMNS, ODD = 8, 2
"""Columns of scene 1, and how many of them, the last ones, lie in another light."""


@pytest.fixture
def world(tmp_path: Path) -> unet_transfer.World:
    """Scene 1 with four bands of columns, and scene 2, whose tiles are set aside."""
    one, two = unet_world.made_up(4, COLUMNS), unet_world.made_up(2, 2, seed=4)
    image = one["image"].values
    image[one["col"].values >= COLUMNS - ODD, 0] *= 2
    two = two.assign_coords(patch=two["patch"] + 100, scene=two["scene"] + 1)
    folds = SimpleNamespace(
        n_folds=2,
        fit_ids=one["patch"].values,
        holdout_ids=two["patch"].values,
        held_ids=lambda k: one["patch"].values[one["row"].values // 2 == k],
        train_ids=lambda k: one["patch"].values[one["row"].values // 2 != k],
    )
    both = xr.concat([one, two], "patch", combine_attrs="override")
    fields = {name: both[name].values for name in ("scene", "row", "col")}
    fields["role"] = np.where(fields["scene"] == 1, "fit", "holdout")
    folds.of = lambda ids, name: fields[name][np.searchsorted(both["patch"].values, ids)]
    made = unet_transfer.World.__new__(unet_transfer.World)
    made.work, made.jobs, made.dataset, made.folds = tmp_path, 1, both, folds  # type: ignore[assignment]
    made.config = build({"unet": unet_world.tiny(epochs=1).model_dump()})
    made.around = measure_surroundings(both, folds)  # type: ignore[arg-type]
    return made


def test_places_are_apart_and_the_odd_band_is_the_target(world):
    far, bands = world.transfers()
    assert set(far.target) == set(world.folds.holdout_ids)
    for transfer in (far, bands):
        ids = [set(getattr(transfer, n)) for n in ("train", "held", "target")]
        assert all(ids) and not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
        assert len(transfer.block) == len(transfer.target)
    column = world.folds.of(bands.target, "col")
    assert set(column) == set(range(COLUMNS - ODD, COLUMNS))
    source = np.concatenate([bands.train, bands.held])
    assert world.folds.of(source, "col").max() < COLUMNS - ODD - 1  # a column between


def test_columns_of_the_holdout_are_not_touched(world, monkeypatch):
    monkeypatch.setattr(unet_transfer, "NEVER", (3, 4))
    for transfer in world.transfers():
        ids = np.concatenate([transfer.train, transfer.held, transfer.target])
        at_one = world.folds.of(ids, "scene") == 1
        assert not np.isin(world.folds.of(ids, "col")[at_one], [3, 4]).any()


def test_arms_are_told_at_both_thresholds_and_not_trained_twice(world, monkeypatch):
    transfer = next(world.transfers())
    only = ["statistics of the target", "pseudo-labels, 1 round"]
    carried, best = unet_transfer.measure(world, transfer, only, float("inf"))
    assert [r["choice"] for r in carried.rows] == [unet_transfer.FIRST, *only]
    for a, b in zip(carried.rows, best.rows, strict=True):
        assert a["f1"] <= b["f1"] + 1e-9
    assert carried.rows[1]["gain"] is not None and carried.rows[2]["stopped"]
    monkeypatch.setattr(FoldTrainer, "run", lambda *_: pytest.fail("trained again"))
    again, _ = unet_transfer.measure(world, transfer, only, float("inf"))
    assert again.rows == carried.rows
    late, _ = unet_transfer.measure(world, transfer, [], time.monotonic() - 1)
    assert late.rows == []
