"""Where tiles lie: official ids, a manifest, the pixels, or nobody knows."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import xarray as xr
from scenes_world import make, make_scene, places, raster
from tiny_patches import dataset_of

from l4s_ensemble.config import Holdout
from l4s_ensemble.data.sensor import L4S, Sensor, SensorBand
from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.scenes.layout import OFFICIAL_SCENES, Layout, layout_of, official_places
from l4s_ensemble.scenes.seams import find_layout

SIDE = 32
SENSOR = Sensor(
    name="mini",
    bands=tuple(SensorBand(name=n) for n in ("B2", "B3", "B4", "dem")),
    patch_pixels=SIDE,
)
SIZES = ((6, 6), (4, 5))  # of the shuffled scenes
ALONE = 3


@pytest.fixture(scope="module")
def shuffled() -> xr.Dataset:
    """Two scenes, three foreign tiles and a copy, in any order; ``true`` is where they lie."""
    parts = [make_scene(*size, seed, SIDE, 0) for seed, size in enumerate(SIZES)]
    parts += [make_scene(2, 2, 10 + i, SIDE, 0)[:1] for i in range(ALONE)]
    parts.append(parts[0][7:8])
    images = np.concatenate(parts)
    n = len(images)
    true = np.concatenate([places(*SIZES), np.zeros((ALONE + 1, 3), np.int32)])
    content = np.array([f"{i:016x}" for i in range(n)])
    content[-1] = content[7]
    order = np.random.default_rng(2).permutation(n)
    found = dataset_of(images[order], None, SENSOR, n, first_id=101)
    nowhere = dict.fromkeys(("scene", "row", "col"), ("patch", np.full(n, -1, np.int32)))
    known = {"content_hash": ("patch", content[order]), "true": (("patch", "axis"), true[order])}
    return found.assign_coords(known | nowhere)


def test_official_places_by_hand() -> None:
    scene, row, col = official_places([1, 41, 42, 3034, 3035, 3050, 3184, 3185, 3306, 3799, 3800])
    assert scene.tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 4, 4, -1]
    assert row.tolist() == [0, 0, 1, 73, 0, 1, 9, 0, 0, 18, -1]
    assert col.tolist() == [0, 40, 0, 40, 0, 0, 14, 0, 0, 25, -1]
    for _, first, last, columns in OFFICIAL_SCENES:  # whole rows, and no id between scenes
        assert (last - first + 1) % columns == 0
    # The pairs that are known to adjoin on real tiles.
    _, r, c = official_places([1, 2, 27, 28, 4, 45])
    assert (r[1] - r[0], c[1] - c[0]) == (r[3] - r[2], c[3] - c[2]) == (0, 1)
    assert (r[5] - r[4], c[5] - c[4]) == (1, 0)


def test_a_row_does_not_touch_the_next_rows_other_end() -> None:
    layout = raster((3, 41))
    touched = layout.patch[layout.touching(layout.patch == 41)]
    assert set(touched.tolist()) == {40, 81, 82}


def test_pairs_adjoin_and_two_tiles_in_one_place_are_refused() -> None:
    layout = raster((2, 3), (1, 2))
    assert (layout.pairs("x") + 1).tolist() == [[1, 2], [2, 3], [4, 5], [5, 6], [7, 8]]
    assert (layout.pairs("y") + 1).tolist() == [[1, 4], [2, 5], [3, 6]]
    with pytest.raises(DataError, match="patches 7 and 8"):
        layout_of([7, 8, 9, 10], [1, 1, -1, -1], [0, 0, -1, -1], [3, 3, -1, -1])


def test_where_places_come_from(tiny_dataset: xr.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    assert find_layout(tiny_dataset, L4S).grid == "official"
    assert find_layout(tiny_dataset.assign_attrs(split="valid"), L4S).grid == "none"
    assert "may leak" in caplog.text
    high = tiny_dataset.assign_coords(patch=np.arange(3790, 3802))
    assert find_layout(high, L4S).grid == "none"
    assert "so the pixels decide" in caplog.text
    with pytest.raises(
        DataError, match=r"(?s)3800, 3801.*scenes\.grid=pixels or scenes\.grid=none"
    ):
        find_layout(high, L4S, "official")
    place = {"scene": np.full(12, 5), "row": np.arange(12) // 4, "col": np.arange(12) % 4}
    placed = tiny_dataset.assign_coords({k: ("patch", v) for k, v in place.items()})
    layout = find_layout(placed, L4S)
    assert layout.grid == "manifest" and layout.row.tolist() == place["row"].tolist()
    half = placed.assign_coords(scene=("patch", np.where(np.arange(12) < 6, 5, -1)))
    with pytest.raises(DataError, match="6 of 12 tiles have no place"):
        find_layout(half, L4S)


@pytest.fixture(scope="module")
def found(shuffled: xr.Dataset) -> Layout:
    return find_layout(shuffled, SENSOR)


def test_places_come_from_the_pixels(shuffled: xr.Dataset, found: Layout) -> None:
    assert found.grid == "pixels"
    true = shuffled["true"].values
    placed = found.placed
    assert placed[true[:, 0] > 0].mean() > 0.95
    for scene in (1, 2):  # the larger one is the first
        here = found.scene == scene
        assert set(true[here, 0]) == {scene}
        for axis, values in ((1, found.row), (2, found.col)):
            assert len(set((values - true[:, axis])[here].tolist())) == 1
    # The others are a scene each, of unknown row and column. Of two equal tiles one is placed.
    lone = ~placed
    assert len(set(found.scene[lone].tolist())) == lone.sum() >= ALONE + 1
    assert (found.scene[lone] <= -2).all() and (found.row[lone] == -1).all()
    first, second = np.flatnonzero(shuffled["content_hash"].values == f"{7:016x}")
    assert placed[first] and not placed[second]
    # Nothing touches a tile that stands alone, itself and copies left aside.
    for i in np.flatnonzero(lone):
        chosen = np.arange(len(lone)) == i
        assert not found.touching(chosen)[~chosen].any()


def test_folds_on_places_from_pixels(found: Layout, shuffled: xr.Dataset) -> None:
    content = shuffled["content_hash"].values
    pixels = np.where(np.arange(len(found)) == 3, 9, 0)
    with pytest.raises(DataError, match=r"1 with a landslide"):
        make(found, pixels, folds=2)
    with pytest.raises(ConfigError, match=r"allowed: scene 1: [^;]*; scene 2: [^;]*$"):
        make(found, folds=2, holdout=Holdout(scene=9))
    for settings in ({"block_tiles": 3}, {"by": "scenes"}):
        folds = make(found, content=content, folds=2, **settings)
        equal = folds.fold[content == f"{7:016x}"]
        assert equal[0] == equal[1]


def test_who_asks_for_the_pixels_gets_them(
    shuffled: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = np.concatenate([make_scene(2, 2, 30 + i, SIDE, 0)[:1] for i in range(6)])
    apart = shuffled.isel(patch=slice(6)).assign(image=(shuffled["image"].dims, foreign))
    with caplog.at_level(logging.INFO, "l4s_ensemble"):
        assert find_layout(apart, SENSOR).grid == "none"  # ids are the safer guess
    assert "0 of 6 tiles placed" in caplog.text and "only id - 1 and id + 1" in caplog.text
    layout = find_layout(apart, SENSOR, "pixels")
    assert layout.grid == "pixels" and layout.scene.tolist() == [-2, -3, -4, -5, -6, -7]
    assert "no seam tells where 6 of 6 tiles lie" in caplog.text
