"""Counts to inputs: levels, channels, statistics."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import SENSOR, made_up

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.sensor import L4S, Sensor, SensorBand
from l4s_ensemble.data.store import units
from l4s_ensemble.errors import ConfigError, DataError, ModelError
from l4s_ensemble.unet.inputs.channels import OFFICIAL_MEAN, OFFICIAL_STD, Channels
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load

EVERY = torch.arange(16)


def brighter(tiles: TileSet, gain: torch.Tensor) -> TileSet:
    """The same tiles under more light, gain (tile,)."""
    light = torch.from_numpy(tiles.spectral)
    return replace(tiles, scale=torch.where(light, tiles.scale * gain[:, None], tiles.scale))


def shown(tiles: TileSet, normalisation: Normalisation) -> torch.Tensor:
    return normalisation.inputs(tiles, torch.arange(len(tiles)))


def of_scenes(tiles: TileSet, scene: list[int]) -> TileSet:
    return replace(tiles, scene=np.repeat(scene, len(tiles) // len(scene)))


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


def test_by_default_inputs_are_clipped_bands_standardised() -> None:
    """The formula, written out once more in numpy."""
    tiles = load(made_up())
    kept = Normalisation.fit(tiles, range(16))
    wanted = tiles.units(EVERY).numpy().astype(np.float64)
    wanted[:, 2] = np.log1p(wanted[:, 2])
    sample = wanted[:, :, 4::8, 4::8].transpose(1, 0, 2, 3).reshape(4, -1)
    low, high = np.percentile(sample, [0.1, 99.9], axis=1)
    sample = sample.clip(low[:, None], high[:, None])
    wanted = wanted.clip(low[:, None, None], high[:, None, None])
    wanted = (wanted - sample.mean(1)[:, None, None]) / sample.std(1)[:, None, None]
    np.testing.assert_allclose(shown(tiles, kept), wanted, atol=1e-4)
    assert kept.channels == SENSOR.band_names


def test_chosen_bands_are_those_of_the_whole() -> None:
    tiles = load(made_up())
    whole = shown(tiles, Normalisation.fit(tiles, range(16)))
    few = Normalisation.fit(tiles, range(16), UNetConfig(bands=("dem", "B4"), indices=("B8/B4",)))
    assert few.channels == ("dem", "B4", "B8/B4")
    assert torch.equal(shown(tiles, few)[:, :2], whole[:, [3, 0]])


def test_an_index_is_a_normalised_difference_of_units() -> None:
    ds = made_up()
    ds["image"].values[0, :2, 0, 0] = 0
    tiles = load(ds)
    u = tiles.units(EVERY)
    made = Channels.choose(SENSOR, UNetConfig(indices=("B8/B4",))).make(u)
    wanted = (u[:, 1] - u[:, 0]) / (u[:, 1] + u[:, 0]).clamp_min(1)
    assert torch.allclose(made[:, 4], wanted)
    assert float(made[0, 4, 0, 0]) == 0  # black, yet no division by zero
    assert torch.equal(made[:, 3], u[:, 3])
    gain = torch.tensor([[2.0, 2.0, 1.0, 1.0]]).expand(16, -1)
    lit = Channels.choose(SENSOR, UNetConfig(indices=("B8/B4",))).make(u, gain)
    assert torch.allclose(lit[:, 4], made[:, 4])  # one gain of all light leaves an index alone
    assert torch.allclose(lit[:, 0], 2 * made[:, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": ("B4", "B99")}, "B4, B8, B10, dem"),
        ({"bands": ("B4", "B4")}, "named twice"),
        ({"bands": ()}, "shown nothing"),
        ({"indices": ("B8/dem",)}, "two bands of light"),
        ({"indices": ("B8",)}, "B8/B4"),
        ({"indices": ("B8/B8",)}, "two bands of light"),
        ({"standard": "official"}, "released files"),
    ],
)
def test_channels_that_cannot_be_made_are_refused(
    settings: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Channels.choose(SENSOR, UNetConfig(**settings))  # type: ignore[arg-type]


def test_the_logarithm_of_darkness_is_finite_and_mild() -> None:
    ds = made_up()
    ds["image"].values[:3, :3, :4, :4] = 0
    ds["image"].values[5, :3] = 0  # a black tile
    tiles = load(ds)
    for level in ("keep", "tile", "scene"):
        config = UNetConfig(light="log", level=level)
        x = shown(of_scenes(tiles, [1]), Normalisation.fit(of_scenes(tiles, [1]), EVERY, config))
        assert torch.isfinite(x).all()
        assert float(x.abs().max()) < 12


def test_a_few_black_pixels_hardly_widen_the_logarithm() -> None:
    ds = made_up()
    config = UNetConfig(light="log")
    before = Normalisation.fit(load(ds), range(16), config)
    ds["image"].values[0, :2, 4::8, 4] = 0  # 4 of the 256 that statistics look at
    after = Normalisation.fit(load(ds), range(16), config)
    assert 1 < after.std[0] / before.std[0] < 2.5


@pytest.mark.parametrize("light", ["plain", "log"])
def test_level_of_the_tile_makes_inputs_blind_to_its_light(light: str) -> None:
    tiles = load(made_up())
    gain = torch.linspace(0.3, 3.3, 16)
    kept, relative = (
        Normalisation.fit(tiles, range(16), UNetConfig(light=light, level=level))
        for level in ("keep", "tile")
    )
    moved = brighter(tiles, gain)
    assert torch.allclose(shown(moved, relative), shown(tiles, relative), atol=2e-4)
    assert not torch.allclose(shown(moved, kept), shown(tiles, kept), atol=0.1)
    again = Normalisation.fit(moved, range(16), UNetConfig(light=light, level="tile"))
    np.testing.assert_allclose(again.mean, relative.mean, rtol=1e-4, atol=1e-5)


def test_level_of_the_scene_is_blind_to_its_light_but_not_to_that_of_a_tile() -> None:
    tiles = of_scenes(load(made_up()), [1, 2])
    config = UNetConfig(light="log", level="scene")
    kept = Normalisation.fit(tiles, range(16), config)
    before = shown(tiles, kept)
    scene = torch.from_numpy(np.where(tiles.scene == 1, 0.5, 3.0).astype(np.float32))
    assert torch.allclose(shown(brighter(tiles, scene), kept), before, atol=2e-4)
    one = torch.ones(16)
    one[3] = 4.0
    after = shown(brighter(tiles, one), kept)
    assert not torch.allclose(after[3], before[3], atol=0.1)
    assert torch.allclose(after[8:], before[8:], atol=2e-4)


def test_a_tile_of_unknown_scene_has_its_own_level() -> None:
    tiles = of_scenes(load(made_up()), [1, 1, 1, -1])
    by_scene, by_tile = tiles.prepared("scene"), tiles.prepared("tile")
    assert by_scene.middle is not None and by_tile.middle is not None
    assert torch.equal(by_scene.middle[12:], by_tile.middle[12:])
    assert torch.equal(by_scene.middle[0], by_scene.middle[11])
    assert not torch.equal(by_tile.middle[0], by_tile.middle[11])
    assert (by_scene.middle[:, 3] == 1).all()
    nowhere = replace(tiles, scene=None).prepared("scene")
    assert nowhere.middle is not None
    assert torch.equal(nowhere.middle, by_tile.middle)


def test_at_the_level_of_the_scene_tiles_do_not_return_to_their_own() -> None:
    tiles = replace(load(made_up()), own=torch.linspace(0.5, 2, 16))
    levelled = replace(tiles, own=None).units(EVERY)
    assert torch.equal(tiles.prepared("scene").units(EVERY), levelled)
    assert not torch.allclose(tiles.prepared("tile").units(EVERY), levelled)
    assert torch.equal(tiles.prepared("keep").units(EVERY), tiles.units(EVERY))


def test_tiles_are_prepared_once() -> None:
    tiles = load(made_up())
    ready = tiles.prepared("tile")
    assert tiles.prepared("keep") is tiles
    assert ready.prepared("tile") is ready
    with pytest.raises(ValueError, match="prepared"):
        ready.prepared("scene")


def test_relative_light_wants_a_middle() -> None:
    tiles = load(made_up())
    kept = Normalisation.fit(tiles, [0, 1], UNetConfig(level="tile"))
    with pytest.raises(ValueError, match="middle"):
        kept.apply(tiles.units(EVERY))


def released() -> tuple[TileSet, np.ndarray]:
    """Two made-up tiles of the released files: in memory, and as stored."""
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 6000, (2, 14, 16, 16)).astype(np.uint16)
    tiles = TileSet(
        patch=np.array([1, 2]),
        counts=torch.from_numpy(counts.view(np.int16)),
        scale=torch.ones(2, 14),
        centre=torch.zeros(2, 14).index_fill_(1, torch.tensor([13]), 700.0),
        mask=None,
        sensor=L4S,
    )
    return tiles, counts / L4S.stored_to_count[:, None, None]


def test_official_inputs_are_stored_values_by_published_constants() -> None:
    tiles, stored = released()
    kept = Normalisation.fit(tiles, [0], UNetConfig(standard="official"))
    mean, std = (np.array(list(v.values())) for v in (OFFICIAL_MEAN, OFFICIAL_STD))
    wanted = (stored - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(shown(tiles, kept), wanted, rtol=1e-4, atol=1e-4)
    assert (mean[0], std[13], len(mean), len(std)) == (-0.4914, 1.2913, 14, 14)
    assert mean.sum() == pytest.approx(1.2376)
    assert std.sum() == pytest.approx(13.5093)


@pytest.mark.parametrize(
    "settings", [{"light": "log"}, {"level": "tile"}, {"bands": ("B4",)}, {"indices": ("B8/B4",)}]
)
def test_official_constants_are_for_stored_values_alone(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"unet.{next(iter(settings))}"):
        Channels.choose(L4S, UNetConfig(standard="official", **settings))  # type: ignore[arg-type]
    tripled = tuple(
        SensorBand(name=b.name, stored_to_count=3 * b.stored_to_count, unit=b.unit)
        for b in L4S.bands
    )
    with pytest.raises(ConfigError, match="released files"):
        Channels.choose(Sensor(name="x", bands=tripled), UNetConfig(standard="official"))


@pytest.mark.parametrize(
    "settings",
    [
        {"bands": ("B4", "dem"), "indices": ("B8/B4",)},
        {"light": "log"},
        {"light": "log", "level": "tile"},
        {"level": "scene"},
    ],
)
def test_all_of_a_normalisation_survives_json(settings: dict[str, object]) -> None:
    tiles = of_scenes(load(made_up()), [1, 2])
    kept = Normalisation.fit(tiles, range(9), UNetConfig(**settings))  # type: ignore[arg-type]
    back = Normalisation.from_dict(json.loads(json.dumps(kept.as_dict(), allow_nan=False)))
    assert back == kept
    assert torch.equal(shown(tiles, back), shown(tiles, kept))


def test_official_normalisation_survives_json() -> None:
    kept = Normalisation.fit(released()[0], [0], UNetConfig(standard="official"))
    assert Normalisation.from_dict(json.loads(json.dumps(kept.as_dict(), allow_nan=False))) == kept


def test_gradients_of_inputs_can_be_had_after_inference() -> None:
    tiles = load(made_up())
    kept = Normalisation.fit(tiles, range(16), UNetConfig(light="log"))
    with torch.inference_mode():
        shown(tiles, kept)
    u = tiles.units(EVERY).requires_grad_()
    kept.apply(u).sum().backward()
    assert u.grad is not None and float(u.grad.abs().max()) > 0
