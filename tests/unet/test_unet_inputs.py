"""Counts to inputs, augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import SENSOR, made_up

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import units
from l4s_ensemble.errors import DataError, ModelError
from l4s_ensemble.unet import augment
from l4s_ensemble.unet.inputs import Normalisation, load

EVERY = torch.arange(16)


def relative(ds: xr.Dataset) -> xr.Dataset:
    sensor = SENSOR.model_copy(update={"level": "relative"})
    return ds.assign_attrs(sensor=sensor.model_dump_json())


@pytest.mark.parametrize("level", ["absolute", "relative"])
def test_units_are_those_of_the_data_room(level: str) -> None:
    ds = made_up() if level == "absolute" else relative(made_up())
    tiles = load(ds)
    wanted = units(ds)
    wanted[:, 3] -= np.median(wanted[:, 3], axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(tiles.units(EVERY).numpy(), wanted, rtol=2e-6, atol=2e-3)


def test_large_counts_do_not_wrap() -> None:
    ds = made_up()
    ds["image"].values[0, 0] = 65535
    assert float(load(ds).units(torch.tensor([0]))[0, 0].max()) == 65535


def test_float_counts_stay() -> None:
    ds = made_up()
    ds["image"] = ds["image"].astype(np.float32) + np.float32(0.25)
    tiles = load(ds, masks=False)
    np.testing.assert_allclose(tiles.units(EVERY)[:, :3], units(ds)[:, :3], rtol=1e-5)


def test_some_positions_in_their_order() -> None:
    ds = made_up()
    tiles = load(ds, [5, 2])
    assert tiles.patch.tolist() == [6, 3]
    np.testing.assert_array_equal(tiles.mask, ds["mask"].values[[5, 2]])


def test_no_masks() -> None:
    with pytest.raises(DataError, match="no masks"):
        load(made_up().drop_vars("mask"))


def test_statistics_see_training_tiles_only() -> None:
    ds = made_up()
    train = np.arange(8)
    before = Normalisation.fit(load(ds), train)
    ds["image"].values[8:] = 60000
    ds["mask"].values[8:] = 1
    assert Normalisation.fit(load(ds), train) == before
    assert Normalisation.fit(load(ds), np.arange(16)) != before
    assert before.tiles == 8


def test_inputs_are_standardised_and_clipped() -> None:
    ds = made_up()
    ds["image"].values[0, 2, 0, 0] = 65535  # one wild pixel of B10
    tiles = load(ds)
    x = Normalisation.fit(tiles, np.arange(16)).apply(tiles.units(EVERY))
    assert torch.isfinite(x).all()
    assert float(x.abs().max()) < 8
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(4), atol=0.15)
    assert torch.allclose(x.std((0, 2, 3)), torch.ones(4), atol=0.15)


def test_elevation_is_relief() -> None:
    """A tile moved up a mountain looks the same."""
    ds = made_up()
    tiles = load(ds)
    normalisation = Normalisation.fit(tiles, np.arange(16))
    ds["image"].values[:, 3] += 3000
    moved = load(ds)
    before, after = (normalisation.apply(t.units(EVERY)) for t in (tiles, moved))
    assert torch.equal(before, after)


def test_a_constant_band_is_zero() -> None:
    ds = made_up()
    ds["image"].values[:, 2] = 7
    tiles = load(ds)
    x = Normalisation.fit(tiles, np.arange(16)).apply(tiles.units(EVERY))
    assert float(x[:, 2].abs().max()) == 0


def test_normalisation_survives_json_and_refuses_other_bands() -> None:
    tiles = load(made_up())
    kept = Normalisation.fit(tiles, [0, 1])
    assert Normalisation.from_dict(kept.as_dict()) == kept
    other = Sensor(name="other", bands=SENSOR.bands[:3])
    with pytest.raises(ModelError, match="B4, B8, B10, dem"):
        kept.require(other)


def test_draws_depend_on_their_key_alone() -> None:
    def drawn(ids: list[int], epoch: int = 0, key: tuple[int, int] = (0, 0)) -> augment.Draw:
        light = [True, True, True, False]
        return augment.draw(key, epoch, ids, light, jitter_gain=0.1, jitter_band=0.03)

    a, b = drawn([3, 9, 12]), drawn([12, 3])
    np.testing.assert_array_equal(a.gain[[2, 0]], b.gain)
    np.testing.assert_array_equal(a.symmetry[[2, 0]], b.symmetry)
    for other in ({"epoch": 1}, {"key": (1, 0)}, {"key": (0, 1)}):
        assert not np.array_equal(a.gain, drawn([3, 9, 12], **other).gain)  # type: ignore[arg-type]
    assert (a.gain[:, 3] == 1).all()
    many = drawn(list(range(800)))
    assert np.bincount(many.symmetry, minlength=8).min() > 60
    assert np.log(many.gain[:, 0]).std() == pytest.approx(np.hypot(0.1, 0.03), rel=0.1)


def test_order_is_a_keyed_permutation() -> None:
    a, b = augment.order((0, 1), 0, 50), augment.order((0, 1), 1, 50)
    assert sorted(a) == list(range(50))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, augment.order((0, 1), 0, 50))


def test_symmetries_are_eight_and_can_be_undone() -> None:
    x = torch.arange(9.0).reshape(1, 3, 3)
    seen = {tuple(augment.apply_symmetry(x, k).flatten().tolist()) for k in range(8)}
    assert len(seen) == 8
    for k in range(8):
        assert torch.equal(augment.undo_symmetry(augment.apply_symmetry(x, k), k), x)


def test_mask_turns_with_the_image(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.integers(0, 999, (16, 3, 8, 8)).astype(np.int16))
    mask = (image[:, 0] > 500).to(torch.uint8)
    numbers = rng.integers(0, 8, 16)
    turned = augment.apply_symmetries(image, numbers)
    assert not torch.equal(turned, image)
    wanted = (turned[:, 0] > 500).to(torch.uint8)
    assert torch.equal(augment.apply_symmetries(mask, numbers), wanted)
    for i, k in enumerate(numbers):
        assert torch.equal(turned[i], augment.apply_symmetry(image[i], int(k)))
