"""Folds: spatial, guarded, balanced, and an assertion that catches a leak."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from l4s_ensemble import config
from l4s_ensemble.config import Config, Holdout, ScenesConfig
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import L4S, load_sensor
from l4s_ensemble.data.store import hashes_of, open_store
from l4s_ensemble.errors import ConfigError, DataError, LeakError, RunError
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import Folds, load_folds, patches_to_predict
from l4s_ensemble.scenes.grid import OFFICIAL_SCENES, Grid, grid_of, official_places
from l4s_ensemble.scenes.stage import stage


def hashes(n: int) -> np.ndarray:
    return np.array([f"{i:016x}" for i in range(n)])


def full_grid(rows: int, cols: int, keep: np.ndarray | None = None) -> Grid:
    r, c = (v.ravel().astype(np.int32) for v in np.mgrid[:rows, :cols])
    k = np.ones(rows * cols, bool) if keep is None else keep
    patch = np.arange(1, rows * cols + 1)
    return Grid("manifest", patch[k], np.ones(k.sum(), np.int32), r[k], c[k])


def make(grid: Grid, pixels: np.ndarray | None = None, **kwargs: object) -> Folds:
    n = len(grid.patch)
    settings_ = {k: kwargs.pop(k) for k in ("folds", "block_tiles") if k in kwargs}
    return make_folds(
        grid,
        np.full(n, 300) if pixels is None else pixels,
        kwargs.pop("content_hash", hashes(n)),  # type: ignore[arg-type]
        kwargs.pop("degenerate", np.zeros(n, bool)),  # type: ignore[arg-type]
        ScenesConfig(**settings_),  # type: ignore[arg-type]
        **kwargs,  # type: ignore[arg-type]
    )


def distance(folds: Folds, ids: np.ndarray, others: np.ndarray) -> int:
    """Smallest Chebyshev distance between two sets of tiles of one scene."""
    a = np.stack([folds.of(ids, "row"), folds.of(ids, "col")], axis=1)
    b = np.stack([folds.of(others, "row"), folds.of(others, "col")], axis=1)
    return int(np.abs(a[:, None] - b[None]).max(axis=2).min())


def test_official_places_by_hand() -> None:
    scene, row, col = official_places([1, 41, 42, 3034, 3035, 3050, 3184, 3185, 3306, 3799, 3800])
    assert scene.tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 4, 4, -1]
    assert row.tolist() == [0, 0, 1, 73, 0, 1, 9, 0, 0, 18, -1]
    assert col.tolist() == [0, 40, 0, 40, 0, 0, 14, 0, 0, 25, -1]
    for known in OFFICIAL_SCENES:  # whole rows, and no id between scenes
        assert (known.last - known.first + 1) % known.columns == 0
    # The pairs that are known to adjoin on real tiles.
    _, r, c = official_places([1, 2, 27, 28, 4, 45])
    assert (r[1] - r[0], c[1] - c[0]) == (r[3] - r[2], c[3] - c[2]) == (0, 1)
    assert (r[5] - r[4], c[5] - c[4]) == (1, 0)


def test_a_row_does_not_touch_the_next_rows_other_end() -> None:
    grid = full_grid(3, 41)
    touched = grid.patch[grid.touching(grid.patch == 41)]
    assert set(touched.tolist()) == {40, 81, 82}


@pytest.mark.parametrize(("rows", "cols", "cut"), [(10, 8, True), (8, 10, True), (5, 4, False)])
def test_a_block_does_not_swallow_a_scene_that_can_be_cut(rows: int, cols: int, cut: bool) -> None:
    """Else a fold asks about a scene never seen, where another part of a known one is meant."""
    large, small = full_grid(28, 28), full_grid(rows, cols)
    both = Grid(
        "manifest",
        np.concatenate([large.patch, 1000 + small.patch]),
        np.concatenate([large.scene, 1 + small.scene]),
        np.concatenate([large.row, small.row]),
        np.concatenate([large.col, small.col]),
    )
    folds = make(both, folds=5, block_tiles=14)
    of_small = folds.fold[folds.scene == 2]
    assert len(set(of_small.tolist())) == (2 if cut else 1)
    sizes = np.bincount(of_small)
    assert sizes[sizes > 0].min() >= rows * cols / 2 - max(rows, cols)
    assert len(set(folds.fold[folds.scene == 1].tolist())) >= 3


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(6, 20),
    cols=st.integers(6, 20),
    folds=st.integers(2, 6),
    block=st.integers(1, 6),
    missing=st.floats(0, 0.4),
    seed=st.integers(0, 99),
)
def test_laws_of_folds(
    rows: int, cols: int, folds: int, block: int, missing: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid = full_grid(rows, cols, rng.random(rows * cols) >= missing)
    pixels = rng.poisson(200, len(grid.patch)) * (rng.random(len(grid.patch)) < 0.6)
    try:
        f = make(grid, pixels, folds=folds, block_tiles=block, seed=seed)
    except DataError as error:
        assert "too few tiles" in str(error)
        return
    held = np.concatenate([f.held_ids(k) for k in range(folds)])
    assert sorted(held) == sorted(grid.patch)  # each tile is scored once
    for k in range(folds):
        train, own, buffer = f.train_ids(k), f.held_ids(k), f.buffer_ids(k)
        assert len(train) + len(own) + len(buffer) == len(grid.patch)
        assert distance(f, train, own) >= 2
        if len(buffer):
            near = np.abs(
                np.stack([f.of(buffer, "row"), f.of(buffer, "col")], 1)[:, None]
                - np.stack([f.of(own, "row"), f.of(own, "col")], 1)[None]
            ).max(axis=2)
            assert (near.min(axis=1) == 1).all()
        for ids in (train, own):
            assert f.of(ids, "landslide_pixels").sum() > 0
        f.check(k, train, dict(zip(f.patch.tolist(), f.content_hash.tolist(), strict=True)))


def test_folds_are_balanced_and_the_same_for_one_seed(rng: np.random.Generator) -> None:
    grid = full_grid(40, 40)
    pixels = rng.poisson(375, 1600) * (rng.random(1600) < 0.6)
    f = make(grid, pixels, folds=5, seed=3)
    share = np.array([pixels[f.fold == k].sum() for k in range(5)]) / pixels.sum()
    assert np.abs(share - 0.2).max() < 0.02
    assert f.block_tiles == 6
    np.testing.assert_array_equal(f.fold, make(grid, pixels, folds=5, seed=3).fold)
    # Blocks keep the buffer small: of isolated tiles nearly all would be beside a held one.
    assert min(len(f.train_ids(k)) for k in range(5)) > 0.6 * 1600


def test_holdout_columns_and_their_neighbours_fit_nothing() -> None:
    grid = full_grid(20, 30)
    f = make(grid, holdout=Holdout(scene=1, columns=(20, 24)), folds=3, block_tiles=4)
    assert set(f.col[f.role == "holdout"]) == set(range(20, 25))
    assert set(f.col[f.role == "guard"]) == {19, 25}
    assert (f.fold[f.role != "fit"] == -1).all()
    for k in range(3):
        assert distance(f, f.train_ids(k), f.holdout_ids) >= 2
    loose = make(
        grid,
        holdout=Holdout(scene=1, columns=(20, 24)),
        holdout_guard=False,
        folds=3,
        block_tiles=4,
    )
    assert "guard" not in loose.role
    assert len(np.unique(f.block[f.role == "holdout"])) > 8  # blocks for the interval


def test_holdout_rows_and_ids() -> None:
    grid = full_grid(12, 12)
    f = make(grid, holdout=Holdout(scene=1, rows=(0, 1), columns=(0, 2)), folds=2, block_tiles=3)
    assert f.holdout_ids.tolist() == [1, 2, 3, 13, 14, 15]
    f = make(grid, holdout=Holdout(ids=(5, 140)), folds=2, block_tiles=3)
    assert f.holdout_ids.tolist() == [5, 140]


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        (Holdout(ids=(5, 999)), "999"),
        (Holdout(scene=7), "scene 1: columns 0-11, rows 0-11"),
        (Holdout(scene=1, columns=(50, 60)), "columns 0-11"),
        (Holdout(), "names no tile"),
    ],
)
def test_a_holdout_that_is_not_there(holdout: Holdout, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(full_grid(12, 12), holdout=holdout)


def test_copies_go_together_and_copies_of_the_holdout_leave() -> None:
    grid = full_grid(18, 18)
    content = hashes(324)
    first, copy = 0, 323  # opposite corners
    content[copy] = content[first]
    f = make(grid, content_hash=content, folds=3, block_tiles=3)
    assert f.fold[first] == f.fold[copy]
    table = dict(zip(f.patch.tolist(), content.tolist(), strict=True))
    for k in range(3):
        f.check(k, f.train_ids(k), table)
    f = make(grid, content_hash=content, holdout=Holdout(ids=(1,)), folds=3, block_tiles=3)
    assert f.role[copy] == "guard"


def test_a_copy_of_a_tile_beside_a_held_one_leaves_training_too() -> None:
    grid = full_grid(18, 18)
    plain = make(grid, folds=2, block_tiles=6)
    beside = plain.buffer_ids(0)[0]
    far = plain.train_ids(0)[-1]
    content = hashes(324)
    content[far - 1] = content[beside - 1]
    f = make(grid, content_hash=content, folds=2, block_tiles=6)
    assert {int(beside), int(far)} <= set(f.buffer_ids(0).tolist())


def test_degenerate_tiles_fit_nothing() -> None:
    degenerate = np.zeros(144, bool)
    degenerate[[3, 77]] = True
    f = make(full_grid(12, 12), degenerate=degenerate, folds=2, block_tiles=3)
    assert f.patch[f.role == "degenerate"].tolist() == [4, 78]
    assert not set(f.fit_ids) & {4, 78}


def test_a_leak_is_caught_whatever_way_it_comes() -> None:
    f = make(full_grid(12, 12), holdout=Holdout(ids=(1,)), folds=2, block_tiles=3)
    table = {int(p): str(h) for p, h in zip(f.patch, f.content_hash, strict=True)}
    good = f.train_ids(0).tolist()
    f.check(0, good, table)
    for bad, why in (
        (f.held_ids(0)[0], "held"),
        (f.buffer_ids(0)[0], "buffer"),
        (1, "role holdout"),
        (2, "role guard"),
        (5000, "unknown"),
    ):
        with pytest.raises(LeakError, match=f"patch {bad}: {why}"):
            f.check(0, [*good, int(bad)], table)
    # A tile duplicated after the folds were made: the ids are right, the content is not.
    planted = table | {good[0]: table[int(f.held_ids(0)[0])]}
    with pytest.raises(LeakError, match=f"patch {good[0]} equals patch {f.held_ids(0)[0]}"):
        f.check(0, good, planted)


def test_blocks_shrink_with_a_word_until_they_suffice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "l4s_ensemble"):
        f = make(full_grid(8, 8), folds=4, block_tiles=6)
    assert 1 <= f.block_tiles < 6
    assert "blocks of 6 tiles are too few for 4 folds" in caplog.text


def test_too_few_tiles_is_a_clear_error() -> None:
    with pytest.raises(DataError, match=r"(?s)4 tiles to fit, 4 with a landslide.*scenes\.folds"):
        make(full_grid(2, 2), folds=2)
    pixels = np.zeros(144, np.int64)
    pixels[5] = 10
    with pytest.raises(DataError, match="144 tiles to fit, 1 with a landslide"):
        make(full_grid(12, 12), pixels, folds=3)
    with pytest.raises(DataError, match="no tile left"):
        make(full_grid(12, 12), np.zeros(144, np.int64), folds=3)


def test_without_places_runs_of_ids_are_blocks(
    tiny_dataset: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "l4s_ensemble"):
        grid = grid_of(tiny_dataset, L4S, "none")
    assert "may leak" in caplog.text
    f = make(grid, folds=3, block_tiles=2, holdout=Holdout(ids=(12,)))
    assert (f.scene == -1).all() and f.role[10] == "guard"
    assert f.patch[f.fold == f.fold[0]].tolist() == [1, 2, 3, 4]
    assert f.buffer_ids(int(f.fold[0])).tolist() == [5]
    with pytest.raises(ConfigError, match="not known"):
        make(grid, holdout=Holdout(scene=1, columns=(0, 3)))


def test_where_places_come_from(tiny_dataset: xr.Dataset) -> None:
    assert grid_of(tiny_dataset, L4S).name == "official"
    unknown = tiny_dataset.assign_attrs(split="valid")
    assert grid_of(unknown, L4S).name == "none"
    high = tiny_dataset.assign_coords(patch=np.arange(3790, 3802))
    assert grid_of(high, L4S).name == "none"
    with pytest.raises(DataError, match=r"(?s)3800, 3801.*scenes\.grid=none"):
        grid_of(high, L4S, "official")
    placed = tiny_dataset.assign_coords(
        scene=("patch", np.full(12, 5)),
        row=("patch", np.arange(12) // 4),
        col=("patch", np.arange(12) % 4),
    )
    grid = grid_of(placed, L4S)
    assert grid.name == "manifest" and grid.row.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    half = placed.assign_coords(scene=("patch", np.where(np.arange(12) < 6, 5, -1)))
    with pytest.raises(DataError, match="6 of 12 tiles have no place"):
        grid_of(half, L4S)


def context(run: Path, dataset: Path, settings_: Config, **params: object) -> StageContext:
    """A context as the executor makes one, with the store as an earlier stage."""
    data = run / "data/train"
    if not data.exists():
        data.mkdir(parents=True)
        (data / "patches.zarr").symlink_to(dataset)
        write_json(data / "manifest.json", {})
    out = run / "scenes"
    out.mkdir(exist_ok=True)
    return StageContext(run, out, settings_, params, ("data/train", "scenes"))


def test_the_stage_writes_what_is_read_back(_tiny_store: Path, tmp_path: Path) -> None:
    chosen = config.load("default", ["scenes.folds=3", "data.holdout.ids=[12]"])
    ctx = context(tmp_path, _tiny_store, chosen)
    summary = stage(ctx)
    write_json(ctx.out / "summary.json", summary)
    write_json(ctx.out / "manifest.json", {})
    assert summary["grid"] == "official" and summary["folds"] == 3
    assert summary["roles"] == {"fit": 10, "holdout": 1, "guard": 1, "degenerate": 0}
    assert sum(row["tiles"] for row in summary["per_fold"]) == 10
    assert [row["scene"] for row in summary["scenes"]] == [1]
    folds = load_folds(ctx.out)
    dataset = open_store(_tiny_store)
    np.testing.assert_array_equal(folds.patch, dataset["patch"].values)
    np.testing.assert_array_equal(folds.landslide_pixels, dataset["mask"].sum(("y", "x")))
    for k in range(3):
        folds.check(k, folds.train_ids(k), hashes_of(dataset))
    ask = {"data": "data/train", "holdout": True}
    assert patches_to_predict(context(tmp_path, _tiny_store, chosen, **ask))["patch"].values == [12]
    whole = patches_to_predict(context(tmp_path, _tiny_store, chosen, data="data/train"))
    assert whole.sizes["patch"] == 12


def test_a_run_without_holdout_or_with_a_damaged_table(_tiny_store: Path, tmp_path: Path) -> None:
    chosen = config.load("default", ["scenes.folds=3"])
    ctx = context(tmp_path, _tiny_store, chosen, data="data/train", holdout=True)
    stage(ctx)
    write_json(ctx.out / "manifest.json", {})
    with pytest.raises(RunError, match="no holdout tiles"):
        patches_to_predict(ctx)
    (ctx.out / "patches.csv").write_text("patch,scene\n1,1\n")
    with pytest.raises(RunError, match="damaged"):
        load_folds(ctx.out)


def test_the_standard_comparison_on_real_ids(real_data: Path) -> None:
    files = find_patches(real_data / "l4s-rgb", "train", load_sensor("l4s-rgb"))
    patch = np.array([file.id for file in files])
    chosen = config.load("l4s-rgb")
    f = make_folds(
        Grid("official", patch, *official_places(patch)),
        np.full(len(patch), 300),
        hashes(len(patch)),
        np.zeros(len(patch), bool),
        chosen.scenes,
        holdout=chosen.data.holdout,
    )
    roles, tiles = np.unique(f.role, return_counts=True)
    assert dict(zip(roles.tolist(), tiles.tolist(), strict=True)) == {"fit": 1306, "holdout": 301}
    assert min(len(f.train_ids(k)) for k in range(f.n_folds)) > 800
