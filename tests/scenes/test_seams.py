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
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes import evidence
from l4s_ensemble.scenes.evidence import _scale, weigh
from l4s_ensemble.scenes.harmonise import harmonise, seam_steps
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.seams import solve, solve_dataset

SIDE = 48
SPECTRAL = np.array([True, True, True, False])


def make_scene(rows: int, cols: int, seed: int, noise: float = 12.0) -> NDArray[np.uint16]:
    """Tiles (rows * cols, 4, y, x) in raster order: three spectral bands and elevation."""
    rng = np.random.default_rng([seed, 3])
    shape = (rows * SIDE, cols * SIDE)

    def field(*scales: float) -> Any:
        parts = [gaussian_filter(rng.standard_normal(shape), s) * s for s in scales]
        return sum(parts) / np.std(sum(parts))

    shared = field(2, 6, 20)
    bands = [900 * np.exp(0.3 * shared + 0.2 * field(1.5, 5)) for _ in range(3)]
    bands = [b + noise * rng.standard_normal(shape) for b in bands]
    bands.append(1000 + 200 * field(8, 30))
    tiles = np.stack(bands).clip(1).reshape(4, rows, SIDE, cols, SIDE)
    return np.rint(tiles).astype(np.uint16).transpose(1, 3, 0, 2, 4).reshape(-1, 4, SIDE, SIDE)


def grid(*sizes: tuple[int, int]) -> NDArray[np.int64]:
    """Scene, row and column of the tiles of scenes in raster order."""
    return np.array([(s, r, c) for s, (rows, cols) in enumerate(sizes)
                     for r in range(rows) for c in range(cols)])  # fmt: skip


def wrong(placement: Placement, truth: NDArray[np.int64]) -> int:
    """Tiles that lie otherwise, relative to most of their scene, than in truth."""
    bad = 0
    for scene in np.unique(placement.scene[placement.placed]):
        here = placement.scene == scene
        at = np.column_stack([0 * placement.row, placement.row, placement.col])
        bad += int(
            here.sum() - np.unique(truth[here] - at[here], axis=0, return_counts=True)[1].max()
        )
    return bad


def neighbours(placement: Placement, names: NDArray[Any]) -> set[tuple[str, int, int]]:
    """All seams of a placement by the names of their tiles: says it all but for labels."""
    return {(axis, int(names[a]), int(names[b]))
            for axis in ("x", "y") for a, b in placement.pairs(axis)}  # fmt: skip


@pytest.fixture(scope="module")
def two_scenes() -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    images = np.concatenate([make_scene(8, 9, 1), make_scene(6, 5, 2)])
    return images, grid((8, 9), (6, 5))


@pytest.mark.parametrize("relative", [False, True])
def test_shuffled_scenes_with_a_third_missing(two_scenes: Any, relative: bool) -> None:
    images, truth = two_scenes
    rng = np.random.default_rng(3)
    order = rng.permutation(len(images))[: 2 * len(images) // 3]
    given = images[order]
    if relative:
        gain = np.exp(rng.normal(0, 0.3, len(order)))
        given = np.rint(given[:, :3] * gain[:, None, None, None]).astype(np.uint16)
    placement = solve(given, spectral=None if relative else SPECTRAL, relative=relative)
    assert placement.placed.mean() >= 0.95
    assert wrong(placement, truth[order]) == 0
    for scene in np.unique(placement.scene[placement.placed]):
        assert len(np.unique(truth[order][placement.scene == scene, 0])) == 1
    assert (placement.confidence[placement.placed] > 0.9).all()
    assert (placement.confidence[~placement.placed] == 0).all()


def test_whole_scenes_are_found_whole_and_the_larger_comes_first(two_scenes: Any) -> None:
    images, truth = two_scenes
    order = np.random.default_rng(4).permutation(len(images))
    placement = solve(images[order], spectral=SPECTRAL)
    assert (placement.scene == truth[order, 0] + 1).all()
    assert (placement.row == truth[order, 1]).all()
    assert (placement.col == truth[order, 2]).all()
    assert placement.summary()["scenes"] == [
        {"scene": 1, "tiles": 72, "rows": 8, "cols": 9},
        {"scene": 2, "tiles": 30, "rows": 6, "cols": 5},
    ]
    json.dumps(placement.summary(), allow_nan=False)


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
    placement = solve(given, spectral=SPECTRAL)
    n = len(images)
    assert not placement.placed[n:].any()
    assert not placement.placed[20]
    others = np.delete(np.arange(n), 20)
    assert placement.placed[others].all()
    kept = np.delete(np.arange(len(given)), np.r_[20, n : len(given)])
    alone = neighbours(solve(images[others], spectral=SPECTRAL), kept)
    assert neighbours(placement, np.arange(len(given))) == alone


def test_a_set_of_strangers_is_left_alone() -> None:
    images = np.concatenate([make_scene(3, 3, seed)[4:5] for seed in range(20, 45)])
    placement = solve(images, spectral=SPECTRAL)
    assert not placement.placed.any()
    assert placement.summary() == {
        "tiles": 25, "placed": 0, "confidence_min": None, "scenes": []
    }  # fmt: skip


def test_tiles_without_elevation_are_placed_by_light(two_scenes: Any) -> None:
    images, truth = two_scenes
    given = images.copy()
    given[::7, 3] = 0
    placement = solve(given, spectral=SPECTRAL)
    assert placement.placed.mean() > 0.95
    assert wrong(placement, truth) == 0


def test_a_line_without_data_is_no_feature() -> None:
    """The first column of a scene is empty: its tiles must not match each other by that."""
    images = make_scene(6, 5, 2)
    images[::5, :, :, 0] = 0
    placement = solve(images, spectral=SPECTRAL)
    assert wrong(placement, grid((6, 5))) == 0
    assert placement.placed.all()


def test_real_numbers_do_as_well_as_counts(two_scenes: Any) -> None:
    images, truth = two_scenes
    given = images.astype(np.float32)
    given[:, :3] /= 10_000
    given[5, 0, 3, 3] = np.nan
    placement = solve(given, spectral=SPECTRAL)
    assert placement.placed.all()
    assert wrong(placement, truth) == 0


def test_a_dataset_is_read_as_its_sensor_says() -> None:
    scene = make_scene(4, 5, 12)
    images = np.repeat(scene[:, :1], 14, axis=1)
    images[:, 2:12] = scene[:, 1:2]
    images[:, 12:] = scene[:, 3:]
    patches = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), images)},
        coords={"patch": np.arange(1, 21), "band": list(L4S.band_names)},
        attrs={"sensor": L4S.model_dump_json()},
    )
    placement = solve_dataset(patches)
    assert placement.placed.all()
    assert wrong(placement, grid((4, 5))) == 0
    assert placement.ids.tolist() == list(range(1, 21))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_tiles(n: int) -> None:
    images = make_scene(2, 3, 15)[:n]
    placement = solve(images, spectral=SPECTRAL)
    assert len(placement) == n
    assert wrong(placement, grid((1, 3))[:n]) == 0


def test_input_that_does_not_fit_is_refused(two_scenes: Any) -> None:
    images, _ = two_scenes
    with pytest.raises(DataError, match="shape"):
        solve(images[0])
    with pytest.raises(DataError, match="shape"):
        solve(images[..., :4])
    with pytest.raises(DataError, match="none twice"):
        solve(images, ids=np.zeros(len(images), int))
    with pytest.raises(DataError, match="flag"):
        solve(images, spectral=[True])


def test_harmonise_finds_the_gains(two_scenes: Any) -> None:
    images, truth = two_scenes
    rng = np.random.default_rng(9)
    gain = rng.normal(0, 0.2, len(images))
    given = np.rint(images[:, :3] * np.exp(gain)[:, None, None, None]).astype(np.uint16)
    place = Placement.known(np.arange(len(images)), truth[:, 0] + 1, *truth.T[1:])
    found = harmonise(given, place)
    for scene in (0, 1):
        here = truth[:, 0] == scene
        assert abs(found[here].mean()) < 1e-9
        assert np.abs(found[here] + gain[here] - gain[here].mean()).max() < 0.03
    steps = seam_steps(given, place)
    assert np.median(np.abs(steps.after(found))) < 0.1 * np.median(np.abs(steps.log_ratio))
    lone = Placement.known([1], [1], [0], [0])
    assert harmonise(given[:1], lone).tolist() == [0.0]


def test_two_tiles_in_one_place_are_refused() -> None:
    with pytest.raises(DataError, match="one place"):
        Placement.known([7, 8, 9], [1, 1, -1], [0, 0, -1], [3, 3, -1])


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
    placement = solve(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(placement) == n
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
    placement = solve(counts[order], spectral=spectral)
    expected = {("x", 1, 2), ("x", 2, 3), ("x", 3, 4), ("x", 27, 28), ("y", 4, 45)}
    assert neighbours(placement, ids[order]) == expected
    assert placement.placed.sum() == 7


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_real_true_colour(real_data: Path, whole: bool) -> None:
    images, ids = _read(real_data / "l4s-rgb", lambda i: whole or 1640 < i <= 2050 or i >= 3035)
    truth = _official(ids)
    order = np.random.default_rng(2).permutation(len(ids))
    started = time.monotonic()
    found = solve(images[order], relative=True)
    assert time.monotonic() - started < 60
    assert found.placed.mean() >= 0.97
    assert wrong(found, truth[order]) == 0
    if not whole:
        return
    steps = seam_steps(images[order], found)
    left = np.abs(steps.after(harmonise(images[order], found)))
    assert np.exp(np.median(np.abs(steps.log_ratio))) > 1.1
    assert np.exp(np.median(left)) < 1.01
