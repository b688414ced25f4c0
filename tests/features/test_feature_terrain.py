from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_world import plan_of, scene
from scipy import ndimage

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import Canvas, continued
from l4s_ensemble.features.registry import all_fields
from l4s_ensemble.features.terrain import SIGMA_PX

DEM = L4S.band_names.index("dem")
SLOPE = L4S.band_names.index("slope")


GDAL = Path(__file__).parent / "gdal"
SURFACES = ("hill", "rough", "metres")
INNER = (slice(8, -8), slice(8, -8))
"""Pixels of the GDAL surfaces whose smoothing does not reach the edge."""


def picture(dem: np.ndarray) -> np.ndarray:
    image = np.full((14, *dem.shape), 1000, np.float32)
    image[SLOPE] = 20
    image[DEM] = dem
    return image


def terrain(dem: np.ndarray) -> dict[str, np.ndarray]:
    image = picture(dem)
    plan = plan_of(L4S)
    plan = plan.only([f.name for f in plan.features if f.group == "terrain"])
    return dict(zip(plan.names, compute(image, L4S, plan), strict=True))


def metres(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """East and north of each pixel's centre from the middle of the picture, metres."""
    row, column = np.mgrid[:size, :size].astype(float)
    return 10 * (column - size // 2), -10 * (row - size // 2)


@pytest.mark.parametrize("azimuth_deg", [0, 45, 90, 160, 225, 300])
@pytest.mark.parametrize("slope_deg", [5, 26.565, 45])
def test_a_plane_keeps_slope_and_aspect_up_to_its_edge(azimuth_deg, slope_deg):
    east, north = metres()
    down = np.radians(azimuth_deg)  # the ground falls towards this azimuth
    rise = np.tan(np.radians(slope_deg))
    made = terrain(2000 - rise * (east * np.sin(down) + north * np.cos(down)))
    steep = np.sin(np.radians(slope_deg))
    np.testing.assert_allclose(made["slope_dem_deg"], slope_deg, atol=0.02)
    np.testing.assert_allclose(made["northness"], np.cos(down) * steep, atol=1e-3)
    np.testing.assert_allclose(made["eastness"], np.sin(down) * steep, atol=1e-3)
    for name in ("curv_profile_per_km", "curv_tangential_per_km", "curv_mean_per_km"):
        np.testing.assert_allclose(made[name], 0, atol=0.2)  # float32 metres
    for name in ("tpi_7_m", "tpi_21_m", "tpi_61_m"):
        np.testing.assert_allclose(made[name], 0, atol=2e-2)
    np.testing.assert_allclose(made["ruggedness_9"], 0, atol=1e-5)


def test_a_dome_has_the_curvature_of_its_formula():
    east, north = metres()
    a = 5e-4  # z = −a (x² + y²): second derivatives −2a, rise 2 a r
    distance2 = east**2 + north**2
    made = terrain(1500 - a * distance2)
    rise2 = 4 * a * a * distance2
    inner = (slice(16, 48), slice(16, 48))
    away = np.s_[rise2[inner] > 1e-3]
    profile = 1000 * 2 * a / (1 + rise2) ** 1.5
    tangential = 1000 * 2 * a / np.sqrt(1 + rise2)
    plan = 1000 / np.sqrt(np.maximum(distance2, 1))  # contours are circles
    for name, expected in (
        ("curv_profile_per_km", profile),
        ("curv_tangential_per_km", tangential),
        ("curv_plan_per_km", plan),
    ):
        np.testing.assert_allclose(
            made[name][inner][away], expected[inner][away], rtol=0.03, err_msg=name
        )
    np.testing.assert_allclose(made["curv_mean_per_km"][inner], 1000 * 2 * a, rtol=0.03)


@pytest.fixture(params=SURFACES)
def gdal(request):
    """What GDAL made of a surface, and our features and canvas of it."""
    arrays = dict(np.load(GDAL / f"{request.param}.npz"))
    image = continued(picture(arrays["dem_m"]), L4S, 16)
    return arrays, terrain(arrays["dem_m"]), Canvas(image, L4S, 16, all_fields())


def test_slope_is_the_one_of_gdal(gdal):
    arrays, made, _ = gdal
    ours, horn = made["slope_dem_deg"][INNER], arrays["slope_horn_deg"][INNER]
    np.testing.assert_allclose(ours, horn, atol=0.01)  # float32 metres of GDAL's input
    # The other formula of GDAL reads fewer neighbours: alike, not the same.
    assert np.abs(ours - arrays["slope_zt_deg"][INNER]).mean() < 0.3


def test_aspect_is_the_one_of_gdal(gdal):
    arrays, made, _ = gdal
    steep = np.sin(np.radians(arrays["slope_horn_deg"][INNER]))
    faces = np.radians(arrays["aspect_horn_deg"][INNER])
    np.testing.assert_allclose(made["northness"][INNER], np.cos(faces) * steep, atol=2e-4)
    np.testing.assert_allclose(made["eastness"][INNER], np.sin(faces) * steep, atol=2e-4)
    ours = np.arctan2(made["eastness"][INNER], made["northness"][INNER])
    other = np.radians(arrays["aspect_zt_deg"][INNER])
    apart = np.degrees(np.abs(np.angle(np.exp(1j * (ours - other)))))
    assert np.median(apart) < 1.5


def test_the_surface_normal_shades_as_gdal_does(gdal):
    arrays, _, canvas = gdal
    azimuth, altitude = np.radians(315), np.radians(45)
    towards = (
        np.sin(azimuth) * np.cos(altitude),
        np.cos(azimuth) * np.cos(altitude),
        np.sin(altitude),
    )
    normal = [canvas.value(n)[INNER] for n in ("eastness", "northness", "normal_up")]
    lit = sum(a * b for a, b in zip(towards, normal, strict=True))
    shade = 1 + 254 * np.clip(lit, 0, None)
    np.testing.assert_allclose(shade, arrays["hillshade"][INNER], atol=1.01)  # whole numbers


def test_windows_of_three_pixels_give_position_ruggedness_roughness_of_gdal(gdal):
    arrays, _, canvas = gdal
    height = canvas.value("dem_smooth")[INNER].astype(float)
    mean = canvas.mean("dem_smooth", 3)[INNER].astype(float)
    spread = canvas.deviation("dem_smooth", 3)[INNER].astype(float)
    position = (height - mean) * 9 / 8  # GDAL leaves the pixel itself out of the mean
    np.testing.assert_allclose(position, arrays["tpi_m"][INNER], atol=2e-3)
    riley = np.sqrt(9 * (spread**2 + (mean - height) ** 2))
    np.testing.assert_allclose(riley, arrays["tri_riley_m"][INNER], rtol=1e-3, atol=0.02)
    relief = canvas.highest("dem_smooth", 3) - canvas.lowest("dem_smooth", 3)
    np.testing.assert_allclose(relief[INNER], arrays["roughness_m"][INNER], atol=2e-3)


def curvatures(p, q, r, s, t) -> dict[str, np.ndarray]:
    """Textbook curvatures of a surface from its derivatives, 1/km, convex positive."""
    rise2 = p**2 + q**2
    along, across = p * p * r + 2 * p * q * s + q * q * t, q * q * r - 2 * p * q * s + p * p * t
    rise2 = np.maximum(rise2, 1e-12)
    made = {
        "curv_profile_per_km": -along / (rise2 * (1 + rise2) ** 1.5),
        "curv_tangential_per_km": -across / (rise2 * np.sqrt(1 + rise2)),
        "curv_plan_per_km": np.clip(-across / rise2**1.5, -0.2, 0.2),
        "curv_mean_per_km": np.broadcast_to(-0.5 * (r + t), p.shape),
    }
    return {name: 1000 * value for name, value in made.items()}


def test_a_sphere_has_one_curvature_in_both_directions():
    east, north = metres()
    radius = 1200.0
    up = np.sqrt(radius**2 - east**2 - north**2)
    made = terrain(1000 + up)
    inner = (slice(10, 54), slice(10, 54))
    away = np.hypot(east, north)[inner] > 60
    for name in ("curv_profile_per_km", "curv_tangential_per_km"):
        np.testing.assert_allclose(made[name][inner][away], 1000 / radius, rtol=0.03, err_msg=name)
    contour = 1000 / np.hypot(east, north)[inner][away]
    np.testing.assert_allclose(made["curv_plan_per_km"][inner][away], contour, rtol=0.03)


@pytest.mark.parametrize(("a", "b"), [(-4e-4, -1e-3), (6e-4, 6e-4), (5e-4, -5e-4), (3e-4, -9e-4)])
@pytest.mark.parametrize("twist", [0.0, 5e-4])
def test_bowls_domes_and_saddles_have_the_curvatures_of_their_formula(a, b, twist):
    east, north = metres()
    made = terrain(1500 + a * east**2 + b * north**2 + twist * east * north)
    p, q = 2 * a * east + twist * north, 2 * b * north + twist * east
    inner = (slice(10, 54), slice(10, 54))
    away = np.hypot(p, q)[inner] > 0.05
    for name, expected in curvatures(p, q, 2 * a, twist, 2 * b).items():
        limit = 0.04 if name != "curv_plan_per_km" else 0.4  # float32 metres, small rise
        np.testing.assert_allclose(
            made[name][inner][away], expected[inner][away], rtol=0.02, atol=limit, err_msg=name
        )


def test_convex_is_positive_and_a_pit_the_mirror_of_a_dome():
    east, north = metres()
    dome, pit = (terrain(1500 + s * 4e-4 * (east**2 + north**2)) for s in (-1, 1))
    inner = (slice(20, 44), slice(20, 44))
    for name in ("curv_mean_per_km", "tpi_7_m", "tpi_21_m"):
        assert (dome[name][inner] > 0).all()
        np.testing.assert_allclose(dome[name][inner], -pit[name][inner], atol=0.15)


def test_a_gutter_is_concave_across_and_straight_along():
    east, north = metres()
    made = terrain(1500 + 0.4 * north + 6e-4 * east**2)
    axis = (slice(20, 44), 32)
    assert (made["curv_tangential_per_km"][axis] < -0.8).all()
    np.testing.assert_allclose(made["curv_profile_per_km"][axis], 0, atol=0.05)


def test_position_and_relief_are_windows_of_the_smoothed_elevation():
    dem = scene(96, 96)[DEM]
    made = terrain(dem)
    smooth = ndimage.gaussian_filter(dem.astype(float), SIGMA_PX)
    inner = (slice(40, 56), slice(40, 56))
    for edge in (7, 21, 61):
        expected = smooth - ndimage.uniform_filter(smooth, edge)
        np.testing.assert_allclose(made[f"tpi_{edge}_m"][inner], expected[inner], atol=2e-3)
    for edge in (9, 33):
        expected = ndimage.maximum_filter(smooth, edge) - ndimage.minimum_filter(smooth, edge)
        np.testing.assert_allclose(made[f"relief_{edge}_m"][inner], expected[inner], atol=2e-3)
    low, high = ndimage.minimum_filter(smooth, 65), ndimage.maximum_filter(smooth, 65)
    np.testing.assert_allclose(made["above_low_65_m"][inner], (smooth - low)[inner], atol=2e-3)
    np.testing.assert_allclose(
        made["relative_height_65"][inner], ((smooth - low) / (high - low))[inner], atol=1e-4
    )


def test_steps_of_whole_metres_do_not_make_curvature():
    east, north = metres()
    plane = 1500 + 0.23 * east + 0.11 * north
    rough = np.abs(np.diff(np.rint(plane), 2, axis=1)).max() / 100 * 1000
    made = terrain(np.rint(plane))
    assert rough >= 10
    assert np.abs(made["curv_mean_per_km"][12:-12, 12:-12]).max() < 0.1 * rough
    np.testing.assert_allclose(
        made["slope_dem_deg"][12:-12, 12:-12],
        np.degrees(np.arctan(np.hypot(0.23, 0.11))),
        atol=0.5,
    )


def test_elevation_above_the_sea_does_not_matter():
    dem = scene(48, 48)[DEM]
    low, high = terrain(dem), terrain(dem + 2000)
    for name in low:
        np.testing.assert_allclose(low[name], high[name], atol=0.05, rtol=1e-3, err_msg=name)


def test_given_slope_passes_through():
    assert (terrain(np.full((16, 16), 700.0))["slope_deg"] == 20).all()


def test_slope_agrees_with_the_given_one_on_real_tiles(real_data):
    import h5py

    with h5py.File(real_data / "l4s-14band" / "TrainData" / "img" / "image_1.h5") as file:
        stored = file["img"][:]
    image = np.rint(stored * L4S.stored_to_count).transpose(2, 0, 1).astype(np.float32)
    made = compute(image, L4S, plan_of(L4S).only(["slope_dem_deg", "slope_deg"]))
    assert np.corrcoef(made[0].ravel(), made[1].ravel())[0, 1] > 0.85
    assert abs(np.median(made[0]) - np.median(made[1])) < 2
