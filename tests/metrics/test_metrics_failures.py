"""Where scores fail, by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiles_world import SIZE, TILES, world
from tiny_patches import save_store

from l4s_ensemble.data.failures import failures
from l4s_ensemble.data.store import open_store, units
from l4s_ensemble.metrics.failures import BOUNDARY_PX
from l4s_ensemble.metrics.histogram import sigmoid


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("failures")
    store, scores, _, logit = world(folder)
    dataset = open_store(store)
    return {
        "told": failures(store, scores, 0.4),
        "twice": failures(store, scores, 0.4, jobs=2),
        "image": units(dataset)[:-1],
        "reference": dataset["mask"].values[:-1].astype(bool),
        "predicted": sigmoid(logit).astype(np.float64) >= 0.4,
    }


def test_by_slope_elevation_brightness_and_place(told: dict[str, Any]) -> None:
    reference, predicted, image = told["reference"], told["predicted"], told["image"]
    light = image[:, :3].mean(axis=1)
    level = np.median(light, axis=(1, 2))
    place = np.arange(SIZE)
    to_edge = np.minimum(place, SIZE - 1 - place)
    values = {
        "slope_deg": image[:, 3],
        "dem_m": image[:, 4],
        "brightness": light,
        "tile_brightness": np.broadcast_to(level[:, None, None], reference.shape),
        "tile_edge_px": np.broadcast_to(np.minimum(to_edge[:, None], to_edge), reference.shape),
    }
    tables = {t["key"]: t["rows"] for t in told["told"]["by"]}
    assert set(tables) == set(values)
    for key, rows in tables.items():
        for row in rows:
            low = -np.inf if row["low"] is None else row["low"]
            high = np.inf if row["high"] is None else row["high"]
            own = (values[key] >= low) & (values[key] < high)
            assert row["pixels"] == own.sum()
            assert row["tp"] == (own & reference & predicted).sum()
            assert row["fp"] == (own & ~reference & predicted).sum()
            assert row["fn"] == (own & reference & ~predicted).sum()
            if row["tp"]:
                p, r = row["precision"], row["recall"]
                assert row["f1"] == pytest.approx(2 * p * r / (p + r))
        assert sum(row["pixels"] for row in rows) == reference.size
    shares = [row["pixels"] / reference.size for row in tables["brightness"]]
    np.testing.assert_allclose(shares, 0.2, atol=0.03)
    assert len(tables["tile_brightness"]) == 5


def test_by_distance_to_the_rim_on_either_side(told: dict[str, Any]) -> None:
    from scipy.ndimage import distance_transform_edt

    whole = []
    for reference, predicted in zip(told["reference"], told["predicted"], strict=True):
        if reference.any():
            away = np.where(
                reference, distance_transform_edt(reference), distance_transform_edt(~reference)
            )
            whole.append(np.stack([away.ravel(), reference.ravel(), predicted.ravel()]))
    away, reference, predicted = np.concatenate(whole, axis=1)
    for row, low, high in zip(
        told["told"]["boundary"], BOUNDARY_PX[:-1], BOUNDARY_PX[1:], strict=True
    ):
        own = (away > low) & (away <= high)
        tp, fp, fn = (
            int((own & (reference == t) & (predicted == c)).sum())
            for t, c in ((1, 1), (0, 1), (1, 0))
        )
        assert (row["tp"], row["fp"], row["fn"]) == (tp, fp, fn)
        below = 2 * tp + fp + fn
        assert row["f1"] == (pytest.approx(2 * tp / below) if below else None)


def test_failures_do_not_depend_on_the_number_of_jobs(told: dict[str, Any]) -> None:
    assert told["twice"] == told["told"]


def test_tiles_that_are_all_landslide_have_no_boundary(tmp_path: Path) -> None:
    store, scores, dataset, _ = world(tmp_path)
    dataset["mask"][:] = 1
    save_store(dataset, tmp_path)
    *near, far = failures(store, scores, 0.4)["boundary"]
    assert far["tp"] + far["fn"] == (TILES - 1) * SIZE**2
    assert all(row["tp"] + row["fp"] + row["fn"] == 0 and row["f1"] is None for row in near)
