"""The ledger: whole slides, seconds, the stack without each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

from l4s_ensemble.metrics.counts import count, scores_pooled
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import write_json
from l4s_ensemble.scenes.objects import count_objects, tile_objects
from l4s_ensemble.stack import ledger

TILES, EDGE, CUT = 10, 24, 0.5
NOISE = {"pixel": 0.9, "unet": 1.0, "mean": 0.8, "stack": 0.6}


@pytest.fixture(scope="module")
def world() -> dict:
    rng = np.random.default_rng(2)
    truth = np.zeros((TILES, EDGE, EDGE), bool)
    for t in truth:
        for _ in range(4):
            y, x = rng.integers(0, EDGE - 6, 2)
            t[y : y + 5, x : x + 4] = True
    noise = {**NOISE, "without": 0.6, "much": 1.2}
    maps = {
        name: np.clip(0.3 + 0.4 * truth + 0.5 * n * (rng.random(truth.shape) - 0.5), 0, 1).astype(
            np.float32
        )
        for name, n in noise.items()
    }
    tiles = {}
    for name in ledger.MODELS:
        tiles[name] = TileHistograms.empty(range(TILES), 1000)
        for i in range(TILES):
            tiles[name].add(i, maps[name][i], truth[i])
    parts = [
        tile_objects(t, {name: maps[name][i] >= CUT for name in ledger.MODELS})
        for i, t in enumerate(truth)
    ]
    objects = count_objects(parts, (np.full(TILES, -1),) * 3)
    return {"truth": truth, "maps": maps, "tiles": tiles, "objects": objects}


def options(**more: object) -> dict:
    return {"resamples": 200, "thresholds": dict.fromkeys(ledger.MODELS, CUT), **more}


def test_rows_hold_pixels_slides_and_seconds(world: dict) -> None:
    block = np.arange(TILES) // 2
    took = {"pixel": {"fit_s": 3.0, "predict_s": None}}
    table = ledger.rows(
        world["tiles"], block, objects={"stack": world["objects"]["stack"]}, seconds=took,
        adapted_to="valid", **options(),
    )  # fmt: skip
    by_name = {r["model"]: r for r in table}
    called = world["maps"]["stack"] >= CUT
    wanted = scores_pooled(count(called, world["truth"]))
    for key in ("precision", "recall", "f1", "iou"):
        assert by_name["stack"][key] == pytest.approx(wanted[key])
    whole = by_name["stack"]["objects"]
    assert whole["reference"] == sum(label(t, np.ones((3, 3)))[1] for t in world["truth"])
    assert by_name["unet"]["objects"] is None and by_name["unet"]["fit_s"] is None
    assert (by_name["pixel"]["fit_s"], by_name["pixel"]["predict_s"]) == (3.0, None)
    assert [r["adapted_to"] for r in table] == [None, "valid", "valid", "valid"]


def test_plain_rows_need_nothing_new(world: dict) -> None:
    (row, *_) = ledger.rows(world["tiles"], np.arange(TILES), resamples=20)
    assert row["objects"] is None and row["threshold_chosen_here"]
    found = ledger.gain(world["tiles"], ledger.rows(world["tiles"], np.arange(TILES)),
                        np.arange(TILES))  # fmt: skip
    assert "objects" not in found and found["shown"]


def test_each_part_is_paired_with_the_stack(world: dict) -> None:
    block, objects = np.arange(TILES), world["objects"]
    table = ledger.rows(world["tiles"], block, objects=objects, **options())
    by_name = {r["model"]: r for r in table}
    found = {g["part"]: g for g in ledger.marginal(world["tiles"], table, block, objects=objects)}
    assert {p: g["over"] for p, g in found.items()} == {
        "unet": "pixel", "pixel": "unet", "weights": "mean",
    }  # fmt: skip
    for gain in found.values():
        rival = by_name[gain["over"]]
        assert gain["value"] == pytest.approx(by_name["stack"]["f1"] - rival["f1"])
        whole = by_name["stack"]["objects"]["f1"] - rival["objects"]["f1"]
        assert gain["objects"]["value"] == pytest.approx(whole)
    assert found["pixel"]["shown"]
    better = ledger.gain(world["tiles"], table, block)
    assert better["over"] == max(ledger.BASES, key=lambda name: by_name[name]["f1"])
    assert better["value"] == pytest.approx(min(g["value"] for p, g in found.items() if p in
                                                ledger.BASES))  # fmt: skip


def manifest(folder: Path, seconds: float) -> None:
    write_json(
        folder / "manifest.json",
        {"fingerprint": "a", "digest": "b", "ingredients": {}, "seconds": seconds},
    )


def test_seconds_are_read_from_the_manifests(tmp_path: Path) -> None:
    took = {"features": 5, "pixel": 10, "unet": 100}
    took |= {f"predict/valid/{k}": s for k, s in (("pixel", 2), ("unet", 3), ("result", 1))}
    for stage, seconds in took.items():
        manifest(tmp_path / stage, seconds)
    found = ledger.seconds_of(tmp_path)
    assert found["pixel"] == {"fit_s": 15, "predict_s": None}
    assert found["mean"]["fit_s"] == 115 and found["stack"]["fit_s"] is None
    assert ledger.seconds_of(tmp_path, stack_s=7)["stack"]["fit_s"] == 122
    manifest(tmp_path / "stack", 9)
    found = ledger.seconds_of(tmp_path, predicted="predict/valid")
    assert found["stack"] == {"fit_s": 124, "predict_s": 6}
    assert found["mean"]["predict_s"] == 5
    assert set(found) == set(ledger.MODELS)
