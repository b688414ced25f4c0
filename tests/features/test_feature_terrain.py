from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_world import compute, context_of, continued, plan_of, scene
from scipy import ndimage

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.terrain import SIGMA_PX
from l4s_ensemble.features.tile_context import TileContext

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


@pytest.mark.parametrize("azimuth_deg", [0, 45, 160, 300])
@pytest.mark.parametrize("slope_deg", [5, 45])
def test_a_plane_is_neither_curved_nor_a_ridge_up_to_its_edge(azimuth_deg, slope_deg):
    east, north = metres()
    down = np.radians(azimuth_deg)  # the ground falls towards this azimuth
    rise = np.tan(np.radians(slope_deg))
    made = terrain(2000 - rise * (east * np.sin(down) + north * np.cos(down)))
    np.testing.assert_allclose(made["curv_profile_per_km"], 0, atol=0.2)  # float32 metres
    for name in ("tpi_7_m", "tpi_21_m"):
        np.testing.assert_allclose(made[name], 0, atol=2e-2)


@pytest.fixture(params=SURFACES)
def gdal(request):
    """What GDAL made of a surface, and our tile context of it."""
    arrays = dict(np.load(GDAL / f"{request.param}.npz"))
    image = continued(picture(arrays["dem_m"]), L4S, 16)
    return arrays, context_of(image, margin=16)


def rises(context: TileContext) -> tuple[np.ndarray, np.ndarray]:
    """Rise to the east and to the north of the smoothed elevation."""
    east, north = (context.gaussian(f"dem_{d}", SIGMA_PX)[INNER] for d in "pq")
    return east, north


def test_the_rise_is_slope_and_aspect_of_gdal(gdal):
    arrays, context = gdal
    east, north = rises(context)
    ours = np.degrees(np.arctan(np.hypot(east, north)))
    np.testing.assert_allclose(ours, arrays["slope_horn_deg"][INNER], atol=0.01)
    # The other formula of GDAL reads fewer neighbours: alike, not the same.
    assert np.abs(ours - arrays["slope_zt_deg"][INNER]).mean() < 0.3
    faces = np.degrees(np.arctan2(-east, -north))
    apart = (faces - arrays["aspect_horn_deg"][INNER] + 180) % 360 - 180
    assert np.median(np.abs(apart)) < 0.05


def test_windows_of_three_pixels_give_position_ruggedness_roughness_of_gdal(gdal):
    arrays, context = gdal
    height = context.value("dem_smooth")[INNER].astype(float)
    mean = context.mean("dem_smooth", 3)[INNER].astype(float)
    spread = context.deviation("dem_smooth", 3)[INNER].astype(float)
    position = (height - mean) * 9 / 8  # GDAL leaves the pixel itself out of the mean
    np.testing.assert_allclose(position, arrays["tpi_m"][INNER], atol=2e-3)
    riley = np.sqrt(9 * (spread**2 + (mean - height) ** 2))
    np.testing.assert_allclose(riley, arrays["tri_riley_m"][INNER], rtol=1e-3, atol=0.02)
    relief = context.highest("dem_smooth", 3) - context.lowest("dem_smooth", 3)
    np.testing.assert_allclose(relief[INNER], arrays["roughness_m"][INNER], atol=2e-3)


def curvatures(p, q, r, s, t) -> dict[str, np.ndarray]:
    """Textbook curvatures of a surface from its derivatives, 1/km, convex positive."""
    rise2 = p**2 + q**2
    along, across = p * p * r + 2 * p * q * s + q * q * t, q * q * r - 2 * p * q * s + p * p * t
    rise2 = np.maximum(rise2, 1e-12)
    made = {
        "curv_profile_per_km": -along / (rise2 * (1 + rise2) ** 1.5),
        "curv_plan_per_km": np.clip(-across / rise2**1.5, -0.2, 0.2),
    }
    return {name: 1000 * value for name, value in made.items()}


def test_a_sphere_has_the_curvature_of_its_radius():
    east, north = metres()
    radius = 1200.0
    made = terrain(1000 + np.sqrt(radius**2 - east**2 - north**2))
    inner = (slice(10, 54), slice(10, 54))
    away = np.hypot(east, north)[inner] > 60
    np.testing.assert_allclose(made["curv_profile_per_km"][inner][away], 1000 / radius, rtol=0.03)
    contour = 1000 / np.hypot(east, north)[inner][away]
    np.testing.assert_allclose(made["curv_plan_per_km"][inner][away], contour, rtol=0.03)


@pytest.mark.parametrize(
    ("a", "b"), [(-5e-4, -5e-4), (-4e-4, -1e-3), (6e-4, 6e-4), (5e-4, -5e-4), (3e-4, -9e-4)]
)
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
    for name in ("tpi_7_m", "tpi_21_m"):
        assert (dome[name][inner] > 0).all()
        np.testing.assert_allclose(dome[name][inner], -pit[name][inner], atol=0.15)


def test_position_is_a_window_of_the_smoothed_elevation():
    dem = scene(96, 96)[DEM]
    made = terrain(dem)
    smooth = ndimage.gaussian_filter(dem.astype(float), SIGMA_PX)
    inner = (slice(40, 56), slice(40, 56))
    for edge in (7, 21):
        expected = smooth - ndimage.uniform_filter(smooth, edge)
        np.testing.assert_allclose(made[f"tpi_{edge}_m"][inner], expected[inner], atol=2e-3)


def test_steps_of_whole_metres_do_not_make_curvature():
    east, north = metres()
    plane = 1500 + 0.23 * east + 0.11 * north
    rough = np.abs(np.diff(np.rint(plane), 2, axis=1)).max() / 100 * 1000
    made = terrain(np.rint(plane))
    assert rough >= 10
    assert np.abs(made["curv_profile_per_km"][12:-12, 12:-12]).max() < 0.2 * rough
