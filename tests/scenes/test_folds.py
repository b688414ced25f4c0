"""Folds: spatial, guarded, balanced, and checks that catch a leak."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes_world import hashes, make, nowhere, raster, table
from tiny_patches import context_of, put_stage

from l4s_ensemble import config
from l4s_ensemble.config import Config, Holdout
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import load_sensor
from l4s_ensemble.data.store import hashes_of, open_store
from l4s_ensemble.errors import DataError, LeakError, RunError
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.folds import Folds, check_stack, load_folds, patches_to_predict
from l4s_ensemble.scenes.layout import Layout, official_places
from l4s_ensemble.scenes.stage import stage


def distance(folds: Folds, ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Chebyshev distance of tiles to the nearest of others of one scene, shape (id,)."""
    a, b = (np.stack([folds.of(i, "row"), folds.of(i, "col")], axis=1) for i in (ids, others))
    return np.abs(a[:, None] - b[None]).max(axis=2).min(axis=1)


@pytest.mark.parametrize(("size", "cut"), [((10, 8), True), ((8, 10), True), ((5, 4), False)])
def test_a_block_does_not_swallow_a_scene_that_can_be_cut(size: tuple[int, int], cut: bool) -> None:
    """Else a fold asks about a scene never seen, where another part of a known one is meant."""
    folds = make(raster((28, 28), size), folds=5, block_tiles=14)
    of_small = folds.fold[folds.scene == 2]
    assert len(set(of_small.tolist())) == (2 if cut else 1)
    sizes = np.bincount(of_small)
    assert sizes[sizes > 0].min() >= size[0] * size[1] / 2 - max(size)
    assert len(set(folds.fold[folds.scene == 1].tolist())) >= 3


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(6, 20), st.integers(6, 20)),
    folds=st.integers(2, 6),
    block=st.integers(1, 6),
    missing=st.floats(0, 0.4),
    seed=st.integers(0, 99),
)
def test_laws_of_folds(
    size: tuple[int, int], folds: int, block: int, missing: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layout = raster(size, keep=rng.random(size[0] * size[1]) >= missing)
    pixels = rng.poisson(200, len(layout)) * (rng.random(len(layout)) < 0.6)
    try:
        f = make(layout, pixels, folds=folds, block_tiles=block, seed=seed)
    except DataError as error:
        assert "too few tiles" in str(error)
        return
    held = np.concatenate([f.held_out_ids(k) for k in range(folds)])
    assert sorted(held) == sorted(layout.patch)  # each tile is scored once
    for k in range(folds):
        train, own, buffer = f.train_ids(k), f.held_out_ids(k), f.buffer_ids(k)
        assert len(train) + len(own) + len(buffer) == len(layout)
        assert distance(f, train, own).min() >= 2
        assert (distance(f, buffer, own) == 1).all()
        for ids in (train, own):
            assert f.of(ids, "landslide_pixels").sum() > 0
        f.check(k, train, table(f))


def test_folds_are_balanced_and_the_same_for_one_seed(rng: np.random.Generator) -> None:
    layout = raster((40, 40))
    pixels = rng.poisson(375, 1600) * (rng.random(1600) < 0.6)
    f = make(layout, pixels, folds=5, seed=3)
    share = np.array([pixels[f.fold == k].sum() for k in range(5)]) / pixels.sum()
    assert np.abs(share - 0.2).max() < 0.02
    assert f.block_tiles == 6
    np.testing.assert_array_equal(f.fold, make(layout, pixels, folds=5, seed=3).fold)
    # Blocks keep the buffer small: of isolated tiles nearly all would be beside a held-out one.
    assert min(len(f.train_ids(k)) for k in range(5)) > 0.6 * 1600


def test_holdout_columns_and_their_neighbours_fit_nothing() -> None:
    given_ = {"holdout": Holdout(scene=1, columns=(20, 24)), "folds": 3, "block_tiles": 4}
    f = make(raster((20, 30)), **given_)
    assert set(f.col[f.role == "holdout"]) == set(range(20, 25))
    assert set(f.col[f.role == "guard"]) == {19, 25}
    assert (f.fold[f.role != "fit"] == -1).all()
    for k in range(3):
        assert distance(f, f.train_ids(k), f.holdout_ids).min() >= 2
    loose = make(raster((20, 30)), holdout_guard=False, **given_)
    assert "guard" not in loose.role
    assert len(np.unique(f.block[f.role == "holdout"])) > 8  # blocks for the interval


@pytest.mark.parametrize(
    ("holdout", "ids"),
    [
        (Holdout(scene=1, rows=(0, 1), columns=(0, 2)), [1, 2, 3, 13, 14, 15]),
        (Holdout(ids=(5, 140)), [5, 140]),
    ],
)
def test_holdout_rows_and_ids(holdout: Holdout, ids: list[int]) -> None:
    f = make(raster((12, 12)), holdout=holdout, folds=2, block_tiles=3)
    assert f.holdout_ids.tolist() == ids


def test_copies_go_together_and_copies_of_the_holdout_leave() -> None:
    layout, content = raster((18, 18)), hashes(324)
    first, copy = 0, 323  # opposite corners
    content[copy] = content[first]
    f = make(layout, content=content, folds=3, block_tiles=3)
    assert f.fold[first] == f.fold[copy]
    for k in range(3):
        f.check(k, f.train_ids(k), table(f))
    f = make(layout, content=content, holdout=Holdout(ids=(1,)), folds=3, block_tiles=3)
    assert f.role[copy] == "guard"


def test_a_copy_of_a_tile_beside_a_held_out_one_leaves_training_too() -> None:
    layout, content = raster((18, 18)), hashes(324)
    plain = make(layout, folds=2, block_tiles=6)
    beside, far = plain.buffer_ids(0)[0], plain.train_ids(0)[-1]
    content[far - 1] = content[beside - 1]
    f = make(layout, content=content, folds=2, block_tiles=6)
    assert {int(beside), int(far)} <= set(f.buffer_ids(0).tolist())


def test_degenerate_tiles_fit_nothing() -> None:
    degenerate = np.isin(np.arange(144), [3, 77])
    f = make(raster((12, 12)), degenerate=degenerate, folds=2, block_tiles=3)
    assert f.patch[f.role == "degenerate"].tolist() == [4, 78]
    assert not set(f.fit_ids) & {4, 78}


def test_blocks_shrink_with_a_word_until_they_suffice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "l4s_ensemble"):
        f = make(raster((8, 8)), folds=4, block_tiles=6)
    assert 1 <= f.block_tiles < 6
    assert "blocks of 6 tiles are too few for 4 folds" in caplog.text


def test_too_few_tiles_is_a_clear_error() -> None:
    with pytest.raises(DataError, match=r"(?s)4 tiles to fit, 4 with a landslide.*scenes\.folds"):
        make(raster((2, 2)), folds=2)
    with pytest.raises(DataError, match="144 tiles to fit, 1 with a landslide"):
        make(raster((12, 12)), np.where(np.arange(144) == 5, 10, 0), folds=3)
    with pytest.raises(DataError, match="no tile left"):
        make(raster((12, 12)), 0, folds=3)


def test_without_places_runs_of_ids_are_blocks() -> None:
    f = make(nowhere(12), folds=3, block_tiles=2, holdout=Holdout(ids=(12,)))
    assert (f.scene == -1).all() and f.role[10] == "guard"
    assert f.patch[f.fold == f.fold[0]].tolist() == [1, 2, 3, 4]
    assert f.buffer_ids(int(f.fold[0])).tolist() == [5]


def test_the_standard_comparison_on_real_ids(real_data: Path) -> None:
    files = find_patches(real_data / "l4s-rgb", "train", load_sensor("l4s-rgb"))
    patch, chosen = np.array([file.id for file in files]), config.load("l4s-rgb")
    f = make(
        Layout("official", patch, *official_places(patch)),
        holdout=chosen.data.holdout,
        **chosen.scenes.model_dump(),
    )
    roles, tiles = np.unique(f.role, return_counts=True)
    assert dict(zip(roles.tolist(), tiles.tolist(), strict=True)) == {"fit": 1306, "holdout": 301}
    assert min(len(f.train_ids(k)) for k in range(f.n_folds)) > 800


# Whole scenes as folds


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=9),
    most=st.integers(2, 6),
    seed=st.integers(0, 99),
)
def test_laws_of_whole_scenes(sizes: list[tuple[int, int]], most: int, seed: int) -> None:
    layout, rng = raster(*sizes), np.random.default_rng(seed)
    pixels = rng.poisson(200, len(layout)) * (rng.random(len(layout)) < 0.5)
    try:
        folds = make(layout, pixels, by="scenes", folds=most)
    except DataError as error:
        assert any(t in str(error) for t in ("left out of one", "without landslides", "no tile"))
        return
    assert folds.n_folds == min(most, len(sizes))
    assert sorted(set(folds.fold.tolist())) == list(range(folds.n_folds))
    for scene in np.unique(layout.scene):
        assert len(set(folds.fold[layout.scene == scene].tolist())) == 1
    for k in range(folds.n_folds):
        assert folds.landslide_pixels[folds.fold == k].any()
        assert not set(folds.scene[folds.fold == k]) & set(folds.of(folds.train_ids(k), "scene"))
        assert not len(folds.buffer_ids(k))  # scenes do not touch
        folds.check(k, folds.train_ids(k), table(folds))


def test_the_lightest_scenes_share_a_fold(caplog: pytest.LogCaptureFixture) -> None:
    layout = raster((9, 9), (1, 2), (5, 5), (1, 3), (2, 2))
    np.testing.assert_array_equal(make(layout, by="scenes", folds=6).fold, layout.scene - 1)
    with caplog.at_level(logging.WARNING, "l4s_ensemble"):
        folds = make(layout, by="scenes", folds=3)
    assert "5 scenes are put together to 3 folds" in caplog.text
    members = [sorted(set(folds.scene[folds.fold == k].tolist())) for k in range(3)]
    assert members == [[1], [2, 4, 5], [3]]
    # A scene without landslides is the first to join another, however large it is.
    folds = make(layout, np.where(layout.scene == 1, 0, 300), by="scenes", folds=4)
    assert sorted(set(folds.scene[folds.fold == 0].tolist())) == [1, 2]


def test_guard_and_copies_with_whole_scenes() -> None:
    layout = raster((6, 6), (5, 5), (4, 4))
    content = hashes(len(layout))
    content[40] = content[3]  # a tile of scene 2 that copies one of scene 1
    folds = make(layout, content=content, by="scenes", holdout=Holdout(scene=1, columns=(4, 5)))
    inside = (folds.scene == 1) & (folds.role == "guard")
    assert set(folds.col[inside]) == {3}
    # Column 3 of scene 1 is guard, so its copy in scene 2 is too.
    assert folds.patch[(folds.scene == 2) & (folds.role == "guard")].tolist() == [41]
    folds = make(layout, content=content, by="scenes")
    assert folds.fold[40] == folds.fold[3] == 0
    # The tiles beside the copy know its edge: they leave the training of its fold.
    beside = layout.patch[layout.touching(layout.patch == 41)]
    assert not set(beside) & set(folds.train_ids(0))
    folds.check(0, folds.train_ids(0), table(folds))


@pytest.mark.parametrize(
    ("layout", "empty", "message"),
    [
        (raster((6, 6)), (), r"(?s)left out of one.*one scene, 36 tiles.*scenes\.by=blocks"),
        (nowhere(9), (), r"(?s)left out of one.*places of the tiles are not known.*by=blocks"),
        (
            raster((4, 4), (3, 3), (5, 5)),
            (2,),
            r"(?s)without landslides cannot be a fold.*scene 2\n.*to hold in fold 1 of 3"
            r".*scenes\.folds=2.*scenes\.by=blocks",
        ),
        (
            raster((4, 4), (3, 3)),
            (1,),
            r"(?s)scene 1\n.*to hold in fold 0 of 2.*fix: +set scenes\.by=blocks",
        ),
        (raster((4, 4), (3, 3)), (1, 2), "no tile left for fitting"),
    ],
)
def test_scenes_that_cannot_be_left_out(
    layout: Layout, empty: tuple[int, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make(layout, np.where(np.isin(layout.scene, empty), 0, 300), by="scenes")


# Leaks


@pytest.mark.parametrize("kind", ["blocks", "scenes", "ids", "holdout"])
def test_a_planted_leak_is_caught_in_every_kind_of_folds(kind: str) -> None:
    if kind == "ids":
        folds = make(nowhere(60), folds=2, block_tiles=3)
    elif kind == "holdout":
        folds = make(raster((12, 12)), holdout=Holdout(ids=(1,)), folds=2, block_tiles=3)
    else:
        folds = make(raster((8, 8), (6, 6)), by=kind, folds=2, block_tiles=3)
    content = table(folds)
    for k in range(folds.n_folds):
        train, held = folds.train_ids(k), folds.held_out_ids(k)
        folds.check(k, train, content)
        planted = {held[0]: "held out", 5000: "unknown"}
        # A neighbour across the boundary, wherever a boundary runs between folds.
        is_held = np.isin(folds.patch, held)
        across = folds.patch[folds.touching(is_held) & ~is_held & (folds.role == "fit")]
        assert len(across) or kind == "scenes"
        planted |= dict.fromkeys(across[:5], "buffer")
        if kind == "holdout":
            planted |= {1: "role holdout", 2: "role guard"}
        for bad, why in planted.items():
            with pytest.raises(LeakError, match=f"patch {bad}: {why}"):
                folds.check(k, [*train, bad], content)
        # A tile duplicated after the folds were made: the ids are right, the content is not.
        with pytest.raises(LeakError, match=f"patch {train[-1]} equals patch {held[0]}, held out"):
            folds.check(k, train, content | {int(train[-1]): content[int(held[0])]})


@pytest.fixture(scope="module")
def folds() -> Folds:
    holdout = Holdout(scene=1, columns=(10, 11))
    return make(raster((12, 12)), folds=3, block_tiles=3, holdout=holdout)


def scores_of(folds: Folds, **unet: Any) -> dict[str, xr.Dataset]:
    """Out-of-fold scores of both base models; other values of the second."""
    ids = folds.fit_ids
    values = {"patch": ids, "fold": folds.of(ids, "fold"), "seed": 7}
    out = {}
    for name, own in (("pixel", values), ("unet", {**values, **unet})):
        coords = {"patch": own["patch"], "fold": ("patch", own["fold"])}
        out[name] = xr.Dataset(coords=coords, attrs={"seed": own["seed"]})
    return out


def fitted_of(folds: Folds) -> dict[int, list[int]]:
    return {k: folds.train_ids(k).tolist() for k in range(folds.n_folds)}


def test_a_clean_stack_passes_and_unknown_places_are_told(folds: Folds) -> None:
    found = check_stack(folds, table(folds), scores_of(folds), fitted_of(folds))
    assert found["checked"] == found["passed"] == len(found["details"])
    assert {0, 1, 2} <= {d["fold"] for d in found["details"]}
    unplaced = replace(folds, grid="none")
    found = check_stack(unplaced, table(folds), scores_of(folds), dict.fromkeys(range(3), ()))
    assert [d["check"] for d in found["details"] if not d["passed"]] == ["places"]


@pytest.mark.parametrize("which", ["held out", "buffer", "holdout", "copy"])
def test_a_meta_learner_that_saw_too_much_is_caught(folds: Folds, which: str) -> None:
    fitted, content = fitted_of(folds), table(folds)
    if which == "copy":
        content[fitted[1][0]] = content[int(folds.held_out_ids(1)[0])]
    else:
        ids = {"held out": folds.held_out_ids(1), "buffer": folds.buffer_ids(1)}
        fitted[1].append(int(ids.get(which, folds.holdout_ids)[0]))
    with pytest.raises(LeakError, match="fold 1 trains on copies" if which == "copy" else which):
        check_stack(folds, content, scores_of(folds), fitted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": lambda seed: seed + 1}, "differ in seeds"),
        ({"patch": lambda ids: ids[::-1]}, "of other folds"),
        ({"fold": lambda fold: np.roll(fold, 1)}, "of other folds"),
        (dict.fromkeys(("patch", "fold"), lambda values: values[:-1]), "differ in tiles"),
    ],
)
def test_base_models_that_differ_are_caught(folds: Folds, change: Any, words: str) -> None:
    ids = folds.fit_ids
    values = {"patch": ids, "fold": folds.of(ids, "fold"), "seed": 7}
    unet = {key: turn(values[key]) for key, turn in change.items()}
    with pytest.raises(LeakError, match=words):
        check_stack(folds, table(folds), scores_of(folds, **unet), fitted_of(folds))


# The stage


def context(run: Path, store: Path, chosen: Config, **params: object) -> StageContext:
    """A context as the executor makes one, with the store as an earlier stage."""
    for name in ("data/train", "scenes"):
        put_stage(run, name)
    if not (link := run / "data/train/patches.zarr").is_symlink():
        link.symlink_to(store)
    return context_of(run, "scenes", chosen, ("data/train", "scenes"), params)


def test_the_stage_writes_what_is_read_back(_tiny_store: Path, tmp_path: Path) -> None:
    chosen = config.load("default", ["scenes.folds=3", "data.holdout.ids=[12]"])
    ctx = context(tmp_path, _tiny_store, chosen)
    summary = stage(ctx)
    assert summary["grid"] == "official" and summary["folds"] == 3
    assert summary["roles"] == {"fit": 10, "holdout": 1, "guard": 1, "degenerate": 0}
    assert sum(row["tiles"] for row in summary["per_fold"]) == 10
    assert [(s["scene"], s["rows"], s["cols"]) for s in summary["scenes"]] == [(1, 1, 12)]
    folds, dataset = load_folds(ctx.out), open_store(_tiny_store)
    np.testing.assert_array_equal(folds.patch, dataset["patch"].values)
    np.testing.assert_array_equal(folds.landslide_pixels, dataset["mask"].sum(("y", "x")))
    for k in range(3):
        folds.check(k, folds.train_ids(k), hashes_of(dataset))
    ask = {"data": "data/train", "holdout": True}
    assert patches_to_predict(context(tmp_path, _tiny_store, chosen, **ask))["patch"].values == [12]
    whole = patches_to_predict(context(tmp_path, _tiny_store, chosen, data="data/train"))
    assert whole.sizes["patch"] == 12


def test_whole_scenes_read_back(tmp_path: Path) -> None:
    made = make(raster((3, 3), (2, 2)), by="scenes", folds=2)
    made.save(tmp_path)
    found = load_folds(tmp_path)
    assert (found.by, found.grid, found.block_tiles) == ("scenes", "manifest", 0)
    for name in ("patch", "scene", "row", "col", "role", "fold", "block", "content_hash"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))


def test_a_run_without_holdout(_tiny_store: Path, tmp_path: Path) -> None:
    chosen = config.load("default", ["scenes.folds=3"])
    ctx = context(tmp_path, _tiny_store, chosen, data="data/train", holdout=True)
    stage(ctx)
    with pytest.raises(RunError, match="no holdout tiles"):
        patches_to_predict(ctx)
