"""The dissimilarity index: its distance, its unit, its limit, and what it ignores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scenes_world import make, raster
from sklearn.neighbors import NearestNeighbors
from tiny_patches import dataset_of

from l4s_ensemble.data.sensor import L4S, Sensor, load_sensor
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.scenes import applicability
from l4s_ensemble.scenes.applicability import (
    Applicability,
    describe,
    distances,
    load_applicability,
    measure_applicability,
)
from l4s_ensemble.scenes.folds import Folds

ROWS, COLS = 6, 8


def synthetic(sensor: Sensor, seed: int, tiles: int, reflectance: float = 1.0) -> xr.Dataset:
    """Tiles of noise around a level of their own, 16 pixels wide."""
    rng = np.random.default_rng(seed)
    level = reflectance * rng.uniform(300, 900, (tiles, len(sensor.bands), 1, 1))
    image = rng.normal(level, level / 20, (tiles, len(sensor.bands), 16, 16))
    return dataset_of(image.clip(0, 60_000), None, sensor, tiles)


@pytest.fixture(scope="module")
def folds() -> Folds:
    return make(raster((ROWS, COLS)), folds=2, block_tiles=4)


@pytest.fixture(scope="module")
def known(folds: Folds) -> Applicability:
    return measure_applicability(synthetic(L4S, 0, ROWS * COLS), L4S, folds)


def test_distances_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    tiles, asked = (rng.normal(size=(n, 9)).astype(np.float32) for n in (40, 7))
    away, _ = NearestNeighbors(n_neighbors=applicability.NEAREST).fit(tiles).kneighbors(asked)
    expected = away.mean(axis=1) / np.sqrt(9)
    np.testing.assert_allclose(distances(tiles, asked), expected, rtol=1e-5)
    one = distances(tiles[:1], asked)  # fewer tiles than neighbours
    alone = np.sqrt(np.mean((asked - tiles[0]) ** 2, axis=1))
    np.testing.assert_allclose(one, alone, rtol=1e-5)


def test_the_unit_is_the_median_of_tiles_that_their_fold_holds_out(
    known: Applicability, folds: Folds
) -> None:
    assert np.median(known.held_out) == pytest.approx(1)
    at = int(np.argmax(known.held_out))
    trained = np.isin(known.patch, folds.train_ids(int(folds.of([known.patch[at]], "fold")[0])))
    again = distances(known.tiles[trained], known.tiles[at : at + 1])[0]
    assert known.held_out[at] == pytest.approx(again / known.unit, rel=1e-5)
    low, high = np.percentile(known.held_out, [25, 75])
    assert known.limit == pytest.approx(high + 1.5 * (high - low))


def test_similar_tiles_are_within_the_limit_and_others_are_beyond(known: Applicability) -> None:
    _, alike = describe(synthetic(L4S, 1, 30), L4S)
    _, dark = describe(synthetic(L4S, 1, 30, reflectance=0.2), L4S)
    assert (known.index(alike) <= known.limit).mean() > 0.9
    assert (known.index(dark) > known.limit).all()


def test_altitude_tells_nothing_and_relief_does(known: Applicability) -> None:
    tiles = synthetic(L4S, 2, 5)
    dem = L4S.band_names.index("dem")
    higher, rougher = tiles.copy(deep=True), tiles.copy(deep=True)
    higher["image"][:, dem] += 3000
    rougher["image"][:, dem, :, 8:] += 3000
    plain, up, steep = (known.index(describe(t, L4S)[1]) for t in (tiles, higher, rougher))
    np.testing.assert_allclose(up, plain, rtol=1e-3)
    assert (steep > plain * 1.5).all()


@pytest.mark.parametrize(("name", "same"), [("l4s-rgb", True), ("l4s", False)])
def test_the_gain_counts_only_where_it_is_known(name: str, same: bool) -> None:
    sensor = load_sensor(name)
    _, plain = describe(synthetic(sensor, 4, 3), sensor)
    twice = synthetic(sensor, 4, 3)
    twice["image"] *= 2
    _, brighter = describe(twice, sensor)
    assert np.allclose(plain, brighter, atol=0.01) == same


def test_tiles_are_described_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = synthetic(L4S, 5, 7)
    names, whole = describe(tiles, L4S)
    monkeypatch.setattr(applicability, "TILES", 3)
    assert describe(tiles, L4S)[0] == names
    np.testing.assert_allclose(describe(tiles, L4S)[1], whole, rtol=1e-5, atol=1e-5)
    turned = describe(tiles.isel(patch=[6, 0]), L4S)[1]
    np.testing.assert_allclose(turned, whole[[6, 0]], rtol=1e-5, atol=1e-5)


def test_a_band_that_never_changes_is_no_infinity(folds: Folds) -> None:
    tiles = synthetic(L4S, 0, ROWS * COLS)
    tiles["image"][:, 0] = 7
    known = measure_applicability(tiles, L4S, folds)
    assert np.isfinite(known.held_out).all() and np.isfinite(known.tiles).all()


def test_other_bands_are_refused() -> None:
    with pytest.raises(DataError, match="bands"):
        describe(synthetic(L4S, 0, 2).isel(band=slice(3)), L4S)


def test_it_is_read_back_and_damage_is_named(known: Applicability, tmp_path: Path) -> None:
    assert load_applicability(tmp_path) is None
    known.save(tmp_path)
    found = load_applicability(tmp_path)
    assert found is not None and found.names == known.names and found.limit == known.limit
    np.testing.assert_array_equal(found.tiles, known.tiles)
    path = tmp_path / applicability.FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"applicability\.npz"):
        load_applicability(tmp_path)
