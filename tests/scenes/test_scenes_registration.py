"""Shifts of masks: planted ones are found, noise gives none, training masks move only when sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from l4s_ensemble.data.patches import find_patches, open_patches
from l4s_ensemble.data.sensor import Sensor, SensorBand, load_sensor
from l4s_ensemble.errors import RunError
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.grid import official_places
from l4s_ensemble.scenes.registration import (
    SceneShift,
    align,
    estimate,
    load_shifts,
    save_shifts,
    training_masks,
)

EDGE = 64
SENSOR = Sensor(name="two", bands=(SensorBand(name="B3"), SensorBand(name="B4")), patch_pixels=EDGE)


def made_up(
    rng: np.random.Generator, tiles: int = 24, contrast: float = 0.4, scenes: int = 1
) -> xr.Dataset:
    """Tiles with blobs that are redder by `contrast` (in logarithms) under noise and trends."""
    y, x = np.mgrid[:EDGE, :EDGE]
    masks = np.zeros((tiles, EDGE, EDGE), np.uint8)
    image = np.empty((tiles, 2, EDGE, EDGE))
    for n in range(tiles):
        for cy, cx in rng.integers(12, EDGE - 12, (4, 2)):
            a, b = rng.uniform(3, 8, 2)
            masks[n] |= ((y - cy) ** 2 / a**2 + (x - cx) ** 2 / b**2 < 1).astype(np.uint8)
        ground = ndimage.gaussian_filter(rng.normal(size=(EDGE, EDGE)), 6) * 4 + 0.01 * x
        for band in (0, 1):
            noise = rng.normal(0, 0.15, (EDGE, EDGE))
            image[n, band] = 900 * np.exp(ground + noise + band * contrast * masks[n])
    return xr.Dataset(
        {
            "image": (("patch", "band", "y", "x"), image.clip(1, 60000).astype(np.uint16)),
            "mask": (("patch", "y", "x"), masks),
        },
        coords={
            "patch": np.arange(1, tiles + 1),
            "band": ["B3", "B4"],
            "scene": ("patch", np.repeat(np.arange(1, scenes + 1), tiles // scenes)),
        },
        attrs={"sensor": SENSOR.model_dump_json()},
    )


def folds_of(dataset: xr.Dataset, block: np.ndarray | None = None, role: str = "fit") -> Folds:
    n = dataset.sizes["patch"]
    pixels = dataset["mask"].sum(("y", "x")).values.astype(np.int64)
    zero = np.zeros(n, np.int32)
    return Folds(
        dataset["patch"].values, dataset["scene"].values.astype(np.int32), zero, zero,
        np.full(n, role), zero, np.arange(n, dtype=np.int32) if block is None else block, pixels,
        np.arange(n).astype(str), 2, "manifest", 1,
    )  # fmt: skip


def move_masks(dataset: xr.Dataset, dy: int, dx: int) -> xr.Dataset:
    return dataset.assign(mask=dataset["mask"].copy(data=align(dataset["mask"].values, dy, dx)))


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-2, 1), (0, -2)])
def test_a_planted_shift_is_found_with_confidence(rng, shift):
    dataset = move_masks(made_up(rng), *shift)
    (found,) = estimate(dataset, folds_of(dataset))
    # Masks that were moved down have to move up again.
    assert (found.dy, found.dx) == (-shift[0], -shift[1])
    assert found.is_sure and found.confidence > 0.95 and found.tiles == 24
    assert abs(found.dy_px - found.dy) < 0.5 and abs(found.dx_px - found.dx) < 0.5
    curve = np.array(found.curve)
    assert curve.shape == (7, 7)
    assert np.unravel_index(curve.argmax(), (7, 7)) == (found.dy + 3, found.dx + 3)


def test_darker_landslides_are_found_too(rng):
    dataset = move_masks(made_up(rng, contrast=-0.4), 1, 1)
    (found,) = estimate(dataset, folds_of(dataset))
    assert (found.dy, found.dx, found.is_sure) == (-1, -1, True)


def test_scenes_are_told_apart(rng):
    dataset = made_up(rng, tiles=32, scenes=2)
    second = dataset["scene"].values == 2
    masks = dataset["mask"].values.copy()
    masks[second] = align(masks[second], 0, 1)
    dataset = dataset.assign(mask=dataset["mask"].copy(data=masks))
    one, two = estimate(dataset, folds_of(dataset))
    assert (one.scene, one.dy, one.dx) == (1, 0, 0)
    assert (two.scene, two.dy, two.dx) == (2, 0, -1)


@pytest.mark.parametrize("seed", range(6))
def test_noise_gives_no_confidence(seed):
    dataset = made_up(np.random.default_rng([seed, 5]), contrast=0.0)
    (found,) = estimate(dataset, folds_of(dataset))
    assert not found.is_sure and found.confidence < 0.8


def test_too_few_tiles_and_a_shift_out_of_reach_give_none(rng):
    few = made_up(rng, tiles=3)
    (found,) = estimate(few, folds_of(few))
    assert (found.dy, found.dx, found.confidence, found.curve) == (0, 0, 0.0, None)
    far = move_masks(made_up(rng), 5, 0)
    (found,) = estimate(far, folds_of(far))
    assert found.confidence == 0


def test_tiles_set_aside_are_not_looked_at(rng):
    dataset = made_up(rng)
    (found,) = estimate(dataset, folds_of(dataset, role="holdout"))
    assert found.tiles == 0 and found.confidence == 0


def test_the_estimate_is_the_same_for_one_seed(rng):
    dataset = made_up(rng, contrast=0.1)
    folds = folds_of(dataset, block=np.arange(24, dtype=np.int32) // 3)
    assert estimate(dataset, folds, seed=4) == estimate(dataset, folds, seed=4)


@pytest.mark.parametrize("name", ["logit", "probability"])
def test_out_of_fold_scores_tell_the_shift_by_f1(rng, name):
    dataset = made_up(rng)
    truth = dataset["mask"].values
    logit = ndimage.gaussian_filter(6.0 * truth - 3, (0, 1, 1)) + rng.normal(0, 1, truth.shape)
    values = logit if name == "logit" else 1 / (1 + np.exp(-logit))
    scores = xr.Dataset(
        {name: (("patch", "y", "x"), values[::-1])}, coords={"patch": dataset["patch"].values[::-1]}
    )
    moved = move_masks(dataset, -1, 0)
    (found,) = estimate(moved, folds_of(moved), scores=scores)
    assert (found.dy, found.dx, found.source, found.is_sure) == (1, 0, "scores", True)
    curve = np.array(found.curve)
    assert curve.max() - curve[3, 3] > 0.02 and curve.max() <= 1
    (again,) = estimate(moved, folds_of(moved), scores=scores, threshold=float(np.median(values)))
    assert (again.dy, again.dx) == (1, 0) and np.max(again.curve) < curve.max()


@settings(max_examples=30, deadline=None)
@given(dy=st.integers(-3, 3), dx=st.integers(-3, 3), seed=st.integers(0, 9))
def test_laws_of_moving_a_mask(dy: int, dx: int, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((2, 9, 11)) < 0.3).astype(np.uint8)
    moved = align(mask, dy, dx)
    assert moved.dtype == np.uint8 and moved.shape == mask.shape
    back = align(moved, -dy, -dx)
    inside = (slice(None), slice(3, -3), slice(3, -3))
    np.testing.assert_array_equal(back[inside], mask[inside])
    np.testing.assert_array_equal(moved[inside], np.roll(mask, (dy, dx), (1, 2))[inside])
    np.testing.assert_array_equal(align(np.ones_like(mask), dy, dx), np.ones_like(mask))


def test_training_masks_move_only_where_the_shift_is_sure(rng):
    dataset = made_up(rng, tiles=16, scenes=2)
    folds = folds_of(dataset)
    ids = [9, 2, 1]
    own = dataset["mask"].sel(patch=ids).values

    def shift(scene: int, confidence: float) -> SceneShift:
        return SceneShift(scene, 1, -1, 1.0, -1.0, confidence, 9, "pixels", None)

    np.testing.assert_array_equal(training_masks(dataset, folds, ids), own)
    np.testing.assert_array_equal(training_masks(dataset, folds, ids, [shift(1, 0.9)]), own)
    found = training_masks(dataset, folds, ids, [shift(1, 0.99), shift(2, 0.2)])
    np.testing.assert_array_equal(found[0], own[0])
    np.testing.assert_array_equal(found[1:], align(own[1:], 1, -1))


def test_shifts_are_saved_and_read(tmp_path: Path, rng):
    dataset = made_up(rng, tiles=8)
    shifts = estimate(dataset, folds_of(dataset))
    save_shifts(tmp_path, shifts)
    assert load_shifts(tmp_path) == shifts
    with pytest.raises(RunError, match="missing"):
        load_shifts(tmp_path / "nowhere")


def test_real_masks_lie_on_their_image_and_a_shift_of_them_is_seen(real_data: Path) -> None:
    sensor = load_sensor("l4s-rgb")
    ids = [f.id for f in find_patches(real_data / "l4s-rgb", "train", sensor) if f.id >= 3035][:40]
    dataset = open_patches(real_data / "l4s-rgb", "train", sensor, ids=ids)
    dataset = dataset.assign_coords(scene=("patch", official_places(ids)[0]))
    for dy, dx in ((0, 0), (-1, 2)):
        moved = move_masks(dataset, dy, dx)
        (found,) = estimate(moved, folds_of(moved))
        assert (found.dy, found.dx, found.is_sure) == (-dy, -dx, True)
