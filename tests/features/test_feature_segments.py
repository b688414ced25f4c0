"""Segments and their statistics, against scipy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, compute, context_of, plan_of, scene
from scipy import ndimage
from skimage.measure import regionprops

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.segments import MARGIN_PX, Segments


def segments_of(image: np.ndarray, sensor=RGB, margin: int = MARGIN_PX) -> Segments:
    return Segments(context_of(image, sensor, margin))


def test_means_and_deviations_are_those_of_scipy():
    made = segments_of(scene(120, 130, RGB))
    values = made.context.field("gli")[made.near].astype(np.float64)
    index = np.arange(len(made.pixels))
    assert len(index) > 10
    np.testing.assert_allclose(made.mean("gli"), ndimage.mean(values, made.labels, index))
    deviation = ndimage.standard_deviation(values, made.labels, index)
    np.testing.assert_allclose(made.deviation("gli"), deviation, atol=1e-9)


def test_shapes_are_those_of_scikit_image():
    made = segments_of(scene(120, 130, RGB, seed=3))
    regions = regionprops(made.labels + 1)
    variances = [np.asarray(r.inertia_tensor_eigvals) + 1 / 12 for r in regions]
    elongation = [1 - np.sqrt(v.min() / v.max()) for v in variances]
    np.testing.assert_allclose(made.elongation(), elongation, atol=1e-6)
    area = [np.log10(r.area * RGB.pixel_m**2) for r in regions]
    np.testing.assert_allclose(made.area(), area)


def test_compactness_of_a_square_is_one():
    made = segments_of(scene(40, 40, RGB), margin=0)
    made.labels = np.kron(np.arange(16).reshape(4, 4), np.ones((10, 10), np.intp))
    np.testing.assert_allclose(made.compactness(), 1)


@pytest.mark.parametrize("sensor", [L4S, RGB])
def test_a_bright_square_is_a_segment_that_differs_from_those_around(sensor):
    image = scene(100, 100, sensor)
    light = [sensor.band_names.index(b) for b in sensor.spectral]
    image[light] = 800.0
    image[light, 40:60, 40:60] = 2400.0
    plan = plan_of(sensor)
    plan = plan.only([f.name for f in plan.features if f.group == "segments"])
    made = dict(zip(plan.names, compute(image, sensor, plan, margin=MARGIN_PX), strict=True))
    inside, outside = (slice(12, 24), slice(12, 24)), (slice(0, 5), slice(0, 5))
    for feature in plan.features:
        if "minus" in feature.name and feature.expected > 0 and "bright" in feature.name:
            contrast = made[feature.name]
            assert contrast[inside].min() > 0.01 > 0 >= contrast[outside].max(), feature.name
    # Smoothing makes the edge of the square a segment of its own.
    area_m2 = 10 ** made["segment_area_log10_m2"][inside]
    assert (area_m2 == area_m2[0, 0]).all()
    assert 15**2 <= area_m2[0, 0] / sensor.pixel_m**2 <= 20**2


def test_a_tile_gives_the_same_segments_whatever_lies_beyond_the_margin():
    near, far = scene(160, 160, RGB, seed=1), scene(160, 160, RGB, seed=2)
    far[:, 16:-16, 16:-16] = near[:, 16:-16, 16:-16]
    plan = plan_of(RGB)
    plan = plan.only([f.name for f in plan.features if f.by_tile])
    margin = 16 + MARGIN_PX
    one, other = (compute(image, RGB, plan, margin=margin) for image in (near, far))
    np.testing.assert_array_equal(one, other)
