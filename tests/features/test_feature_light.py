from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from feature_world import RGB, scene

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features import flow_kernels, light
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import Canvas, continued
from l4s_ensemble.features.registry import all_fields, select
from l4s_ensemble.features.terrain import SIGMA_PX

DEM = L4S.band_names.index("dem")
PLAN = select(L4S, FeaturesConfig(groups=("light",)))
REACH = PLAN.support_px
LIT = ("bright_without_sun", "b8_without_sun", "b11_without_sun")


def sun_of(azimuth_deg: float, elevation_deg: float) -> tuple[float, float, float]:
    """Unit vector east, north, up."""
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    flat = np.cos(elevation)
    return flat * np.sin(azimuth), flat * np.cos(azimuth), np.sin(elevation)


def known(sun):
    return SimpleNamespace(sun=sun)


def made_of(image: np.ndarray, sun=None, margin: int = 0) -> dict[str, np.ndarray]:
    facts = None if sun is None else known(sun)
    return dict(zip(PLAN.names, compute(image, L4S, PLAN, margin=margin, facts=facts), strict=True))


def ground(dem: np.ndarray) -> np.ndarray:
    image = np.full((14, *dem.shape), 1000, np.float32)
    image[DEM] = dem
    return image


def metres(size: int) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.mgrid[:size, :size].astype(float)
    return 10 * (column - size // 2), -10 * (row - size // 2)


def lit_scene(sun, size: int = 128, seed: int = 0, diffuse: float = 0.3, noise: float = 0.1):
    """Hills of patchy ground under a sun, whose light falls off with the cosine."""
    image = scene(size, size, seed=seed)
    exact = np.pad(image[DEM].astype(float), 8, mode="reflect", reflect_type="odd")
    from scipy.ndimage import gaussian_filter

    down, east = np.gradient(gaussian_filter(exact, 1.5), 10)
    up = 1 / np.sqrt(1 + down**2 + east**2)
    cosine = (-east * sun[0] + down * sun[1] + sun[2]) * up
    cosine = np.maximum(cosine, 0)[8:-8, 8:-8]
    rng = np.random.default_rng(seed)
    for i in (j for j, band in enumerate(L4S.bands) if band.unit == "DN"):
        ground = np.exp(noise * gaussian_filter(rng.normal(size=(size, size)), 2) * 7)
        image[i] = 1500 * ground * (cosine + diffuse)
    return image, cosine


def test_only_sensors_with_elevation_have_it():
    assert len(PLAN.names) == 6
    assert {f.scope for f in PLAN.features} == {"window", "scene", "tile"}
    plan = select(RGB, FeaturesConfig(groups=("light", "reflectance")))
    assert not [f for f in plan.features if f.group == "light"]


@pytest.mark.parametrize("azimuth_deg", [20, 115, 160, 300])
def test_the_sun_of_a_lit_terrain_is_found_again(azimuth_deg):
    sun = sun_of(azimuth_deg, 50)
    image, cosine = lit_scene(sun)
    canvas = Canvas(continued(image, L4S, 8), L4S, 8, all_fields())
    found = canvas.facts.sun
    azimuth = np.degrees(np.arctan2(found[0], found[1])) % 360
    assert azimuth == pytest.approx(azimuth_deg, abs=4)
    made, truth = made_of(image), made_of(image, sun)
    # The light of the scene was made with other differences than those of the features.
    inner = np.s_[8:-8, 8:-8]
    lit = truth["sun_cosine"][inner]
    np.testing.assert_allclose(np.maximum(lit, 0), cosine[inner], atol=0.03)
    assert np.corrcoef(made["sun_cosine"][inner].ravel(), lit.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("azimuth_deg", [20, 160, 250])
def test_brightness_without_the_sun_does_not_know_the_slope(azimuth_deg):
    sun = sun_of(azimuth_deg, 55)
    image, _ = lit_scene(sun, noise=0.2)
    made = made_of(image, sun)
    cosine = made["sun_cosine"].ravel()
    for name, band in zip(LIT, (3, 7, 10), strict=True):
        before = np.corrcoef(cosine, np.log(image[band]).ravel())[0, 1]
        after = np.corrcoef(cosine, np.log(made[name]).ravel())[0, 1]
        assert before > 0.45, name
        assert abs(after) < 0.06, name


def test_the_level_of_a_tile_stays():
    image, _ = lit_scene(sun_of(160, 45))
    made = made_of(image, sun_of(160, 45))
    for name, band in zip(LIT[1:], (7, 10), strict=True):
        before, after = np.log(1e-4 * image[band]).mean(), np.log(made[name]).mean()
        assert after == pytest.approx(before, abs=1e-3)
    flat = ground(np.full((20, 20), 300.0))
    flat[7] = np.arange(400).reshape(20, 20)
    np.testing.assert_allclose(
        made_of(flat, sun_of(160, 45))["b8_without_sun"], 1e-4 * flat[7], rtol=1e-6
    )


def test_the_same_ground_looks_the_same_on_both_sides_of_a_ridge():
    sun = sun_of(90, 45)
    image, cosine = lit_scene(sun, noise=0)
    made = made_of(image, sun)
    bright, shady = cosine > 0.85, (cosine > 0.3) & (cosine < 0.5)
    before = image[7][bright].mean() / image[7][shady].mean()
    after = made["b8_without_sun"][bright].mean() / made["b8_without_sun"][shady].mean()
    assert before > 1.5
    assert after == pytest.approx(1, abs=0.15)


def test_gain_is_least_squares_and_falls_back_where_slopes_are_gentle():
    rng = np.random.default_rng(0)
    cosine = rng.uniform(0.2, 1, 5000).astype(np.float32)
    log = (0.9 * cosine - 2).astype(np.float32)
    assert light.gain(log, cosine, 1.0) == pytest.approx(0.9, abs=0.02)
    flat = np.full(5000, 0.7, np.float32)
    assert light.gain(log, flat, 1.25) == pytest.approx(1.25, abs=1e-3)
    assert light.gain(-log, cosine, 1.0) == 0
    assert light.gain(20 * log, cosine, 1.0) == light.HIGHEST_GAIN
    assert light.gain(log[:1], cosine[:1], 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("azimuth_deg", [0, 30, 90, 135, 200, 270, 345])
def test_cosine_on_a_plane_is_that_of_the_angle(azimuth_deg):
    east, north = metres(40)
    sun = sun_of(azimuth_deg, 40)
    made = made_of(ground(1000 - 0.5 * east - 0.25 * north), sun)
    normal = np.array([0.5, 0.25, 1]) / np.sqrt(1 + 0.25 + 0.0625)
    np.testing.assert_allclose(made["sun_cosine"], normal @ sun, atol=1e-3)
    # The ground rises to the southwest: there it is its own horizon.
    rise = max(-(0.5 * sun[0] + 0.25 * sun[1]) / np.hypot(sun[0], sun[1]), 0)
    np.testing.assert_allclose(
        made["sunward_horizon_30_deg"], np.degrees(np.arctan(rise)), atol=0.05
    )


def test_sky_view_of_a_plane_and_of_a_bowl():
    east, north = metres(80)
    assert (made_of(ground(np.full((30, 30), 500.0)))["sky_view_30"] == 1).all()
    slope = 0.5
    made = made_of(ground(1000 + slope * east))["sky_view_30"]
    sines = [r / np.sqrt(1 + r * r) for r in (slope, slope / np.sqrt(2), slope / np.sqrt(2))]
    np.testing.assert_allclose(made, 1 - sum(sines) / 8, atol=1e-4)
    bowl = made_of(ground(1000 + np.hypot(east, north)))["sky_view_30"]
    # 45° all round, seen from where smoothing has raised the tip: by the mean distance under it.
    rise = 1 - SIGMA_PX * np.sqrt(np.pi / 2) / 30
    assert bowl[40, 40] == pytest.approx(1 - rise / np.sqrt(1 + rise**2), abs=2e-3)
    peak = made_of(ground(1000 - np.hypot(east, north)))["sky_view_30"]
    assert peak[40, 40] == 1


def test_kernels_are_plain_searches_of_the_horizon():
    from scipy.ndimage import map_coordinates

    reach = 9
    z = scene(40, 40, seed=3)[DEM]
    view = flow_kernels.sky_view(z, 10.0, reach)
    east, north = np.sin(2.2), np.cos(2.2)
    rise = flow_kernels.horizon_towards(z, 10.0, east, north, reach)
    rng = np.random.default_rng(0)
    for i, j in rng.integers(0, 40 - 2 * (reach + 1), (25, 2)):
        sines = []
        for di, dj in zip(flow_kernels.ROW, flow_kernels.COLUMN, strict=True):
            away, tangent = np.hypot(di, dj), 0.0
            for step in range(1, reach + 1):
                if step * away <= reach:
                    there = z[i + reach + step * di, j + reach + step * dj]
                    tangent = max(tangent, (there - z[i + reach, j + reach]) / (10 * step * away))
            sines.append(np.sin(np.arctan(tangent)))
        assert view[i, j] == pytest.approx(1 - np.mean(sines), abs=1e-5)
        steps = np.arange(1, reach + 1)
        at = [i + reach + 1 - north * steps, j + reach + 1 + east * steps]
        there = map_coordinates(z.astype(float), at, order=1)
        expected = max(0, ((there - z[i + reach + 1, j + reach + 1]) / (10 * steps)).max())
        assert rise[i, j] == pytest.approx(expected, abs=1e-4)


def test_a_wall_hides_the_sun_from_one_side_only():
    from scipy.stats import norm

    east, _ = metres(90)
    image = ground(np.where(np.abs(east) < 60, 1100.0, 1000.0))
    west, behind = (made_of(image, sun_of(azimuth, 40)) for azimuth in (90, 270))
    row, column = 45, 24
    # The wall is 100 m high and begins 15.5 px to the east; smoothing makes it a slope.
    away = np.arange(1, 31)
    rise = 100 * norm.cdf((away - 15.5) / SIGMA_PX) / (10 * away)
    expected = np.degrees(np.arctan(rise.max()))
    assert west["sunward_horizon_30_deg"][row, column] == pytest.approx(expected, abs=0.1)
    assert behind["sunward_horizon_30_deg"][row, column] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_light_turns_with_the_picture_and_the_sun(quarters, flip):
    def turn(picture):
        picture = picture[..., ::-1] if flip else picture
        return np.ascontiguousarray(np.rot90(picture, quarters, (-2, -1)))

    east, north, up = sun_of(130, 45)
    toward = (-east if flip else east) + 1j * north
    toward *= 1j**quarters  # rot90 turns against the clock
    image = scene(44, 50, seed=7)
    plain = made_of(image, (east, north, up))
    turned = made_of(turn(image), (toward.real, toward.imag, up))
    for name, picture in plain.items():
        np.testing.assert_allclose(turned[name], turn(picture), rtol=2e-4, atol=2e-3, err_msg=name)


def test_elevation_above_the_sea_does_not_matter():
    image, sun = scene(40, 40), sun_of(130, 45)
    low = made_of(image, sun)
    image[DEM] += 2500
    for name, picture in made_of(image, sun).items():
        np.testing.assert_allclose(picture, low[name], rtol=1e-4, atol=5e-3, err_msg=name)


def test_what_lies_beyond_the_support_changes_nothing():
    size = 2 * REACH + 7
    image, sun = scene(size, size, seed=4), sun_of(200, 35)
    before = made_of(image, sun, REACH + 1)
    far = image.copy()
    far[:, 0], far[:, -1], far[:, :, 0], far[:, :, -1] = 9000, 0, 4000, 2
    for name, after in made_of(far, sun, REACH + 1).items():
        np.testing.assert_array_equal(after, before[name], err_msg=name)


@pytest.mark.parametrize("sun", [None, (0, 0, 1), sun_of(180, 30), (1.0, 0.0, 0.0)])
def test_any_input_is_finite(sun):
    rng = np.random.default_rng(1)
    for image in (
        rng.uniform(-2e4, 2e4, (14, 9, 9)),
        np.full((14, 1, 1), 1e30),
        np.zeros((14, 8, 8)),
        rng.integers(0, 65536, (14, 3, 30)),
    ):
        for name, picture in made_of(image.astype(np.float32), sun).items():
            assert picture.dtype == np.float32
            assert np.isfinite(picture).all(), name


def test_without_a_side_there_is_no_sunward_horizon():
    made = made_of(scene(20, 20), (0.0, 0.0, 1.0))
    assert (made["sunward_horizon_30_deg"] == 0).all()
