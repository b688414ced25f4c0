from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, light, scene
from scipy import ndimage

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features import context
from l4s_ensemble.features.canvas import (
    Canvas,
    continued,
    gaussian_radius,
    gaussian_weights,
    pad_mirror,
    pad_odd,
)  # fmt: skip
from l4s_ensemble.features.kernels import smooth, summed_area, window_deviation, window_mean
from l4s_ensemble.features.registry import all_fields

MARGIN = 40
CORE = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    return Canvas(scene(120, 112), L4S, MARGIN, all_fields())


def make(canvas: Canvas, operator: str, field: str, scale: float) -> np.ndarray:
    return context.recipe(operator, all_fields()[field], scale).image(canvas)


@pytest.mark.parametrize("field", ["ndvi", "bright", "slope"])
@pytest.mark.parametrize("edge", [3, 5, 9, 17, 33, 65])
def test_windows_are_those_of_scipy(canvas, field, edge):
    wide = canvas.field(field).astype(float)
    mean = ndimage.uniform_filter(wide, edge)
    square = ndimage.uniform_filter(wide**2, edge)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    scale = np.abs(wide).max()
    near = {"rtol": 1e-4, "atol": 1e-6 * scale}
    np.testing.assert_allclose(make(canvas, "mean", field, edge), mean[CORE], **near)
    np.testing.assert_allclose(make(canvas, "deviation", field, edge), deviation[CORE], **near)
    np.testing.assert_allclose(make(canvas, "contrast", field, edge), (wide - mean)[CORE], **near)
    np.testing.assert_array_equal(
        make(canvas, "lowest", field, edge),
        ndimage.minimum_filter(canvas.field(field), edge)[CORE],
    )
    np.testing.assert_array_equal(
        make(canvas, "highest", field, edge),
        ndimage.maximum_filter(canvas.field(field), edge)[CORE],
    )


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_gaussians_are_those_of_scipy(canvas, sigma):
    wide = canvas.field("ndvi").astype(float)
    one = ndimage.gaussian_filter(wide, sigma)
    two = ndimage.gaussian_filter(wide, 2 * sigma)
    np.testing.assert_allclose(make(canvas, "dog", "ndvi", sigma), (one - two)[CORE], atol=2e-6)
    down, right = np.gradient(one)
    np.testing.assert_allclose(
        make(canvas, "gradient", "ndvi", sigma), np.hypot(down, right)[CORE], atol=2e-6
    )


def test_a_field_and_an_operator_are_made_once(canvas):
    assert canvas.field("ndvi") is canvas.field("ndvi")
    assert canvas.mean("ndvi", 9) is canvas.mean("ndvi", 9)


def test_reach_is_declared():
    fields = all_fields()
    assert context.recipe("mean", fields["ndvi"], 65).feature.support_px == 32
    assert context.recipe("dog", fields["ndvi"], 2).feature.support_px == gaussian_radius(4)
    assert context.recipe("gradient", fields["ndvi"], 2).feature.support_px == 9


@pytest.mark.parametrize("shape", [(5, 7), (2, 31), (1, 4), (1, 1)])
@pytest.mark.parametrize("width", [0, 1, 4, 40])
def test_padding_is_that_of_numpy(rng, shape, width):
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    pads = ((0, 0), (width, width), (width, width))
    np.testing.assert_allclose(
        pad_odd(image, width), np.pad(image, pads, mode="reflect", reflect_type="odd")
    )
    np.testing.assert_array_equal(pad_mirror(image, width), np.pad(image, pads, mode="symmetric"))


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


@pytest.mark.parametrize("kernel", [summed_area, smooth, window_mean, window_deviation])
def test_compiled_kernels_say_the_same_in_plain_python(rng, kernel):
    image = rng.normal(2, 1, size=(13, 12)).astype(np.float32)
    sums, squares = summed_area(image)
    given = {
        summed_area: (image,),
        smooth: (image, gaussian_weights(1.0)),
        window_mean: (sums, 3, 4, 6, 5, 2),
        window_deviation: (sums, squares, 3, 4, 6, 5, 2),
    }[kernel]
    np.testing.assert_allclose(kernel(*given), kernel.py_func(*given), rtol=1e-4)


def test_deviation_of_a_constant_is_zero_even_when_large():
    image = np.full((30, 30), 3456.789, np.float32)
    sums, squares = summed_area(image)
    assert (window_deviation(sums, squares, 10, 10, 8, 8, 8) == 0).all()


def test_deviation_of_tiny_steps_on_a_high_level(rng):
    image = (3000 + rng.integers(0, 2, size=(64, 64))).astype(np.float32)
    sums, squares = summed_area(image)
    made = window_deviation(sums, squares, 8, 8, 48, 48, 2)
    expected = ndimage.generic_filter(image.astype(float), np.std, 5)[8:56, 8:56]
    np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-4)


def test_true_colour_and_full_sensor_agree_on_colour():
    image = scene(40, 40)
    colour = image[[L4S.band_names.index(b) for b in RGB.band_names]]
    full = Canvas(image, L4S, 8, all_fields())
    three = Canvas(colour, RGB, 8, all_fields())
    np.testing.assert_allclose(full.field("gli"), three.field("gli"), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(light(RGB, colour)["B4"] / 10, light(L4S, image)["B4"])
