"""Folds for any data: places from the pixels, whole scenes as folds, planted leaks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from l4s_ensemble.config import Config, Holdout, ScenesConfig, build
from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.errors import ConfigError, DataError, LeakError
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import Folds, load_folds
from l4s_ensemble.scenes.grid import Grid, grid_of
from l4s_ensemble.scenes.stage import stage

SIDE = 32
SENSOR = Sensor(
    name="mini",
    bands=tuple(SensorBand(name=n) for n in ("B2", "B3", "B4", "dem")),
    patch_pixels=SIDE,
)
SIZES = ((6, 6), (4, 5))  # of the shuffled scenes
ALONE = 3


def scene_tiles(rows: int, cols: int, seed: int) -> np.ndarray:
    """Tiles of one smooth picture in raster order, uint16 (tile, band, y, x)."""
    rng = np.random.default_rng([seed, 5])
    shape = (rows * SIDE, cols * SIDE)

    def field(*scales: float) -> np.ndarray:
        part: np.ndarray = sum(gaussian_filter(rng.standard_normal(shape), s) * s for s in scales)
        return part / part.std()

    shared = field(2, 6, 20)
    bands = [900 * np.exp(0.3 * shared + 0.2 * field(1.5, 5)) for _ in range(3)]
    bands.append(1000 + 200 * field(8, 30))
    tiles = np.stack(bands).reshape(4, rows, SIDE, cols, SIDE)
    return np.rint(tiles).astype(np.uint16).transpose(1, 3, 0, 2, 4).reshape(-1, 4, SIDE, SIDE)


@pytest.fixture(scope="module")
def shuffled() -> xr.Dataset:
    """Two scenes, three foreign tiles and a copy, in any order; ``true_*`` is where they lie."""
    parts = [scene_tiles(*size, seed) for seed, size in enumerate(SIZES)]
    parts += [scene_tiles(2, 2, 10 + i)[:1] for i in range(ALONE)]
    parts.append(parts[0][7:8])
    images = np.concatenate(parts)
    truth = [(s, r, c) for s, (rows, cols) in enumerate(SIZES, 1) for r in range(rows)
             for c in range(cols)] + [(0, 0, 0)] * (ALONE + 1)  # fmt: skip
    content = np.array([f"{i:016x}" for i in range(len(images))])
    content[-1] = content[7]
    n = len(images)
    mask = np.zeros((n, SIDE, SIDE), np.uint8)
    mask[:, 10:14, 12:20] = 1
    order = np.random.default_rng(2).permutation(n)
    return xr.Dataset(
        {
            "image": (("patch", "band", "y", "x"), images[order]),
            "mask": (("patch", "y", "x"), mask),
        },
        coords={
            "patch": np.arange(101, 101 + n),
            "band": list(SENSOR.band_names),
            "content_hash": ("patch", content[order]),
            "degenerate": ("patch", np.zeros(n, bool)),
            **{k: ("patch", np.full(n, -1, np.int32)) for k in ("scene", "row", "col")},
            **{f"true_{k}": ("patch", v)
               for k, v in zip(("scene", "row", "col"), np.array(truth)[order].T, strict=True)},
        },
        attrs={"sensor": SENSOR.model_dump_json(), "split": "train", "root": "x", "format": FORMAT},
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(shuffled: xr.Dataset) -> Grid:
    return grid_of(shuffled, SENSOR)


def raster(*sizes: tuple[int, int], name: Any = "manifest") -> Grid:
    """Whole scenes 1, 2 and so on, of rows x columns tiles; ids from 1."""
    place = np.array([(s, r, c) for s, (rows, cols) in enumerate(sizes, 1)
                      for r in range(rows) for c in range(cols)], np.int32)  # fmt: skip
    return Grid(name, np.arange(1, len(place) + 1), *place.T)


def make(grid: Grid, pixels: Any = None, content: Any = None, **kwargs: Any) -> Folds:
    n = len(grid.patch)
    holdout = kwargs.pop("holdout", None)
    return make_folds(
        grid,
        np.full(n, 300) if pixels is None else np.asarray(pixels),
        np.array([f"{i:016x}" for i in range(n)]) if content is None else content,
        np.zeros(n, bool),
        ScenesConfig(**kwargs),
        holdout=holdout,
    )


def table(folds: Folds) -> dict[int, str]:
    return dict(zip(folds.patch.tolist(), folds.content_hash.tolist(), strict=True))


def test_places_come_from_the_pixels(shuffled: xr.Dataset, found: Grid) -> None:
    assert found.name == "pixels"
    true = shuffled["true_scene"].values
    placed = found.scene >= 0
    assert placed[true > 0].mean() > 0.95
    for scene in (1, 2):  # the larger one is the first
        here = found.scene == scene
        assert set(true[here]) == {scene}
        for axis in ("row", "col"):
            offset = getattr(found, axis)[here] - shuffled[f"true_{axis}"].values[here]
            assert len(set(offset.tolist())) == 1
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


def test_when_the_pixels_are_asked(
    shuffled: xr.Dataset, caplog: pytest.LogCaptureFixture, tiny_dataset: xr.Dataset
) -> None:
    foreign = np.concatenate([scene_tiles(2, 2, 30 + i)[:1] for i in range(6)])
    apart = shuffled.isel(patch=slice(6)).assign(image=(shuffled["image"].dims, foreign))
    with caplog.at_level(logging.INFO, "l4s_ensemble"):
        assert grid_of(apart, SENSOR).name == "none"  # nothing adjoins: ids are the safer guess
    assert "0 of 6 tiles placed" in caplog.text and "only id - 1 and id + 1" in caplog.text
    grid = grid_of(apart, SENSOR, "pixels")  # but who asks for the pixels gets them
    assert grid.name == "pixels" and grid.scene.tolist() == [-2, -3, -4, -5, -6, -7]
    assert "no seam tells where 6 of 6 tiles lie" in caplog.text
    high = tiny_dataset.assign_coords(patch=np.arange(3790, 3802))
    official = SENSOR.model_copy(update={"grid": "official"})
    caplog.clear()
    with caplog.at_level(logging.INFO, "l4s_ensemble"):
        grid_of(high, official)
    assert "so the pixels decide" in caplog.text
    with pytest.raises(DataError, match=r"(?s)3800, 3801.*scenes\.grid=pixels"):
        grid_of(high, official, "official")


def test_the_stage_with_places_from_pixels(shuffled: xr.Dataset, tmp_path: Path) -> None:
    ctx = context(tmp_path, shuffled, {"folds": 2, "by": "scenes", "grid": "pixels"})
    told = stage(ctx)
    assert (told["grid"], told["by"], told["folds"], told["block_tiles"]) == (
        "pixels", "scenes", 2, 0,
    )  # fmt: skip
    assert [(s["scene"], s["rows"], s["cols"]) for s in told["scenes"]] == [
        (-1, None, None), (1, 6, 6), (2, 4, 5),
    ]  # fmt: skip
    assert sum(s["tiles"] for s in told["scenes"]) == shuffled.sizes["patch"]
    folds = load_folds(ctx.out)
    assert (folds.by, folds.grid, folds.n_folds) == ("scenes", "pixels", 2)
    assert folds.fold[folds.scene == 1].tolist() == [0] * (folds.scene == 1).sum()


def context(run: Path, dataset: xr.Dataset, scenes: dict[str, Any]) -> StageContext:
    data, out = run / "data/train", run / "scenes"
    data.mkdir(parents=True)
    out.mkdir()
    text = {name: dataset[name].astype(object) for name in ("band", "content_hash")}
    dataset.assign_coords(text).to_zarr(data / "patches.zarr", consolidated=False)
    write_json(data / "manifest.json", {})
    settings_: Config = build({"scenes": scenes})
    return StageContext(run, out, settings_, {}, ("data/train",))


def test_every_scene_is_a_fold() -> None:
    grid = raster((9, 9), (3, 5), (2, 6), (4, 4))
    folds = make(grid, by="scenes", folds=6)
    assert folds.n_folds == 4 and folds.by == "scenes"
    np.testing.assert_array_equal(folds.fold, grid.scene - 1)
    for k in range(4):
        assert not len(folds.buffer_ids(k))  # scenes do not touch
        assert len(folds.train_ids(k)) + len(folds.held_ids(k)) == len(grid.patch)
        folds.check(k, folds.train_ids(k), table(folds))


def test_the_lightest_scenes_share_a_fold(caplog: pytest.LogCaptureFixture) -> None:
    grid = raster((9, 9), (1, 2), (5, 5), (1, 3), (2, 2))
    with caplog.at_level(logging.WARNING, "l4s_ensemble"):
        folds = make(grid, by="scenes", folds=3)
    assert "5 scenes are put together to 3 folds" in caplog.text
    assert [sorted(set(folds.scene[folds.fold == k].tolist())) for k in range(3)] == [
        [1], [2, 4, 5], [3],
    ]  # fmt: skip
    # A scene without landslides is the first to join another, however large it is.
    pixels = np.where(grid.scene == 1, 0, 300)
    folds = make(grid, pixels, by="scenes", folds=4)
    assert sorted(set(folds.scene[folds.fold == 0].tolist())) == [1, 2]


def test_guard_and_copies_with_whole_scenes() -> None:
    grid = raster((6, 6), (5, 5), (4, 4))
    content = np.array([f"{i:016x}" for i in range(len(grid.patch))])
    content[40] = content[3]  # a tile of scene 2 that copies one of scene 1
    folds = make(grid, content=content, by="scenes", holdout=Holdout(scene=1, columns=(4, 5)))
    inside = (folds.scene == 1) & (folds.role == "guard")
    assert set(folds.col[inside]) == {3}
    # Column 3 of scene 1 is guard, so its copy in scene 2 is too.
    assert folds.patch[(folds.scene == 2) & (folds.role == "guard")].tolist() == [41]
    folds = make(grid, content=content, by="scenes")
    assert folds.fold[40] == folds.fold[3] == 0
    # The tiles beside the copy know its rim: they leave the training of its fold.
    beside = grid.patch[grid.touching(grid.patch == 41)]
    assert not set(beside) & set(folds.train_ids(0))
    folds.check(0, folds.train_ids(0), table(folds))


@pytest.mark.parametrize(
    ("grid", "empty", "message"),
    [
        (raster((6, 6)), (), r"(?s)left out of one.*one scene, 36 tiles.*scenes\.by=blocks"),
        (
            Grid("none", np.arange(1, 10), *(np.full(9, -1, np.int32) for _ in range(3))),
            (), r"(?s)left out of one.*places of the tiles are not known.*scenes\.by=blocks",
        ),
        (
            raster((4, 4), (3, 3), (5, 5)), (2,),
            r"(?s)without landslides cannot be a fold.*scene 2\n.*to hold in fold 1 of 3"
            r".*scenes\.folds=2.*scenes\.by=blocks",
        ),
        (
            raster((4, 4), (3, 3)), (1,),
            r"(?s)scene 1\n.*to hold in fold 0 of 2.*fix: +set scenes\.by=blocks",
        ),
        (raster((4, 4), (3, 3)), (1, 2), "no tile left for fitting"),
    ],
)  # fmt: skip
def test_scenes_that_cannot_be_left_out(grid: Grid, empty: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(grid, np.where(np.isin(grid.scene, empty), 0, 300), by="scenes")


def test_too_few_tiles_on_places_from_pixels(found: Grid) -> None:
    pixels = np.zeros(len(found.patch), np.int64)
    pixels[3] = 9
    with pytest.raises(DataError, match=r"1 with a landslide"):
        make(found, pixels, folds=2)
    with pytest.raises(ConfigError, match=r"allowed: scene 1: [^;]*; scene 2: [^;]*$"):
        make(found, folds=2, holdout=Holdout(scene=9))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=9),
    most=st.integers(2, 6),
    seed=st.integers(0, 99),
)
def test_laws_of_whole_scenes(sizes: list[tuple[int, int]], most: int, seed: int) -> None:
    grid = raster(*sizes)
    rng = np.random.default_rng(seed)
    pixels = rng.poisson(200, len(grid.patch)) * (rng.random(len(grid.patch)) < 0.5)
    try:
        folds = make(grid, pixels, by="scenes", folds=most)
    except DataError as error:
        assert any(t in str(error) for t in ("left out of one", "without landslides", "no tile"))
        return
    assert folds.n_folds == min(most, len(sizes))
    assert sorted(set(folds.fold.tolist())) == list(range(folds.n_folds))
    for scene in np.unique(grid.scene):
        assert len(set(folds.fold[grid.scene == scene].tolist())) == 1
    for k in range(folds.n_folds):
        assert folds.landslide_pixels[folds.fold == k].any()
        assert not set(folds.scene[folds.fold == k]) & set(folds.of(folds.train_ids(k), "scene"))


@pytest.fixture(params=["blocks", "scenes", "pixels", "pixels by scenes", "ids"])
def folds(request: pytest.FixtureRequest, found: Grid, shuffled: xr.Dataset) -> Folds:
    kind: str = request.param
    content = shuffled["content_hash"].values
    if kind == "pixels":
        return make(found, content=content, folds=2, block_tiles=3)
    if kind == "pixels by scenes":
        return make(found, content=content, folds=2, by="scenes")
    if kind == "ids":
        nowhere = (np.full(60, -1, np.int32) for _ in range(3))
        return make(Grid("none", np.arange(1, 61), *nowhere), folds=2, block_tiles=3)
    return make(raster((8, 8), (6, 6)), by=kind, folds=2, block_tiles=3)


def test_a_planted_leak_is_caught_in_every_kind_of_folds(folds: Folds) -> None:
    grid = Grid(folds.grid, folds.patch, folds.scene, folds.row, folds.col)
    content = table(folds)
    for k in range(folds.n_folds):
        train, held = folds.train_ids(k), folds.held_ids(k)
        folds.check(k, train, content)
        # A tile of another fold, duplicated: first under its own id, then as content.
        with pytest.raises(LeakError, match=f"patch {held[0]}: held"):
            folds.check(k, [*train, held[0]], content)
        with pytest.raises(LeakError, match=f"patch {train[-1]} equals patch {held[0]}, held"):
            folds.check(k, train, content | {int(train[-1]): content[int(held[0])]})
        # A neighbour across the boundary, wherever a boundary runs between folds.
        is_held = np.isin(folds.patch, held)
        across = folds.patch[grid.touching(is_held) & ~is_held]
        if folds.by == "blocks":
            assert len(across)
        for neighbour in across[:5]:
            with pytest.raises(LeakError, match=f"patch {neighbour}: buffer"):
                folds.check(k, [*train, neighbour], content)
