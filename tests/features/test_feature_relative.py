from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, scene
from scipy import ndimage, stats

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import Canvas
from l4s_ensemble.features.facts import measure, sample_tile
from l4s_ensemble.features.registry import all_fields, catalogue, select
from l4s_ensemble.features.relative import GENTLE, aspect_mean
from l4s_ensemble.features.relative_kernels import fast_median, normal_moments, order_statistic

MARGIN = 40
SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]


def plan_of(sensor):
    return select(sensor, FeaturesConfig(groups=("relative",)))


def make(canvas: Canvas, name: str) -> np.ndarray:
    return catalogue()[name].image(canvas)


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    return Canvas(scene(128, 124), L4S, MARGIN, all_fields())


def test_each_sensor_gets_what_it_can_have():
    rich, visible = plan_of(L4S).names, plan_of(RGB).names
    assert {"ndvi_scene_z", "slope_scene_rank", "bsi_minus_aspect_33"} <= set(rich)
    assert not any(n.startswith(("ri_", "gli_", "ikaw_")) for n in rich)
    assert {"ri_scene_z", "ikaw_scene_rank", "bright_minus_ring_17_65"} <= set(visible)
    assert not any("aspect" in n for n in visible)


@pytest.mark.parametrize("name", ["ndvi", "bsi", "bright", "ndmi"])
def test_z_is_that_of_scipy(canvas, name):
    value = canvas.value(name).astype(float)
    spread = stats.median_abs_deviation(value, axis=None, scale="normal")
    expected = np.clip((value - np.median(value)) / spread, -20, 20)
    np.testing.assert_allclose(make(canvas, f"{name}_scene_z"), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["ndvi", "bright", "slope"])
def test_rank_is_that_of_scipy_within_a_percent(canvas, name):
    value = canvas.value(name)
    expected = stats.percentileofscore(value.ravel(), value.ravel(), "strict") / 100
    made = make(canvas, f"{name}_scene_rank").ravel()
    assert np.abs(made - expected).max() <= 0.011
    assert made.min() >= 0 and made.max() <= 1


def test_z_and_rank_are_those_of_the_scene_where_it_is_known(canvas):
    other = Canvas(scene(128, 124, L4S, 7), L4S, MARGIN, all_fields())
    facts = measure([sample_tile(canvas), sample_tile(other)])
    known = Canvas(scene(128, 124), L4S, MARGIN, all_fields(), facts)
    value, usual = known.value("ndvi"), facts.field("ndvi")
    z = (value - usual.median) / usual.spread
    np.testing.assert_allclose(make(known, "ndvi_scene_z"), np.clip(z, -20, 20), rtol=1e-4)
    rank = make(known, "ndvi_scene_rank")
    distinct = np.diff(usual.quantiles) > 0
    assert distinct.all()
    expected = np.interp(value, usual.quantiles, np.linspace(0, 1, 101))
    np.testing.assert_allclose(rank, expected, atol=1e-4)


def test_ties_share_the_rank_of_the_lowest():
    image = np.full((3, 10, 10), 500, np.float32)
    image[:, :, 5:] = 900
    rank = make(Canvas(image, RGB, 0, all_fields()), "bright_scene_rank")
    assert (rank[:, :5] == 0).all()
    np.testing.assert_allclose(rank[:, 5:], 0.5, atol=0.011)


@pytest.mark.parametrize("name", ["ndvi", "bright"])
def test_aspect_mean_is_the_weighted_mean(canvas, name):
    made = aspect_mean(canvas, name, 9)
    east, north = (canvas.field(n).astype(float) for n in ("eastness", "northness"))
    size = np.sqrt(east**2 + north**2 + GENTLE**2)
    e, n, v = east / size, north / size, canvas.field(name).astype(float)
    for y, x in [(0, 0), (3, 17), (47, 43), (20, 30)]:
        i, j = y + MARGIN, x + MARGIN
        near = (slice(i - 4, i + 5), slice(j - 4, j + 5))
        weight = ((1 + e[i, j] * e[near] + n[i, j] * n[near]) / 2) ** 2
        assert made[y, x] == pytest.approx((weight * v[near]).sum() / weight.sum(), rel=1e-4)


def test_on_flat_ground_the_aspect_does_not_matter():
    image = scene(90, 90)
    image[L4S.band_names.index("dem")] = 400
    flat = Canvas(image, L4S, MARGIN, all_fields())
    np.testing.assert_allclose(aspect_mean(flat, "bsi", 33), flat.mean("bsi", 33), atol=1e-5)


def test_like_slopes_are_compared_with_each_other():
    """Bright sunny and dark shady sides of a ridge: neither stands out on its own side."""
    column = np.arange(90)[None, :]
    image = np.full((14, 90, 90), 1000, np.float32)
    image[L4S.band_names.index("dem")] = 2000 - 8 * np.abs(column - 45)
    image[:12, :, 46:] = 3000
    ridge = Canvas(image, L4S, MARGIN, all_fields())
    near = np.abs(ridge.value("bright") - ridge.mean("bright", 33)).mean()
    like = np.abs(make(ridge, "bright_minus_aspect_33")).mean()
    assert like < 0.3 * near


@pytest.mark.parametrize("name", ["ndvi", "bright", "ri"])
def test_ring_is_that_of_scipy(canvas, name):
    wide = canvas.field(name).astype(float)
    inner, outer = (ndimage.uniform_filter(wide, e) for e in (17, 65))
    ring = (outer * 65**2 - inner * 17**2) / (65**2 - 17**2)
    expected = (wide - ring)[canvas.core]
    made = make(canvas, f"{name}_minus_ring_17_65")
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_compiled_moments_say_the_same_in_plain_python(rng):
    value, east, north = rng.normal(size=(3, 11, 12)).astype(np.float32)
    made = normal_moments(value, east, north, 2)
    plain = normal_moments.py_func(value, east, north, 2)
    np.testing.assert_allclose(made, plain, rtol=1e-9, atol=1e-12)
    total = ndimage.uniform_filter((value * east * north).astype(float), 5)[2:-2, 2:-2] * 25
    np.testing.assert_allclose(made[4], total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1,), (2,), (5, 7), (16, 16)])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_fast_median_is_that_of_numpy(rng, shape, scale):
    for values in (rng.normal(size=shape), rng.integers(-2, 3, size=shape), np.zeros(shape)):
        values = (scale * values).astype(np.float32)
        assert fast_median(values) == pytest.approx(np.median(values), rel=1e-6, abs=0)


def test_compiled_selection_says_the_same_in_plain_python(rng):
    keys = rng.integers(0, 2**32, 60, dtype=np.uint32)
    for rank, key in enumerate(np.sort(keys)):
        assert order_statistic(keys, rank) == key
    assert order_statistic.py_func(keys, 30) == np.sort(keys)[30]


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("value", [0, 1, 77, 65_535, -3.0, 1e30, -1e30])
@pytest.mark.parametrize("shape", [(8, 8), (24, 30), (1, 1)])
def test_a_constant_picture_has_no_contrast(sensor, value, shape):
    image = np.full((len(sensor.bands), *shape), value, np.float32)
    made = compute(image, sensor, plan_of(sensor))
    np.testing.assert_allclose(made, 0, atol=1e-3)


@pytest.mark.parametrize("sensor", SENSORS)
def test_any_counts_give_finite_features(sensor, rng):
    choices = np.array([0, 1, 2, 90, 500, 3000, 65_535], np.float32)
    for shape in [(1, 5), (8, 8), (20, 13)]:
        image = rng.choice(choices, size=(len(sensor.bands), *shape))
        assert np.isfinite(compute(image, sensor, plan_of(sensor))).all()


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_patch_within_a_scene_gets_what_the_scene_gets(sensor):
    plan = plan_of(sensor)
    plan = plan.only([f.name for f in plan.features if f.scope == "window"])
    tile, reach = 48, plan.support_px
    whole = scene(3 * tile, 3 * tile, sensor)
    centre, near = slice(tile, 2 * tile), slice(tile - reach, 2 * tile + reach)
    expected = compute(whole, sensor, plan)[:, centre, centre]
    made = compute(whole[:, near, near], sensor, plan, pad=None, margin=reach)
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("turn", [lambda p: np.rot90(p, 1, (-2, -1)), lambda p: p[..., ::-1]])
def test_features_turn_with_the_picture(sensor, turn):
    image, plan = scene(40, 40, sensor), plan_of(sensor)
    expected = turn(compute(image, sensor, plan))
    made = compute(np.ascontiguousarray(turn(image)), sensor, plan)
    np.testing.assert_allclose(made, expected, rtol=2e-3, atol=1e-3)
