"""Where only one model is right, by what the pixels look like, tile by tile."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))

from tiles_world import SIZE, world, write_scores

from l4s_ensemble.data.store import open_store, units
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.stack.agreement import agreement_where, total
from l4s_ensemble.stack.disagreement import KINDS, NOT_TOLD, kind_map, most_disagreed

CUTS = (0.4, 0.6)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("disagreement")
    store, pixel, dataset, logit = world(folder)
    rng = np.random.default_rng(9)
    other = (logit + rng.normal(0, 2, logit.shape)).astype(np.float32)
    other[2] = logit[2]
    unet = write_scores(folder / "unet.zarr", np.arange(1, len(logit) + 1), other)
    return {
        "found": agreement_where(store, pixel, unet, CUTS),
        "twice": agreement_where(store, pixel, unet, CUTS, jobs=2),
        "image": units(open_store(store))[:-1],
        "truth": dataset["mask"].values[:-1] == 1,
        "called": [
            sigmoid(a).astype(float) >= c for a, c in zip((logit, other), CUTS, strict=True)
        ],
    }


def by_hand(own: np.ndarray, told: dict[str, Any]) -> list[int]:
    truth, (pixel, unet) = told["truth"], told["called"]
    own = own & (truth | pixel | unet)
    right = (pixel == truth, unet == truth)
    return [
        int((own & (right[0] == a) & (right[1] == b)).sum())
        for a, b in ((True, True), (True, False), (False, True), (False, False))
    ]


def test_by_slope_elevation_brightness_and_place(told: dict[str, Any]) -> None:
    image = told["image"]
    place = np.minimum(np.arange(SIZE), SIZE - 1 - np.arange(SIZE))
    values = {
        "slope_deg": image[:, 3], "dem_m": image[:, 4], "brightness": image[:, :3].mean(axis=1),
        "tile_edge_px": np.broadcast_to(np.minimum(place[:, None], place), told["truth"].shape),
    }  # fmt: skip
    tables = {t["key"]: t["rows"] for t in told["found"]["by"]}
    assert set(tables) == set(values)
    whole = total(told["found"])
    assert min(whole.values()) > 0
    for key, rows in tables.items():
        for row in rows:
            low = -np.inf if row["low"] is None else row["low"]
            high = np.inf if row["high"] is None else row["high"]
            own = (values[key] >= low) & (values[key] < high)
            assert [row[k] for k in KINDS] == by_hand(own, told)
        assert {k: sum(r[k] for r in rows) for k in KINDS} == whole
        assert all(a["high"] == b["low"] for a, b in pairwise(rows))


def test_tile_by_tile_and_the_worst_first(told: dict[str, Any]) -> None:
    tiles = told["found"]["tiles"]
    n = len(told["truth"])
    assert tiles["patch"] == list(range(1, n + 1))
    one = []
    for i in range(n):
        own = np.zeros(told["truth"].shape, bool)
        own[i] = True
        assert [tiles[k][i] for k in KINDS] == by_hand(own, told)
        one.append(tiles["only_pixel"][i] + tiles["only_unet"][i])
    worst = most_disagreed(tiles, 3)
    assert [t["only_pixel"] + t["only_unet"] for t in worst] == sorted(one, reverse=True)[:3]
    assert worst[0]["patch"] == int(np.argmax(one)) + 1
    same = {k: ([5] if k == "patch" else [0]) for k in tiles}
    assert most_disagreed(same, 3) == []


def test_the_map_shows_who_is_right() -> None:
    truth, pixel, unet = (np.array([row], bool) for row in (
        [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1, 0, 0], [1, 0, 1, 0, 1, 0, 1, 0],
    ))  # fmt: skip
    assert kind_map(truth, pixel, unet).tolist() == [[0, 1, 2, 3, 3, 2, 1, NOT_TOLD]]


def test_disagreement_does_not_depend_on_the_number_of_jobs(told: dict[str, Any]) -> None:
    assert told["twice"] == told["found"]
