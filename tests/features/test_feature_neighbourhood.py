from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, context_of, continued, light, scene
from scipy import ndimage

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features import neighbourhood
from l4s_ensemble.features.kernels import summed_area, window_deviation
from l4s_ensemble.features.neighbourhood import (
    COHERENCE,
    CONTRAST,
    DEVIATION,
    DOG,
    ENERGY,
    FINENESS,
    GRADIENT,
    HIGHEST,
    LOWEST,
    MEAN,
    RING,
    ROUGHNESS,
    VARIATION,
    Operator,
)
from l4s_ensemble.features.registry import all_fields
from l4s_ensemble.features.tile_context import TileContext

MARGIN = 40
CORE = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


@pytest.fixture(scope="module")
def context() -> TileContext:
    return context_of(scene(120, 112), margin=MARGIN)


def make(context: TileContext, operator: Operator, field: str, *scales: int) -> np.ndarray:
    return neighbourhood.function(all_fields()[field], operator, scales).image(context)


def scipy_windows(wide: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in double precision."""
    mean = ndimage.uniform_filter(wide, edge)
    return mean, np.sqrt(np.maximum(ndimage.uniform_filter(wide**2, edge) - mean**2, 0))


@pytest.mark.parametrize("field", ["ndvi", "bright", "slope"])
@pytest.mark.parametrize("edge", [3, 9, 33, 65])
def test_windows_are_those_of_scipy(context, field, edge):
    wide = context.field(field).astype(float)
    mean, deviation = scipy_windows(wide, edge)
    near = {"rtol": 1e-4, "atol": 5e-6 * max(1, np.abs(wide).max())}
    np.testing.assert_allclose(make(context, MEAN, field, edge), mean[CORE], **near)
    np.testing.assert_allclose(make(context, DEVIATION, field, edge), deviation[CORE], **near)
    np.testing.assert_allclose(make(context, CONTRAST, field, edge), (wide - mean)[CORE], **near)
    for operator, choose in ((LOWEST, ndimage.minimum_filter), (HIGHEST, ndimage.maximum_filter)):
        np.testing.assert_array_equal(
            make(context, operator, field, edge), choose(context.field(field), edge)[CORE]
        )


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_gaussians_are_those_of_scipy(context, sigma):
    wide = context.field("ndvi").astype(float)
    one = ndimage.gaussian_filter(wide, sigma)
    two = ndimage.gaussian_filter(wide, 2 * sigma)
    np.testing.assert_allclose(make(context, DOG, "ndvi", sigma), (one - two)[CORE], atol=2e-6)
    down, right = np.gradient(one)
    np.testing.assert_allclose(
        make(context, GRADIENT, "ndvi", sigma), np.hypot(down, right)[CORE], atol=2e-6
    )


def test_grain_and_rings_are_those_of_scipy(context):
    bright = context.field("bright").astype(float)
    (mean5, std5), (_, std33) = (scipy_windows(bright, edge) for edge in (5, 33))
    near = {"rtol": 1e-3, "atol": 2e-5}
    np.testing.assert_allclose(make(context, VARIATION, "bright", 5), (std5 / mean5)[CORE], **near)
    np.testing.assert_allclose(
        make(context, FINENESS, "bright", 5, 33), (std5 / std33)[CORE], **near
    )
    footprint = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    steps = ndimage.generic_filter(
        bright[:60, :60],
        lambda v: np.abs(v[[0, 1, 3, 4]] - v[2]).mean(),
        footprint=footprint | np.eye(3, dtype=bool)[1] * np.eye(3, dtype=bool)[:, 1:2],
    )
    rough = ndimage.uniform_filter(steps, 5)[MARGIN:50, MARGIN:50]
    np.testing.assert_allclose(make(context, ROUGHNESS, "bright", 5)[:10, :10], rough, **near)
    ring = np.ones((65, 65))
    ring[24:41, 24:41] = 0
    y, x = 45, 50
    around = bright[y - 32 : y + 33, x - 32 : x + 33]
    expected = bright[y, x] - (around * ring).sum() / ring.sum()
    made = make(context, RING, "bright", 17, 65)[y - MARGIN, x - MARGIN]
    assert made == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("sigma", [2, 8])
def test_energy_and_coherence_are_those_of_the_eigenvalues(sigma):
    context = context_of(scene(120, 112), margin=MARGIN)
    down, right = np.gradient(ndimage.gaussian_filter(context.field("bright").astype(float), 1))
    rr, rc, cc = (
        ndimage.gaussian_filter(p, sigma) for p in (down * down, down * right, right * right)
    )
    pairs = np.stack([rr, rc, rc, cc], -1).reshape(*rr.shape, 2, 2)
    low, high = np.moveaxis(np.linalg.eigvalsh(pairs)[CORE], -1, 0)
    made = make(context, COHERENCE, "bright", sigma)
    np.testing.assert_allclose(made, (high - low) / (high + low), atol=2e-4)
    np.testing.assert_allclose(
        make(context, ENERGY, "bright", sigma), np.sqrt(low + high), rtol=1e-3, atol=1e-6
    )


def test_elevation_goes_on_as_a_plane_and_light_stays_light():
    image = scene(24, 24)
    row, column = np.mgrid[:24, :24]
    dem = L4S.band_names.index("dem")
    image[dem] = 900 + 3 * row - 2 * column
    wide = continued(image, L4S, 20)
    row, column = np.mgrid[-20:44, -20:44]
    np.testing.assert_allclose(wide[dem], 900 + 3 * row - 2 * column, atol=1e-3)
    spectral = [i for i in range(14) if i != dem]
    for i in spectral:
        assert wide[i].min() == image[i].min() and wide[i].max() == image[i].max()


@pytest.mark.parametrize("value", [0.0, 99.9, -0.3])
def test_deviation_of_a_constant_is_zero(value):
    sums, squares = summed_area(np.full((80, 80), value, np.float32))
    assert (window_deviation(sums, squares, 35, 35, 8, 8, 32) == 0).all()


def test_deviation_of_the_smallest_steps_on_a_high_level(rng):
    """Steps of one DN on the brightest ground there is."""
    image = (6.5 + 1e-4 * rng.integers(0, 2, size=(64, 64))).astype(np.float32)
    sums, squares = summed_area(image)
    made = window_deviation(sums, squares, 8, 8, 48, 48, 2)
    expected = ndimage.generic_filter(image.astype(float), np.std, 5)[8:56, 8:56]
    np.testing.assert_allclose(made, expected, atol=5e-6)


def test_true_colour_and_full_sensor_agree_on_colour():
    image = scene(40, 40)
    colour = image[[L4S.band_names.index(b) for b in RGB.band_names]]
    full = context_of(image, margin=8)
    three = context_of(colour, RGB, 8)
    np.testing.assert_allclose(full.field("gli"), three.field("gli"), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(light(RGB, colour)["B4"] / 10, light(L4S, image)["B4"])
