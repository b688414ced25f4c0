"""How like the training tiles a tile is: the distance, its unit, its limit, and what it ignores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.neighbors import NearestNeighbors

from l4s_ensemble.config import ScenesConfig
from l4s_ensemble.data.sensor import L4S, Sensor, load_sensor
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.scenes import likeness
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.grid import Grid

ROWS, COLS = 6, 8


def made_up(sensor: Sensor, seed: int, tiles: int, light: float = 1.0) -> xr.Dataset:
    """Tiles of noise around a level of their own, 16 pixels wide."""
    rng = np.random.default_rng(seed)
    level = light * rng.uniform(300, 900, (tiles, len(sensor.bands), 1, 1))
    image = rng.normal(level, level / 20, (tiles, len(sensor.bands), 16, 16))
    return xr.Dataset(
        {"image": (("patch", "band", "y", "x"), image.clip(0, 60_000).astype(np.uint16))},
        coords={"patch": np.arange(1, tiles + 1), "band": list(sensor.band_names)},
    )


@pytest.fixture(scope="module")
def folds() -> Folds:
    r, c = (v.ravel().astype(np.int32) for v in np.mgrid[:ROWS, :COLS])
    n = ROWS * COLS
    grid = Grid("manifest", np.arange(1, n + 1), np.ones(n, np.int32), r, c)
    return make_folds(
        grid, np.full(n, 300), np.array([f"{i:016x}" for i in range(n)]), np.zeros(n, bool),
        ScenesConfig(folds=2, block_tiles=4),
    )  # fmt: skip


@pytest.fixture(scope="module")
def held(folds: Folds) -> likeness.Likeness:
    return likeness.measure(made_up(L4S, 0, ROWS * COLS), L4S, folds)


def test_distances_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    tiles, asked = (rng.normal(size=(n, 9)).astype(np.float32) for n in (40, 7))
    away, _ = NearestNeighbors(n_neighbors=likeness.NEAREST).fit(tiles).kneighbors(asked)
    expected = away.mean(axis=1) / np.sqrt(9)
    np.testing.assert_allclose(likeness.distances(tiles, asked), expected, rtol=1e-5)
    one = likeness.distances(tiles[:1], asked)  # fewer tiles than neighbours
    alone = np.sqrt(np.mean((asked - tiles[0]) ** 2, axis=1))
    np.testing.assert_allclose(one, alone, rtol=1e-5)


def test_the_unit_is_the_median_of_tiles_that_their_fold_holds_out(
    held: likeness.Likeness, folds: Folds
) -> None:
    assert np.median(held.held_out) == pytest.approx(1)
    at = int(np.argmax(held.held_out))
    trained = np.isin(held.patch, folds.train_ids(int(folds.of([held.patch[at]], "fold")[0])))
    again = likeness.distances(held.tiles[trained], held.tiles[at : at + 1])[0]
    assert held.held_out[at] == pytest.approx(again / held.unit, rel=1e-5)
    low, high = np.percentile(held.held_out, [25, 75])
    assert held.limit == pytest.approx(high + 1.5 * (high - low))


def test_tiles_alike_are_within_the_limit_and_others_are_beyond(held: likeness.Likeness) -> None:
    _, alike = likeness.describe(made_up(L4S, 1, 30), L4S)
    _, dark = likeness.describe(made_up(L4S, 1, 30, light=0.2), L4S)
    assert (held.distance(alike) <= held.limit).mean() > 0.9
    assert (held.distance(dark) > held.limit).all()


def test_altitude_tells_nothing_and_relief_does(held: likeness.Likeness) -> None:
    tiles = made_up(L4S, 2, 5)
    dem = L4S.band_names.index("dem")
    higher, rougher = tiles.copy(deep=True), tiles.copy(deep=True)
    higher["image"][:, dem] += 3000
    rougher["image"][:, dem, :, 8:] += 3000
    plain, up, steep = (
        held.distance(likeness.describe(t, L4S)[1]) for t in (tiles, higher, rougher)
    )
    np.testing.assert_allclose(up, plain, rtol=1e-3)
    assert (steep > plain * 1.5).all()


@pytest.mark.parametrize(("name", "same"), [("l4s-rgb", True), ("l4s", False)])
def test_the_level_of_light_counts_only_where_it_is_known(name: str, same: bool) -> None:
    sensor = load_sensor(name)
    _, plain = likeness.describe(made_up(sensor, 4, 3), sensor)
    twice = made_up(sensor, 4, 3)
    twice["image"] *= 2
    _, brighter = likeness.describe(twice, sensor)
    assert np.allclose(plain, brighter, atol=0.01) == same


def test_tiles_are_described_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = made_up(L4S, 5, 7)
    names, whole = likeness.describe(tiles, L4S)
    monkeypatch.setattr(likeness, "TILES", 3)
    assert likeness.describe(tiles, L4S)[0] == names
    np.testing.assert_allclose(likeness.describe(tiles, L4S)[1], whole, rtol=1e-5, atol=1e-5)
    turned = likeness.describe(tiles.isel(patch=[6, 0]), L4S)[1]
    np.testing.assert_allclose(turned, whole[[6, 0]], rtol=1e-5, atol=1e-5)


def test_a_band_that_never_changes_is_no_infinity(folds: Folds) -> None:
    tiles = made_up(L4S, 0, ROWS * COLS)
    tiles["image"][:, 0] = 7
    held = likeness.measure(tiles, L4S, folds)
    assert np.isfinite(held.held_out).all() and np.isfinite(held.tiles).all()


def test_other_bands_are_refused() -> None:
    with pytest.raises(DataError, match="bands"):
        likeness.describe(made_up(L4S, 0, 2).isel(band=slice(3)), L4S)


def test_it_is_read_back_and_damage_is_named(held: likeness.Likeness, tmp_path: Path) -> None:
    assert likeness.load_likeness(tmp_path) is None
    held.save(tmp_path)
    found = likeness.load_likeness(tmp_path)
    assert found is not None and found.names == held.names and found.limit == held.limit
    np.testing.assert_array_equal(found.tiles, held.tiles)
    path = tmp_path / likeness.FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"likeness\.npz"):
        likeness.load_likeness(tmp_path)
