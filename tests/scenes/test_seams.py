"""The seam solver: what it places is right, and what is doubtful it leaves alone."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scenes_world import SPECTRAL, make_scene, places

from l4s_ensemble.data.patches import write_patch
from l4s_ensemble.data.sensor import L4S, load_sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes import evidence
from l4s_ensemble.scenes.evidence import _scale, weigh
from l4s_ensemble.scenes.layout import Layout, layout_of
from l4s_ensemble.scenes.neighbourhood import harmonise, seam_steps
from l4s_ensemble.scenes.seams import solve, survey


def wrong(layout: Layout, reference: NDArray[Any]) -> int:
    """Tiles that lie otherwise, relative to most of their scene, than in reference."""
    bad = 0
    for scene in np.unique(layout.scene[layout.placed]):
        here = layout.scene == scene
        at = np.column_stack([0 * layout.row, layout.row, layout.col])
        off = np.unique(reference[here] - at[here], axis=0, return_counts=True)[1]
        bad += int(here.sum() - off.max())
    return bad


def neighbours(layout: Layout, names: NDArray[Any]) -> set[tuple[str, int, int]]:
    """All seams of a layout by the names of their tiles: says it all but for labels."""
    pairs = ((axis, layout.pairs(axis)) for axis in ("x", "y"))
    return {(axis, int(names[a]), int(names[b])) for axis, found in pairs for a, b in found}


@pytest.fixture(scope="module")
def two_scenes() -> tuple[NDArray[np.uint16], NDArray[Any]]:
    images = np.concatenate([make_scene(8, 9, 1), make_scene(6, 5, 2)])
    return images, places((8, 9), (6, 5))


@pytest.mark.parametrize("relative", [False, True])
def test_shuffled_scenes_with_a_third_missing(two_scenes: Any, relative: bool) -> None:
    images, reference = two_scenes
    rng = np.random.default_rng(3)
    order = rng.permutation(len(images))[: 2 * len(images) // 3]
    given = images[order]
    if relative:
        gain = np.exp(rng.normal(0, 0.3, len(order)))
        given = np.rint(given[:, :3] * gain[:, None, None, None]).astype(np.uint16)
    layout = solve(given, spectral=None if relative else SPECTRAL, relative=relative)
    assert layout.placed.mean() >= 0.95
    assert wrong(layout, reference[order]) == 0
    for scene in np.unique(layout.scene[layout.placed]):
        assert len(np.unique(reference[order][layout.scene == scene, 0])) == 1


def test_whole_scenes_are_found_whole_and_the_larger_comes_first(two_scenes: Any) -> None:
    images, reference = two_scenes
    order = np.random.default_rng(4).permutation(len(images))
    layout = solve(images[order], ids=order, spectral=SPECTRAL)
    np.testing.assert_array_equal(
        np.stack([layout.scene, layout.row, layout.col], 1), reference[order]
    )
    np.testing.assert_array_equal(layout.patch, order)


def test_order_of_tiles_does_not_matter(two_scenes: Any) -> None:
    images, _ = two_scenes
    rng = np.random.default_rng(5)
    kept = rng.permutation(len(images))[:60]
    results = []
    for _ in range(3):
        order = rng.permutation(kept)
        results.append(neighbours(solve(images[order], spectral=SPECTRAL), order))
    assert results[0] == results[1] == results[2]
    assert len(results[0]) > 30


def test_foreign_constant_and_equal_tiles_get_no_place(two_scenes: Any) -> None:
    images, _ = two_scenes
    foreign = make_scene(3, 3, 9)[4:5]
    flat = np.full((2, *images.shape[1:]), 700, np.uint16)
    empty = np.zeros((1, *images.shape[1:]), np.uint16)
    given = np.concatenate([images, foreign, flat, empty, images[20:21]])
    layout = solve(given, spectral=SPECTRAL)
    n = len(images)
    assert not layout.placed[n:].any()
    assert not layout.placed[20]
    others = np.delete(np.arange(n), 20)
    assert layout.placed[others].all()
    alone = neighbours(solve(images[others], spectral=SPECTRAL), others)
    assert neighbours(layout, np.arange(len(given))) == alone


def test_a_set_of_strangers_is_left_alone() -> None:
    images = np.concatenate([make_scene(3, 3, seed)[4:5] for seed in range(20, 45)])
    assert not solve(images, spectral=SPECTRAL).placed.any()


def without_elevation(images: NDArray[Any]) -> NDArray[Any]:
    images[::7, 3] = 0
    return images


def empty_column(images: NDArray[Any]) -> NDArray[Any]:
    """Edges without data must not match each other by that."""
    images[[*range(0, 72, 9), *range(72, 102, 5)], :, :, 0] = 0
    return images


def real_numbers(images: NDArray[Any]) -> NDArray[Any]:
    images = images.astype(np.float32)
    images[:, :3] /= 10_000
    images[5, 0, 3, 3] = np.nan
    return images


@pytest.mark.parametrize("change", [without_elevation, empty_column, real_numbers])
def test_tiles_are_placed_by_what_they_hold(two_scenes: Any, change: Any) -> None:
    images, reference = two_scenes
    layout = solve(change(images.copy()), spectral=SPECTRAL)
    assert layout.placed.mean() > 0.95
    assert wrong(layout, reference) == 0


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_tiles(n: int) -> None:
    images = make_scene(2, 3, 15)[:n]
    layout = solve(images, spectral=SPECTRAL)
    assert len(layout) == n
    assert wrong(layout, places((1, 3))[:n]) == 0


def test_input_that_does_not_fit_is_refused(two_scenes: Any) -> None:
    images, _ = two_scenes
    for given in (images[0], images[..., :4]):
        with pytest.raises(DataError, match="shape"):
            solve(given)


@pytest.mark.parametrize("damage", [None, 5])
def test_files_of_unknown_gain_are_surveyed_and_damage_does_not_stop_it(
    tmp_path: Path, damage: int | None
) -> None:
    sensor, rows, cols, side = load_sensor("l4s-rgb"), 3, 3, 128
    for n, tile in enumerate(make_scene(rows, cols, 3, side)[:, :3], start=1):
        path = tmp_path / f"TestData/img/image_{n}.h5"
        stored = np.floor(np.moveaxis(tile / tile.max() * 255, 0, -1)).astype(np.uint8)
        write_patch(path, stored, sensor)
        if n == damage:
            path.write_bytes(b"no")
    found = survey(tmp_path, "test", sensor)
    known = rows * cols - (damage is not None)
    assert (found["tiles"], found["placed"]) == (rows * cols, known)
    assert found["scenes"] == [{"scene": 1, "tiles": known, "rows": rows, "cols": cols}]
    json.dumps(found, allow_nan=False)


def test_harmonise_finds_the_gains(two_scenes: Any) -> None:
    images, reference = two_scenes
    rng = np.random.default_rng(9)
    gain = rng.normal(0, 0.2, len(images))
    given = np.rint(images[:, :3] * np.exp(gain)[:, None, None, None]).astype(np.uint16)
    layout = layout_of(np.arange(len(images)), *reference.T)
    found = harmonise(given, layout)
    for scene in (1, 2):
        here = reference[:, 0] == scene
        assert abs(found[here].mean()) < 1e-9
        assert np.abs(found[here] + gain[here] - gain[here].mean()).max() < 0.03
    steps = seam_steps(given, layout)
    assert np.median(np.abs(steps.after(found))) < 0.1 * np.median(np.abs(steps.log_ratio))
    assert harmonise(given[:1], layout_of([1], [1], [0], [0])).tolist() == [0.0]


def test_candidates_are_the_pairs_of_positive_odds(
    two_scenes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against all pairs at once; blocks of any size give the same."""
    images, _ = two_scenes
    images = np.concatenate([images, np.full((2, *images.shape[1:]), 700, np.uint16)])
    odds = weigh(images, SPECTRAL, relative=False)
    n = len(images)
    for seams in (odds.right, odds.below):
        score = (seams.last @ seams.first.T - seams.zero) / seams.unit
        score[~seams.speaks_last] = score[:, ~seams.speaks_first] = 0
        pairs = np.indices((n, n)).reshape(2, -1)
        dense = score.clip(-12, 12).ravel()
        np.testing.assert_allclose(seams.odds(*pairs), dense, atol=1e-3)
        np.fill_diagonal(score, -1)
        whole = seams.candidates().toarray()
        assert (whole == (score > 0)).all()
        assert whole.sum() > n / 2
        with monkeypatch.context() as small:
            small.setattr(evidence, "AT_ONCE", 5 * n)
            assert (seams.candidates().toarray() == whole).all()
            np.testing.assert_allclose(seams.odds(*pairs), dense, atol=1e-3)
            small.setattr(evidence, "MOST", 1)
            few = seams.candidates().toarray()
            assert (few.sum(1) == whole.any(1)).all()
            assert (score[few > 0] == score.max(1)[whole.any(1)]).all()


def test_memory_does_not_grow_with_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 tiles have 9 million pairs: 36 MB for every table of them, and there were nine."""
    n, edge = 3000, 8
    images = np.random.default_rng(2).integers(100, 4000, (n, 1, edge, edge)).astype(np.uint16)
    monkeypatch.setattr(evidence, "AT_ONCE", 400_000)
    tracemalloc.start()
    solve(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36e6


def test_scale_of_odds_follows_the_harder_of_chance_and_truth() -> None:
    rng = np.random.default_rng(0)
    near = rng.gumbel(0, 10, 2000).astype(np.float32)
    known = rng.normal(100, 20, 2000).astype(np.float32)
    zero, unit = _scale(near, known)
    assert zero == pytest.approx(10 * np.log(1000), rel=0.15)
    assert unit == pytest.approx(10, rel=0.2)
    zero, unit = _scale(near - 5000, known)
    assert zero == 0
    assert unit == pytest.approx(10, rel=0.05)


def _official(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    first, width = np.array([1, 3035]), np.array([41, 15])
    scene = (ids >= 3035).astype(int)
    return np.column_stack([scene, *np.divmod(ids - first[scene], width[scene])])


def _read(
    folder: Path, wanted: Callable[[int], bool] = lambda i: True
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    found = {int(p.stem[6:]): p for p in (folder / "TrainData" / "img").glob("image_*.h5")}
    paths = {i: p for i, p in found.items() if wanted(i)}
    images = []
    for i in sorted(paths):
        with h5py.File(paths[i]) as file:
            images.append(file["img"][()].transpose(2, 0, 1))
    return np.stack(images), np.array(sorted(paths))


def test_real_neighbours_of_14_bands(real_data: Path) -> None:
    stored, ids = _read(real_data / "l4s-14band")
    counts = np.rint(stored * L4S.stored_to_count[:, None, None]).astype(np.uint16)
    spectral = [b in L4S.spectral for b in L4S.band_names]
    order = np.random.default_rng(1).permutation(len(ids))
    layout = solve(counts[order], spectral=spectral)
    expected = {("x", 1, 2), ("x", 2, 3), ("x", 3, 4), ("x", 27, 28), ("y", 4, 45)}
    assert neighbours(layout, ids[order]) == expected
    assert layout.placed.sum() == 7


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_real_true_colour(real_data: Path, whole: bool) -> None:
    images, ids = _read(real_data / "l4s-rgb", lambda i: whole or 1640 < i <= 2050 or i >= 3035)
    reference = _official(ids)
    order = np.random.default_rng(2).permutation(len(ids))
    started = time.monotonic()
    found = solve(images[order], relative=True)
    assert time.monotonic() - started < 60
    assert found.placed.mean() >= 0.97
    assert wrong(found, reference[order]) == 0
    if not whole:
        return
    steps = seam_steps(images[order], found)
    left = np.abs(steps.after(harmonise(images[order], found)))
    assert np.exp(np.median(np.abs(steps.log_ratio))) > 1.1
    assert np.exp(np.median(left)) < 1.01
