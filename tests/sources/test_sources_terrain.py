"""The carving of terrain, against laws and small cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.sources import climate as climates
from l4s_ensemble.sources.erosion import drained_cells, fill_pits, flow, incise
from l4s_ensemble.sources.light import cast_shadow, illumination
from l4s_ensemble.sources.measured import load
from l4s_ensemble.sources.noise import enlarge, fractal
from l4s_ensemble.sources.optics import block_mean
from l4s_ensemble.sources.terrain import make_terrain


def rim(shape: tuple[int, int]) -> np.ndarray:
    base = np.ones(shape, bool)
    base[1:-1, 1:-1] = False
    return base


def test_filled_ground_drains_everywhere(rng: np.random.Generator) -> None:
    z = rng.normal(0, 30, (40, 50)).astype(np.float32)
    before, base = z.copy(), rim(z.shape)
    fill_pits(z, base, 0.05)
    assert (z >= before).all()
    receiver, order = flow(z, base)
    inner = ~base.ravel()
    assert (receiver[inner] != np.flatnonzero(inner)).all()
    assert sorted(order) == list(range(z.size))
    # Every cell drains to the rim: what arrives there is everything.
    area = drained_cells(receiver, order)
    assert area[base.ravel()].sum() == z.size


def test_flow_order_is_downstream(rng: np.random.Generator) -> None:
    z = rng.normal(0, 5, (30, 30)).astype(np.float32)
    receiver, order = flow(z, rim(z.shape))
    place = np.empty(z.size, int)
    place[order] = np.arange(z.size)
    moving = receiver != np.arange(z.size)
    assert (place[moving] < place[receiver[moving]]).all()
    flat = z.ravel()
    assert (flat[receiver[moving]] < flat[moving]).all()


def test_fill_pits_by_hand() -> None:
    z = np.array([[9, 9, 9], [9, 1, 9], [9, 5, 9]], np.float32)
    fill_pits(z, rim((3, 3)), 0.5)
    assert z[1, 1] == 5.5


def test_incision_lowers_and_limits_the_fall() -> None:
    z = np.tile(np.array([0, 100, 200, 300], np.float32), (3, 1))
    base = np.zeros(z.shape, bool)
    base[:, 0] = True
    receiver, order = flow(z, base)
    before = z.copy()
    ones = np.ones(z.shape, np.float32)
    incise(z, receiver, order, drained_cells(receiver, order), 0 * ones, 0.5 * ones, 100.0, 0.0)
    np.testing.assert_allclose(z[1], [0, 50, 100, 150])
    assert (z <= before).all()


@pytest.fixture(scope="module")
def ground():
    rng = np.random.default_rng(3)
    climate = climates.draw(rng)
    return climate, make_terrain((120, 132), climate, rng)


def test_terrain_is_steep_and_low_as_asked(ground) -> None:
    climate, terrain = ground
    assert terrain.dem_m.min() == pytest.approx(climate.lowest_m, abs=0.1)
    gy, gx = np.gradient(terrain.dem_m, 25.0)
    median = float(np.median(np.hypot(gy, gx)))
    assert 0.6 * climate.steepness < median < 1.2 * climate.steepness
    assert terrain.fine_m.shape == (240, 264)
    assert np.abs(block_mean(terrain.fine_m, 2) - terrain.dem_m).mean() < 6


def test_rivers_run_in_valleys(ground) -> None:
    _, terrain = ground
    inner = np.s_[4:-4, 4:-4]
    river = terrain.drained_km2[inner] > 0.3
    height = terrain.above_river_m[inner]
    assert np.abs(height[river]).mean() < 0.2 * height.mean()


def test_light_faces_the_sun() -> None:
    y = np.mgrid[:40, :40][0].astype(np.float32)
    ridge = -np.abs(y - 20) * 6  # slopes to the north above, to the south below
    none = np.zeros((40, 40), np.float32)
    light = illumination(ridge, 10.0, none, 180.0, 40.0)
    assert light[30, 20] > 1 > light[10, 20]
    shade = cast_shadow(20 * (y == 20).astype(np.float32) * 5, 10.0, 180.0, 40.0)
    assert shade[16, 20] > 0.5
    assert shade[24, 20] == 0
    assert shade[2, 20] == 0  # beyond the end of the shadow: 100 m / tan 40° = 119 m


def test_fractal_is_standardised_and_seeded() -> None:
    a, b = (fractal((60, 90), 1.5, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.mean() == pytest.approx(0, abs=1e-4)
    assert a.std() == pytest.approx(1, abs=1e-3)


def test_enlarge_is_exact_on_a_plane() -> None:
    y, x = np.mgrid[:10, :12].astype(np.float32)
    fine = enlarge(3 * y + 2 * x, (20, 24), 0.5)
    yy, xx = np.mgrid[:20, :24] * 0.5 - 0.25
    np.testing.assert_allclose(fine[1:-1, 1:-1], (3 * yy + 2 * xx)[1:-1, 1:-1], atol=1e-4)


def test_measured_tables_are_plausible() -> None:
    table = load()
    assert set(table.classes) >= {"conifer", "broadleaf", "field", "gravel", "slide", "cloud"}
    assert table.mean.shape == (len(table.classes), len(table.bands)) == (9, 10)
    dn = dict(zip(table.bands, np.exp(table.mean[table.code("slide")]), strict=True))
    assert dn["B11"] > dn["B4"] > 300
    green = np.exp(table.mean[table.code("broadleaf")])
    assert green[table.bands.index("B8")] > 5 * green[table.bands.index("B4")]
    assert np.isfinite(table.coarse).all()
    assert (np.diff(table.slides["size_px"]) > 0).all()
