"""The model comparison: pixels, whole landslides, the stack without each part."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from l4s_ensemble.metrics.counts import count, scores_pooled
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.scenes.landslides import count_objects, tile_objects
from l4s_ensemble.stack.comparison import MODELS, PARTS, compare
from l4s_ensemble.stack.learners import BASE_MODELS

TILES, EDGE, CUT = 10, 24, 0.5
NOISE = {"pixel": 0.9, "unet": 1.0, "mean": 0.8, "stack": 0.6}


@pytest.fixture(scope="module")
def world() -> dict:
    rng = np.random.default_rng(2)
    reference = np.zeros((TILES, EDGE, EDGE), bool)
    for t in reference:
        for _ in range(4):
            y, x = rng.integers(0, EDGE - 6, 2)
            t[y : y + 5, x : x + 4] = True
    maps = {
        name: np.clip(0.3 + 0.4 * reference + 0.5 * n * (rng.random(reference.shape) - 0.5), 0, 1)
        for name, n in NOISE.items()
    }
    tiles = {}
    for name in MODELS:
        tiles[name] = TileHistograms.empty(range(TILES), 1000)
        for i in range(TILES):
            tiles[name].add(i, maps[name][i], reference[i])
    parts = [
        tile_objects(t, {name: maps[name][i] >= CUT for name in MODELS})
        for i, t in enumerate(reference)
    ]
    objects = count_objects(parts, (np.full(TILES, -1),) * 3)
    return {"reference": reference, "maps": maps, "tiles": tiles, "objects": objects}


THRESHOLDS = dict.fromkeys(MODELS, CUT)


def test_rows_hold_pixels_and_landslides(world: dict) -> None:
    found = compare(
        world["tiles"],
        np.arange(TILES) // 2,
        thresholds=THRESHOLDS,
        objects={"stack": world["objects"]["stack"]},
        adapted_to="valid",
    )
    by_name = {r["model"]: r for r in found["comparison"]}
    wanted = scores_pooled(count(world["maps"]["stack"] >= CUT, world["reference"]))
    for key in ("precision", "recall", "f1", "iou"):
        assert by_name["stack"][key] == pytest.approx(wanted[key])
    whole = by_name["stack"]["objects"]
    assert whole["reference"] == sum(label(t, np.ones((3, 3)))[1] for t in world["reference"])
    assert by_name["unet"]["objects"] is None
    assert [r["adapted_to"] for r in found["comparison"]] == [None, "valid", "valid", "valid"]
    assert "objects" not in found["gain"]


def test_without_thresholds_each_model_has_its_best(world: dict) -> None:
    found = compare(world["tiles"], np.arange(TILES))
    assert all(r["threshold_chosen_here"] and r["f1"] == r["f1_best"] for r in found["comparison"])


def test_each_part_is_paired_with_the_stack(world: dict) -> None:
    block, objects = np.arange(TILES), world["objects"]
    found = compare(world["tiles"], block, thresholds=THRESHOLDS, objects=objects)
    by_name = {r["model"]: r for r in found["comparison"]}
    parts = {g["part"]: g for g in found["marginal"]}
    assert {p: g["over"] for p, g in parts.items()} == dict(PARTS)
    for gain in parts.values():
        rival = by_name[gain["over"]]
        assert gain["value"] == pytest.approx(by_name["stack"]["f1"] - rival["f1"])
        whole = by_name["stack"]["objects"]["f1"] - rival["objects"]["f1"]
        assert gain["objects"]["value"] == pytest.approx(whole)
    assert parts["pixel"]["shown"]
    assert found["gain"]["over"] == max(BASE_MODELS, key=lambda name: by_name[name]["f1"])
    assert found["gain"]["value"] == min(parts[name]["value"] for name in BASE_MODELS)
