"""Features across seams: what a tile in its scene gets, and what it gets alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from feature_world import RGB, continued, plan_of, scene, window_plan

from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.counts import to_units
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.features.compute import compute
from l4s_ensemble.features.registry import FeaturePlan, plan_from_file
from l4s_ensemble.features.source import (
    FeatureSource,
    load_statistics,
    measure_scenes,
    save_statistics,
    source_to_predict,
)
from l4s_ensemble.features.window import Joined
from l4s_ensemble.run.files import write_json
from l4s_ensemble.scenes.surroundings import (
    Surroundings,
    load_surroundings,
    measure_surroundings,
)

TILE = 76
ROWS, COLS = 3, 4
MIDDLE = 1 * COLS + 1


def tiles_of(whole: np.ndarray) -> np.ndarray:
    """A scene (band, y, x) cut into tiles in raster order, (tile, band, y, x)."""
    bands = len(whole)
    cut = whole.reshape(bands, ROWS, TILE, COLS, TILE).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(cut.reshape(-1, bands, TILE, TILE))


def store_of(
    folder: Path, counts: np.ndarray, sensor: Sensor, scene_of: np.ndarray | None = None
) -> xr.Dataset:
    """Write tiles as a store, with their places; give them back opened."""
    n = len(counts)
    at = np.arange(n, dtype=np.int32)
    patches = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), counts.astype(np.uint16))},
        coords={
            "patch": np.arange(101, 101 + n),
            "band": np.array(sensor.band_names, object),
            "content_hash": ("patch", np.array([f"{i:016d}" for i in range(n)], object)),
            "degenerate": ("patch", np.zeros(n, bool)),
            "scene": ("patch", np.ones(n, np.int32) if scene_of is None else scene_of),
            "row": ("patch", at // COLS),
            "col": ("patch", at % COLS),
        },
        attrs={"sensor": sensor.model_dump_json(), "split": "valid", "root": "x", "format": FORMAT},
    )
    patches.to_zarr(folder / "patches.zarr", consolidated=False)
    return FeatureSource(folder / "patches.zarr", folder / "features.json").dataset()


def source_of(
    folder: Path, counts: np.ndarray, sensor: Sensor, plan: FeaturePlan, **said: object
) -> FeatureSource:
    dataset = store_of(folder, counts, sensor)
    write_json(folder / "features.json", plan.as_dict())
    measure_surroundings(dataset, **said).save(folder / "surroundings.npz")
    return FeatureSource.beside(folder, folder / "patches.zarr")


def same(made: np.ndarray, expected: np.ndarray, plan: FeaturePlan, rtol: float = 1e-5) -> None:
    for name, a, b in zip(plan.names, made, expected, strict=True):
        spread = max(float(np.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=0.2 * rtol * spread, err_msg=name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, FeatureSource]:
    """A 14-band scene, and a source of its tiles with their places known."""
    whole = scene(ROWS * TILE, COLS * TILE)
    folder = tmp_path_factory.mktemp("world")
    plan = window_plan(L4S)
    near = plan.only([f.name for f in plan.features if f.support_px <= TILE])
    return whole, source_of(folder, tiles_of(whole), L4S, near)


def plan_at(source: FeatureSource) -> FeaturePlan:
    return plan_from_file(source.plan)


def test_a_tile_of_a_scene_gets_what_the_whole_scene_gives(world):
    whole, source = world
    plan = plan_at(source)
    expected = compute(whole, L4S, plan)
    made = source.tiles(np.arange(ROWS * COLS))
    # The whole scene is continued at its rim as a tile is; so only tiles at the rim may differ.
    for tile in (MIDDLE, MIDDLE + 1):
        y, x = divmod(tile, COLS)
        inside = np.s_[:, y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
        same(made[tile], expected[inside], plan)


def test_at_the_rim_of_a_scene_the_known_sides_are_true(world):
    whole, source = world
    window = source.windows([0])[0]
    reach = 20
    for band in range(len(whole)):
        wide = window.band(band, reach)
        near = slice(0, TILE + reach)
        np.testing.assert_array_equal(wide[reach:, reach:], whole[band, near, near])
    alone = continued(whole[:, :TILE, :TILE], L4S, reach)
    np.testing.assert_array_equal(window.band(13, reach)[:reach, : TILE + reach],
                                  alone[13][:reach, : TILE + reach])  # fmt: skip


def test_without_neighbours_the_fall_back_is_that_of_one_patch(world):
    whole, source = world
    plan, core = plan_at(source), whole[:, TILE : 2 * TILE, TILE : 2 * TILE]
    alone = FeatureSource(source.store, source.plan)
    np.testing.assert_array_equal(
        alone.tiles([MIDDLE])[0], compute(np.ascontiguousarray(core), L4S, plan, pad="odd")
    )


def test_no_neighbours_where_the_setting_or_the_scene_says_so(world, tmp_path):
    _, source = world
    folder = tmp_path / "off"
    folder.mkdir()
    measure_surroundings(source.dataset(), cross=False).save(folder / "s.npz")
    off = FeatureSource(source.store, source.plan, folder / "s.npz")
    alone = FeatureSource(source.store, source.plan)
    np.testing.assert_array_equal(off.tiles([MIDDLE]), alone.tiles([MIDDLE]))
    known = measure_surroundings(source.dataset())
    assert len(known.neighbours(MIDDLE)) == 8 and len(known.neighbours(0)) == 3
    nowhere = source.dataset().assign_coords(scene=("patch", np.arange(-2, -14, -1, np.int32)))
    assert measure_surroundings(nowhere).neighbours(MIDDLE) == {}


def test_tiles_without_terrain_are_no_neighbours(world):
    dark = np.zeros(ROWS * COLS, bool)
    dark[MIDDLE + 1] = True
    found = measure_surroundings(world[1].dataset().assign_coords(degenerate=("patch", dark)))
    assert found.neighbours(MIDDLE + 1) == {}
    assert MIDDLE + 1 not in found.neighbours(MIDDLE).values()


def test_a_tile_set_aside_is_read_by_its_like_only():
    n = 9
    at = np.arange(n, dtype=np.int32)
    aside = at == 4
    known = Surroundings(
        at.astype(np.int64), np.ones(n, np.int32), at // 3, at % 3, aside, np.zeros(n, bool),
        np.ones(n), np.zeros((2, n)), np.zeros((2, n), np.int64),
    )  # fmt: skip
    assert 4 not in known.neighbours(3).values() and 0 in known.neighbours(3).values()
    assert len(known.neighbours(4)) == 8


def test_gains_of_tiles_to_fit_know_nothing_of_tiles_set_aside(tmp_path):
    from types import SimpleNamespace

    counts = tiles_of(scene(ROWS * TILE, COLS * TILE, RGB))
    changed = counts.copy()
    changed[MIDDLE] = scene(TILE, TILE, RGB, seed=9) * 2
    role = np.full(ROWS * COLS, "fit", "<U10")
    role[MIDDLE] = "holdout"
    made = []
    for name, tiles in (("one", counts), ("two", changed)):
        dataset = store_of(tmp_path / name, tiles, RGB)
        of = {n: dataset[n].values for n in ("scene", "row", "col")} | {"role": role}
        folds = SimpleNamespace(of=lambda ids, field, of=of: of[field])
        made.append(measure_surroundings(dataset, folds))
    fit = np.flatnonzero(role == "fit")
    one, two = made
    for tile in fit:
        for other in one.neighbours(int(tile)).values():
            assert one.light_factor(tile, other) == two.light_factor(tile, other)
    assert one.light_factor(MIDDLE, 0) != two.light_factor(MIDDLE, 0)


def test_a_relative_neighbour_is_read_in_the_tiles_own_level(tmp_path, rng):
    """Levels multiplied by anything: the core is as it was, and the margin fits to it."""
    whole = scene(ROWS * TILE, COLS * TILE, RGB)
    levels = np.exp(rng.normal(0, 0.4, ROWS * COLS))[:, None, None, None]
    per_unit = 3 * RGB.count_to_unit.max() / RGB.count_to_unit[:, None, None]
    counts = np.rint(tiles_of(whole) * levels * per_unit)
    plan = window_plan(RGB)
    source = source_of(tmp_path, counts, RGB, plan)
    own = to_units(counts[MIDDLE : MIDDLE + 1], RGB)[0]
    centre = np.s_[:, TILE : 2 * TILE, TILE : 2 * TILE]
    truth = whole * np.float32(own.mean() / whole[centre].mean())
    window, reach = source.windows([MIDDLE])[0], 20
    near = slice(TILE - reach, 2 * TILE + reach)
    for band in range(3):
        np.testing.assert_array_equal(window.band(band, 0), own[band])
        # Levels differ by 40 %; the gains of noisy seams are right to 5 %.
        off = np.log(window.band(band, reach) / truth[band, near, near])
        assert np.abs(off).max() < 0.05
    made = source.tiles([MIDDLE])[0]
    alone = FeatureSource(source.store, source.plan).tiles([MIDDLE])[0]
    expected = compute(truth, RGB, plan)[centre]
    joined, single = (np.abs(x - expected).mean(axis=(1, 2)) for x in (made, alone))
    assert (joined <= single + 1e-6).all() and np.median(joined / (single + 1e-6)) < 0.2


def test_exact_gains_give_exactly_the_scene(rng):
    whole = scene(ROWS * TILE, COLS * TILE, RGB)
    tiles = tiles_of(whole)
    levels = rng.uniform(0.3, 3, ROWS * COLS).astype(np.float32)
    around = {}
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            other = MIDDLE + down * COLS + right
            if other != MIDDLE:
                around[down, right] = (tiles[other] * levels[other], np.full(3, 1 / levels[other]))
    joined = Joined(tiles[MIDDLE], RGB, around)
    for reach in (0, 1, 17, TILE):
        near = slice(TILE - reach, 2 * TILE + reach)
        np.testing.assert_allclose(joined.band(1, reach), whole[1, near, near], rtol=1e-6)
    # Nothing further than one tile away is read; there it goes on as a patch alone does.
    far = joined.band(1, TILE + 5)
    np.testing.assert_allclose(far[5:-5, 5:-5], joined.band(1, TILE), rtol=1e-6)
    assert np.isfinite(far).all()


def test_some_tiles_are_trained_on_as_if_they_stood_alone(tmp_path):
    counts = tiles_of(scene(ROWS * TILE, COLS * TILE, RGB))
    plan = window_plan(RGB).only(["bright_mean_33"])
    source = source_of(tmp_path, counts, RGB, plan, drop_share=0.5, seed=4)
    alone = FeatureSource(source.store, source.plan)
    every = np.arange(ROWS * COLS)
    joined, single, training = (s.tiles(every) for s in (source, alone, source.to_train()))
    known = load_surroundings(source.surroundings)
    dropped = np.array([known.dropped(int(t)) for t in every])
    assert 2 <= dropped.sum() <= 10
    for tile in every:
        np.testing.assert_array_equal(training[tile], (single if dropped[tile] else joined)[tile])
        assert not np.array_equal(joined[tile], single[tile])
    # The draw follows the id, not the place in the store.
    again = measure_surroundings(source.dataset().isel(patch=every[::-1]), drop_share=0.5, seed=4)
    np.testing.assert_array_equal([again.dropped(int(t)) for t in every], dropped[::-1])


def test_another_split_is_measured_by_itself(world, tmp_path):
    _, source = world
    counts = tiles_of(scene(ROWS * TILE, COLS * TILE, seed=3))
    other = store_of(tmp_path / "valid", counts, L4S)
    made = source_to_predict(
        tmp_path / "valid" / "patches.zarr", source.plan.parent, tmp_path / "out",
        np.arange(len(counts)), is_training_store=False, jobs=1,
    )  # fmt: skip
    assert made.surroundings == tmp_path / "out" / "surroundings.npz"
    plan = plan_at(source)
    expected = compute(scene(ROWS * TILE, COLS * TILE, seed=3), L4S, plan)
    same(made.tiles([MIDDLE])[0], expected[:, TILE : 2 * TILE, TILE : 2 * TILE], plan)
    assert other.sizes["patch"] == len(counts)
    own = source_to_predict(
        source.store, source.plan.parent, tmp_path / "none", [0], is_training_store=True, jobs=1
    )
    assert own == source and not (tmp_path / "none").exists()


def test_damaged_surroundings_are_named(tmp_path):
    (tmp_path / "surroundings.npz").write_bytes(b"no zip")
    with pytest.raises(RunError, match="surroundings"):
        load_surroundings(tmp_path / "surroundings.npz")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureSource, dict]:
    """Tiles of two scenes, one of them twice as bright, and some of no known scene."""
    folder = tmp_path_factory.mktemp("scenes")
    counts = tiles_of(scene(ROWS * TILE, COLS * TILE))
    counts[4:8, :12] *= 2
    scene_of = np.repeat([1, 2, -2], 4).astype(np.int32)
    scene_of[8:] = [-2, -3, -4, -5]
    dataset = store_of(folder, counts, L4S, scene_of)
    plan = plan_of(L4S)
    told = [f.name for f in plan.features if f.scene_fields]
    assert told
    write_json(folder / "features.json", plan.only([*told, "ndvi"]).as_dict())
    measure_surroundings(dataset).save(folder / "surroundings.npz")
    source = FeatureSource.beside(folder, folder / "patches.zarr")
    statistics = measure_scenes(source, np.arange(len(counts)), 1)
    save_statistics(folder / "scene_statistics.json", statistics)
    return FeatureSource.beside(folder, folder / "patches.zarr"), statistics


def test_every_known_scene_has_statistics_of_its_own(scenes):
    source, statistics = scenes
    assert sorted(statistics) == [1, 2] and statistics[1].tiles == statistics[2].tiles == 4
    assert statistics[2].of("bright")[50] > 1.5 * statistics[1].of("bright")[50]
    assert source.statistics_of(0).as_dict() == statistics[1].as_dict()
    assert source.statistics_of(9) is None
    with_statistics, without = (s.tiles([0, 9]) for s in (source, replace(source, statistics=None)))
    assert not np.array_equal(with_statistics[0], without[0])
    np.testing.assert_array_equal(with_statistics[1], without[1])


def test_statistics_are_the_same_for_any_number_of_jobs_and_of_the_chosen_tiles_only(scenes):
    source, statistics = scenes
    bare = replace(source, statistics=None)
    two = measure_scenes(bare, np.arange(12), 2)
    assert {n: f.as_dict() for n, f in two.items()} == {
        n: f.as_dict() for n, f in statistics.items()
    }
    some = measure_scenes(bare, [0, 1, 4], 1)
    assert some[1].tiles == 2 and some[1].as_dict() != statistics[1].as_dict()


def test_a_scene_that_the_fit_did_not_know_is_measured_when_it_is_predicted(scenes, tmp_path):
    source, statistics = scenes
    model = tmp_path / "model"
    shutil.copytree(source.plan.parent, model, ignore=shutil.ignore_patterns("patches.zarr"))
    save_statistics(model / "scene_statistics.json", {1: statistics[1]})
    made = source_to_predict(
        source.store, model, tmp_path / "out", [0, 1, 5, 6, 9], is_training_store=True, jobs=1
    )
    assert made.statistics == tmp_path / "out" / "scene_statistics.json"
    kept = load_statistics(made.statistics)
    assert kept[1].as_dict() == statistics[1].as_dict() and kept[2].tiles == 2
    # With every scene known, nothing is written.
    save_statistics(model / "scene_statistics.json", statistics)
    own = source_to_predict(
        source.store, model, tmp_path / "none", [0, 5], is_training_store=True, jobs=1
    )
    assert own.statistics == model / "scene_statistics.json" and not (tmp_path / "none").exists()
    # Another store shares nothing with the fit.
    other = source_to_predict(
        source.store, model, tmp_path / "other", [0, 5], is_training_store=False, jobs=1
    )
    assert load_statistics(other.statistics)[1].tiles == 1


def test_damaged_statistics_are_named(tmp_path):
    write_json(tmp_path / "scene_statistics.json", {"scenes": [1, 2]})
    with pytest.raises(ModelError, match="statistics of scenes"):
        load_statistics(tmp_path / "scene_statistics.json")


def test_a_training_tile_that_stands_alone_knows_nothing_of_its_scene(scenes, tmp_path):
    source, _ = scenes
    alone = tmp_path / "surroundings.npz"
    measure_surroundings(source.dataset(), drop_share=0.5, seed=1).save(alone)
    some = replace(source, surroundings=alone).to_train()
    known = load_surroundings(alone)
    dropped = [t for t in range(8) if known.dropped(t)]
    assert 0 < len(dropped) < 8
    for tile in range(8):
        found = some.statistics_of(tile)
        assert (found is None) == (tile in dropped)
    speaks_for_itself = replace(source, surroundings=None, statistics=None).tiles(dropped)
    np.testing.assert_array_equal(some.tiles(dropped), speaks_for_itself)
    assert replace(source, surroundings=alone).statistics_of(dropped[0]) is not None
