"""Features across seams, in memory and on disk: of a tile in its scene, and of one alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from feature_world import RGB, compute, continued, plan_of, scene, window_plan
from tiny_patches import dataset_of, save_store

from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.data.store import in_memory, units
from l4s_ensemble.errors import DataError, ModelError, RunError
from l4s_ensemble.features.registry import FeaturePlan
from l4s_ensemble.features.source import (
    FeatureSource,
    load_statistics,
    measure_scenes,
    save_statistics,
    source_to_predict,
)
from l4s_ensemble.run.files import write_json
from l4s_ensemble.scenes.neighbourhood import (
    Neighbourhood,
    load_neighbourhood,
    measure_neighbourhood,
)

TILE, ROWS, COLS = 76, 3, 4
ALL = np.arange(ROWS * COLS)
MIDDLE = 1 * COLS + 1
CENTRE = np.s_[:, TILE : 2 * TILE, TILE : 2 * TILE]


def tiles_of(whole: np.ndarray) -> np.ndarray:
    """A scene (band, y, x) cut into tiles in raster order, (tile, band, y, x)."""
    bands = len(whole)
    cut = whole.reshape(bands, ROWS, TILE, COLS, TILE).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(cut.reshape(-1, bands, TILE, TILE))


def patches_of(counts: np.ndarray, sensor: Sensor, scenes: Any = 1) -> xr.Dataset:
    """Tiles in memory, with their places."""
    dataset = dataset_of(counts, None, sensor, COLS, first_id=101).assign_attrs(split="valid")
    return dataset.assign_coords(scene=("patch", np.broadcast_to(scenes, ALL.shape)))


def source_of(dataset: xr.Dataset, plan: FeaturePlan, **settings: Any) -> FeatureSource:
    return FeatureSource(dataset, plan, measure_neighbourhood(dataset, **settings))


def alone(source: FeatureSource) -> FeatureSource:
    return FeatureSource(source.patches, source.plan)


def same(made: np.ndarray, expected: np.ndarray, plan: FeaturePlan) -> None:
    for name, a, b in zip(plan.names, made, expected, strict=True):
        spread = max(float(np.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6 * spread, err_msg=name)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, FeatureSource]:
    """A 14-band scene, and a source of its tiles with their places known."""
    whole, plan = scene(ROWS * TILE, COLS * TILE), window_plan(L4S)
    near = plan.only([f.name for f in plan.features if f.support_px <= TILE])
    return whole, source_of(patches_of(tiles_of(whole), L4S), near)


def test_a_tile_of_a_scene_gets_what_the_whole_scene_gives(world):
    whole, source = world
    expected, made = compute(whole, L4S, source.plan), source.tiles(ALL)
    # The whole scene is continued at its edge as a tile is; so only tiles there may differ.
    for tile in (MIDDLE, MIDDLE + 1):
        y, x = divmod(tile, COLS)
        inside = np.s_[:, y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
        same(made[tile], expected[inside], source.plan)


def test_at_the_edge_of_a_scene_the_known_sides_are_true(world):
    whole, source = world
    window, reach = source.windows([0])[0], 20
    near = slice(0, TILE + reach)
    for band in range(len(whole)):
        wide = window.band(band, reach)
        np.testing.assert_array_equal(wide[reach:, reach:], whole[band, near, near])
    expected = continued(whole[:, :TILE, :TILE], L4S, reach)[13][:reach, : TILE + reach]
    np.testing.assert_array_equal(window.band(13, reach)[:reach, : TILE + reach], expected)
    # Nothing further than one tile away is read; there it goes on as a patch alone does.
    far, near_by = (source.windows([MIDDLE])[0].band(3, r) for r in (TILE + 5, TILE))
    np.testing.assert_array_equal(far[5:-5, 5:-5], near_by)
    assert np.isfinite(far).all()


def test_without_neighbours_a_tile_is_one_patch(world):
    whole, source = world
    patch = compute(np.ascontiguousarray(whole[CENTRE]), L4S, source.plan)
    off = source_of(source.patches, source.plan, cross=False)
    for single in (alone(source), off):
        np.testing.assert_array_equal(single.tiles([MIDDLE])[0], patch)


def test_which_tiles_are_neighbours(world):
    dataset = world[1].patches
    known = measure_neighbourhood(dataset)
    assert len(known.neighbours(MIDDLE)) == 8 and len(known.neighbours(0)) == 3
    nowhere = dataset.assign_coords(scene=("patch", -2 - ALL))
    assert measure_neighbourhood(nowhere).neighbours(MIDDLE) == {}
    flat = measure_neighbourhood(dataset.assign_coords(degenerate=("patch", ALL == MIDDLE + 1)))
    assert flat.neighbours(MIDDLE + 1) == {}
    assert MIDDLE + 1 not in flat.neighbours(MIDDLE).values()
    held_out = replace(known, held_out=ALL == MIDDLE)
    assert MIDDLE not in held_out.neighbours(0).values() and held_out.neighbours(0)
    assert len(held_out.neighbours(MIDDLE)) == 8


def test_gains_of_tiles_to_fit_know_nothing_of_held_out_tiles():
    counts = tiles_of(scene(ROWS * TILE, COLS * TILE, RGB))
    changed = counts.copy()
    changed[MIDDLE] = scene(TILE, TILE, RGB, seed=9) * 2
    role = np.where(ALL == MIDDLE, "holdout", "fit")
    made: list[Neighbourhood] = []
    for tiles in (counts, changed):
        dataset = patches_of(tiles, RGB)
        of = {n: dataset[n].values for n in ("scene", "row", "col")} | {"role": role}
        folds: Any = SimpleNamespace(grid="manifest", of=lambda ids, field, of=of: of[field])
        made.append(measure_neighbourhood(dataset, folds))
    one, two = made
    for tile in np.flatnonzero(role == "fit"):
        for other in one.neighbours(int(tile)).values():
            assert one.gain_factor(tile, other) == two.gain_factor(tile, other)
    assert one.gain_factor(MIDDLE, 0) != two.gain_factor(MIDDLE, 0)


def relative(rng: np.random.Generator) -> tuple[np.ndarray, xr.Dataset]:
    """A true-colour scene, and its tiles as counts of unknown gains."""
    whole = scene(ROWS * TILE, COLS * TILE, RGB)
    levels = np.exp(rng.normal(0, 0.4, ROWS * COLS))[:, None, None, None]
    per_unit = 3 * RGB.count_to_unit.max() / RGB.count_to_unit[:, None, None]
    return whole, patches_of(np.rint(tiles_of(whole) * levels * per_unit), RGB)


def test_a_relative_neighbour_is_read_in_the_tiles_own_level(rng):
    """Levels multiplied by anything: the core is as it was, and the margin fits to it."""
    whole, dataset = relative(rng)
    plan = window_plan(RGB)
    source, own = source_of(dataset, plan), units(dataset, [MIDDLE])[0]
    reference = whole * np.float32(own.mean() / whole[CENTRE].mean())
    window, reach = source.windows([MIDDLE])[0], 20
    near = slice(TILE - reach, 2 * TILE + reach)
    for band in range(3):
        np.testing.assert_array_equal(window.band(band, 0), own[band])
        # Levels differ by 40 %; the gains of noisy seams are right to 5 %.
        assert np.abs(np.log(window.band(band, reach) / reference[band, near, near])).max() < 0.05
    expected = compute(reference, RGB, plan)[CENTRE]
    joined, single = (
        np.abs(s.tiles([MIDDLE])[0] - expected).mean(axis=(1, 2)) for s in (source, alone(source))
    )
    assert (joined <= single + 1e-6).all() and np.median(joined / (single + 1e-6)) < 0.2


def test_some_tiles_are_trained_on_as_if_they_stood_alone():
    dataset = patches_of(tiles_of(scene(ROWS * TILE, COLS * TILE, RGB)), RGB)
    source = source_of(dataset, window_plan(RGB).only(["bright_mean_33"]), drop_share=0.5, seed=4)
    joined, single, training = (s.tiles(ALL) for s in (source, alone(source), source.to_train()))
    dropped = np.array([source.neighbourhood.dropped(int(t)) for t in ALL])
    assert 2 <= dropped.sum() <= 10
    for tile in ALL:
        np.testing.assert_array_equal(training[tile], (single if dropped[tile] else joined)[tile])
        assert not np.array_equal(joined[tile], single[tile])
    # The draw follows the id, not the place among the patches.
    again = measure_neighbourhood(dataset.isel(patch=ALL[::-1]), drop_share=0.5, seed=4)
    np.testing.assert_array_equal([again.dropped(int(t)) for t in ALL], dropped[::-1])


@pytest.fixture(scope="module")
def scenes() -> FeatureSource:
    """Tiles of two scenes, one of them twice as bright, and some of no known scene."""
    counts = tiles_of(scene(ROWS * TILE, COLS * TILE))
    counts[4:8, :12] *= 2
    dataset = patches_of(counts, L4S, np.array([1] * 4 + [2] * 4 + [-2, -3, -4, -5]))
    plan = plan_of(L4S)
    ranks = [f.name for f in plan.features if f.scene_fields]
    assert ranks
    source = source_of(dataset, plan.only([*ranks, "ndvi"]))
    return replace(source, statistics=measure_scenes(source, ALL, 1))


def plain(statistics: Any) -> dict[int, Any]:
    return {number: found.as_dict() for number, found in statistics.items()}


def test_every_known_scene_has_statistics_of_its_own(scenes):
    one, two = (scenes.statistics[n] for n in (1, 2))
    assert sorted(scenes.statistics) == [1, 2] and one.tiles == two.tiles == 4
    assert two.of("bright")[50] > 1.5 * one.of("bright")[50]
    assert scenes.statistics_of(0) is one and scenes.statistics_of(9) is None
    known, unknown = (s.tiles([0, 9]) for s in (scenes, replace(scenes, statistics=None)))
    assert not np.array_equal(known[0], unknown[0])
    np.testing.assert_array_equal(known[1], unknown[1])


def test_statistics_are_the_same_for_any_number_of_jobs_and_of_the_chosen_tiles_only(scenes):
    bare = replace(scenes, statistics=None)
    assert plain(measure_scenes(bare, ALL, 2)) == plain(scenes.statistics)
    some = measure_scenes(bare, [0, 1, 4], 1)
    assert some[1].tiles == 2 and some[1].as_dict() != scenes.statistics[1].as_dict()


def test_a_training_tile_that_stands_alone_knows_nothing_of_its_scene(scenes):
    known = replace(scenes.neighbourhood, drop_share=0.5, seed=1)
    source = replace(scenes, neighbourhood=known)
    dropped = [t for t in range(8) if known.dropped(t)]
    assert 0 < len(dropped) < 8
    for tile in range(8):
        assert (source.to_train().statistics_of(tile) is None) == (tile in dropped)
    np.testing.assert_array_equal(source.to_train().tiles(dropped), alone(source).tiles(dropped))
    assert source.statistics_of(dropped[0]) is not None


@pytest.fixture(scope="module")
def model(scenes: FeatureSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what a fit leaves that knows scene 1 only, and its store."""
    folder = tmp_path_factory.mktemp("model")
    save_store(scenes.patches, folder)
    write_json(folder / "features.json", scenes.plan.as_dict())
    scenes.neighbourhood.save(folder / "neighbourhood.npz")
    save_statistics(folder / "scene_statistics.json", {1: scenes.statistics[1]})
    return folder


def test_a_source_on_disk_gives_the_bits_of_one_in_memory(scenes, model):
    disk = FeatureSource.beside(model, model / "patches.zarr")
    memory = replace(scenes, statistics={1: scenes.statistics[1]})
    np.testing.assert_array_equal(disk.tiles(ALL), memory.tiles(ALL))
    np.testing.assert_array_equal(disk.positions([109, 101]), [8, 0])


def in_units(source: FeatureSource) -> FeatureSource:
    counts = source.patches
    image = counts["image"].copy(data=units(counts))
    return source_of(counts.assign(image=image).assign_attrs(values="unit"), source.plan)


def test_patches_in_units_give_what_counts_give(scenes, rng):
    absolute = replace(scenes, statistics=None)
    np.testing.assert_array_equal(in_units(absolute).tiles([5]), absolute.tiles([5]))
    # Gains of a relative sensor are measured between other numbers: no equal bits there.
    gained = source_of(relative(rng)[1], window_plan(RGB))
    one, two = (s.windows([MIDDLE])[0].band(1, 20) for s in (in_units(gained), gained))
    np.testing.assert_allclose(one, two, rtol=1e-3)


@pytest.mark.parametrize("on_disk", [True, False])
def test_scenes_that_the_fit_did_not_know_are_measured_for_a_prediction(
    scenes, model, tmp_path, on_disk
):
    patches, out = (model / "patches.zarr", tmp_path) if on_disk else (scenes.patches, None)

    def measured(positions: list[int], same_store: bool) -> tuple[FeatureSource, dict[int, Any]]:
        made = source_to_predict(
            patches, model, out, positions, is_training_store=same_store, jobs=1
        )
        return made, load_statistics(made.statistics) if on_disk else made.statistics

    made, statistics = measured([0, 1, 5, 6, 9], True)
    assert statistics[1].as_dict() == scenes.statistics[1].as_dict() and statistics[2].tiles == 2
    assert made.neighbourhood == model / "neighbourhood.npz"
    other, statistics = measured([0, 5], False)  # another store shares nothing with the fit
    assert {n: s.tiles for n, s in statistics.items()} == {1: 1, 2: 1}
    assert (other.neighbourhood == tmp_path / "neighbourhood.npz") == on_disk
    np.testing.assert_array_equal(
        alone(other).tiles([9]), replace(other, statistics=None).tiles([9])
    )
    np.testing.assert_array_equal(
        other.tiles([5]), replace(scenes, statistics=statistics).tiles([5])
    )


def test_where_every_scene_is_known_nothing_is_measured_or_written(model, tmp_path):
    store = model / "patches.zarr"
    made = source_to_predict(store, model, tmp_path, [0, 9], is_training_store=True, jobs=1)
    assert made == FeatureSource.beside(model, store) and not list(tmp_path.iterdir())


def test_patches_in_memory_are_completed_or_refused():
    image = xr.DataArray(scene(8, 8)[None], dims=("patch", "band", "y", "x"))
    made = in_memory(xr.Dataset({"image": image}), L4S)
    assert made["patch"].values.tolist() == [0] and made["scene"].values.tolist() == [-1]
    assert made["band"].values[-1] == "dem" and not made["degenerate"].values.any()
    flat = in_memory(xr.Dataset({"image": 0 * image}), L4S)
    assert flat["degenerate"].values.all()
    for dataset, says in (
        (xr.Dataset({"image": image.transpose("band", ...)}), "not patches of the sensor"),
        (xr.Dataset({"image": image[:, :3]}), "not patches of the sensor"),
        (xr.Dataset(), "no image"),
        (xr.concat([made, made], "patch"), "same id"),
        (
            patches_of(tiles_of(scene(ROWS * TILE, COLS * TILE)), L4S).assign_coords(
                col=("patch", np.zeros(ROWS * COLS, int))
            ),
            "same place",
        ),
    ):
        with pytest.raises(DataError, match=says):
            in_memory(dataset, L4S)


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "neighbourhood.npz").write_bytes(b"no zip")
    with pytest.raises(RunError, match="neighbourhood"):
        load_neighbourhood(tmp_path / "neighbourhood.npz")
    write_json(tmp_path / "scene_statistics.json", {"scenes": [1, 2]})
    with pytest.raises(ModelError, match="statistics of scenes"):
        load_statistics(tmp_path / "scene_statistics.json")
