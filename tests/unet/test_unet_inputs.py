"""Counts to inputs: levels, channels, statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import SENSOR, synthetic, tiny

from l4s_ensemble.data.sensor import L4S, Sensor, SensorBand
from l4s_ensemble.data.store import units
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.inputs.normalisation import (
    OFFICIAL_MEAN,
    OFFICIAL_STD,
    Normalisation,
    channels_of,
)
from l4s_ensemble.unet.inputs.tileset import TileSet, load

EVERY = torch.arange(16)


def fit(tiles: TileSet, **settings: object) -> Normalisation:
    return Normalisation.fit(tiles, tiny(**settings))


def shown(tiles: TileSet, normalisation: Normalisation) -> torch.Tensor:
    return normalisation.inputs(tiles, torch.arange(len(tiles)))


def relative(ds: xr.Dataset) -> xr.Dataset:
    sensor = SENSOR.model_copy(update={"radiometry": "relative"})
    return ds.assign_attrs(sensor=sensor.model_dump_json())


@pytest.mark.parametrize("radiometry", ["absolute", "relative"])
def test_units_are_those_of_the_data_package(radiometry: str) -> None:
    ds = synthetic() if radiometry == "absolute" else relative(synthetic())
    tiles = load(ds)
    wanted = units(ds)
    wanted[:, 3] -= np.median(wanted[:, 3], axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(tiles.units(EVERY).numpy(), wanted, rtol=2e-6, atol=2e-3)


def test_large_counts_do_not_wrap() -> None:
    ds = synthetic()
    ds["image"].values[0, 0] = 65535
    assert float(load(ds).units(torch.tensor([0]))[0, 0].max()) == 65535


def test_float_counts_stay() -> None:
    ds = synthetic()
    ds["image"] = ds["image"].astype(np.float32) + np.float32(0.25)
    tiles = load(ds, masks=False)
    np.testing.assert_allclose(tiles.units(EVERY)[:, :3], units(ds)[:, :3], rtol=1e-5)


def test_some_positions_in_their_order() -> None:
    ds = synthetic()
    for tiles in (load(ds, [5, 2]), load(ds).at([5, 2])):
        assert tiles.patch.tolist() == [6, 3]
        np.testing.assert_array_equal(tiles.mask, ds["mask"].values[[5, 2]])
        assert torch.equal(shown(tiles, fit(load(ds))), shown(load(ds), fit(load(ds)))[[5, 2]])


def test_inputs_are_standardised_and_clipped() -> None:
    ds = synthetic()
    ds["image"].values[0, 2, 0, 0] = 65535  # one wild pixel of B10
    tiles = load(ds)
    x = fit(tiles).apply(tiles.units(EVERY))
    assert torch.isfinite(x).all()
    assert float(x.abs().max()) < 8
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(4), atol=0.15)
    assert torch.allclose(x.std((0, 2, 3)), torch.ones(4), atol=0.15)


def test_elevation_is_relief() -> None:
    """A tile moved up a mountain looks the same."""
    ds = synthetic()
    tiles = load(ds)
    normalisation = fit(tiles)
    ds["image"].values[:, 3] += 3000
    moved = load(ds)
    before, after = (normalisation.apply(t.units(EVERY)) for t in (tiles, moved))
    assert torch.equal(before, after)


def test_a_constant_band_is_zero() -> None:
    ds = synthetic()
    ds["image"].values[:, 2] = 7
    tiles = load(ds)
    x = fit(tiles).apply(tiles.units(EVERY))
    assert float(x[:, 2].abs().max()) == 0


def test_by_default_inputs_are_clipped_bands_standardised() -> None:
    """The formula, written out once more in numpy."""
    tiles = load(synthetic())
    kept = fit(tiles)
    wanted = tiles.units(EVERY).numpy().astype(np.float64)
    wanted[:, 2] = np.log1p(wanted[:, 2])
    sample = wanted[:, :, 4::8, 4::8].transpose(1, 0, 2, 3).reshape(4, -1)
    low, high = np.percentile(sample, [0.1, 99.9], axis=1)
    sample = sample.clip(low[:, None], high[:, None])
    wanted = wanted.clip(low[:, None, None], high[:, None, None])
    wanted = (wanted - sample.mean(1)[:, None, None]) / sample.std(1)[:, None, None]
    np.testing.assert_allclose(shown(tiles, kept), wanted, atol=1e-4)
    assert kept.channels == SENSOR.band_names and kept.tiles == 16


def test_chosen_bands_are_those_of_the_whole() -> None:
    tiles = load(synthetic())
    whole = shown(tiles, fit(tiles))
    few = fit(tiles, bands=("dem", "B4"))
    assert few.channels == ("dem", "B4")
    assert torch.equal(shown(tiles, few), whole[:, [3, 0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": ("B4", "B99")}, "B4, B8, B10, dem"),
        ({"bands": ("B4", "B4")}, "each named once"),
        ({"bands": ()}, "no band"),
        ({"standard": "official"}, "released files"),
    ],
)
def test_channels_that_cannot_be_made_are_refused(
    settings: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        channels_of(SENSOR, tiny(**settings))


def released() -> tuple[TileSet, np.ndarray]:
    """Two synthetic tiles of the released files: in memory, and as stored."""
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
    kept = fit(tiles, standard="official")
    mean, std = (np.array(list(v.values())) for v in (OFFICIAL_MEAN, OFFICIAL_STD))
    wanted = (stored - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(shown(tiles, kept), wanted, rtol=1e-4, atol=1e-4)
    assert (mean[0], std[13], len(mean), len(std)) == (-0.4914, 1.2913, 14, 14)
    assert mean.sum() == pytest.approx(1.2376)
    assert std.sum() == pytest.approx(13.5093)


def test_official_constants_are_for_stored_values_alone() -> None:
    with pytest.raises(ConfigError, match=r"unet\.bands"):
        channels_of(L4S, tiny(standard="official", bands=("B4",)))
    tripled = tuple(
        SensorBand(name=b.name, stored_to_count=3 * b.stored_to_count, unit=b.unit)
        for b in L4S.bands
    )
    with pytest.raises(ConfigError, match="released files"):
        channels_of(Sensor(name="x", bands=tripled), tiny(standard="official"))
