"""Laws that hold for every feature, whatever the picture."""

from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, plan_of, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.build import compute, compute_many

SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]
BOUNDED = {  # name: low, high
    "ndvi": (-1, 1), "gndvi": (-1, 1), "ndre": (-1, 1), "ndmi": (-1, 1), "nbr": (-1, 1),
    "nbr2": (-1, 1), "mndwi": (-1, 1), "bsi": (-1, 1), "ndsoi": (-1, 1), "gli": (-1, 1),
    "ri": (-1, 1), "ikaw": (-1, 1), "rgbvi": (-1, 1), "dbsi": (-2, 2), "mbi": (-0.5, 1.5),
    "vari": (-2, 2), "cire": (-1, 20), "psri": (-1, 1), "ferrous": (0, 5), "s2rep_nm": (690, 760),
    "slope_deg": (0, 90), "slope_dem_deg": (0, 90), "northness": (-1, 1), "eastness": (-1, 1),
    "curv_plan_per_km": (-200, 200), "curv_profile_per_km": (-200, 200),
    "ruggedness_9": (0, 1), "relative_height_65": (0, 1), "ndvi_tile_rank": (0, 1),
    "bright_tile_z": (-20, 20), "ndvi_std_9": (0, 1), "ndvi_mean_9": (-1, 1),
    "ndvi_max_9": (-1, 1), "relief_9_m": (0, 1e5), "ri_std_9": (0, 1), "ri_mean_9": (-1, 1),
}  # fmt: skip


def check(image: np.ndarray, sensor) -> None:
    plan = plan_of(sensor)
    made = compute(image, sensor, plan)
    assert made.dtype == np.float32
    assert made.shape == (len(plan.features), *image.shape[1:])
    bad = [n for n, p in zip(plan.names, made, strict=True) if not np.isfinite(p).all()]
    assert not bad, bad
    for name, picture in zip(plan.names, made, strict=True):
        low, high = BOUNDED.get(name, (-np.inf, np.inf))
        slack = 1e-4 * max(abs(low), abs(high), 1) if np.isfinite(high) else 0
        assert picture.min() >= low - slack, name
        assert picture.max() <= high + slack, name


@settings(max_examples=25, deadline=None)
@given(
    counts=arrays(
        np.uint16,
        st.tuples(st.just(14), st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 1, 2, 30, 90, 500, 501, 3000, 10_000, 65_535]),
        fill=st.integers(0, 65_535),
    )
)
def test_any_counts_give_finite_bounded_features(counts):
    image = counts.astype(np.float32)
    check(image, L4S)
    check(image[1:4], RGB)


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("value", [0, 1, 77, 65_535, -3.0, 1e30, -1e30, 1e-30])
def test_constant_pictures(sensor, value):
    check(np.full((len(sensor.bands), 24, 24), value, np.float32), sensor)


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_constant_picture_has_no_contrast(sensor):
    plan = plan_of(sensor)
    made = compute(np.full((len(sensor.bands), 30, 30), 40, np.float32), sensor, plan)
    for name, picture in zip(plan.names, made, strict=True):
        np.testing.assert_allclose(picture, picture[0, 0], atol=1e-5, err_msg=name)
        flat = ("_std_", "_minus_", "_dog_", "_gradient_", "tpi_", "curv_", "relief_", "_tile_")
        if any(part in name for part in flat):
            np.testing.assert_allclose(picture, 0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_patch_within_a_scene_gets_what_the_scene_gets(sensor):
    plan = plan_of(sensor, scope="window")
    tile, reach = 48, plan.support_px
    assert reach <= tile
    whole = scene(3 * tile, 3 * tile, sensor)
    around = slice(tile - reach, 2 * tile + reach)
    centre = slice(tile, 2 * tile)
    expected = compute(whole, sensor, plan)[:, centre, centre]
    for margin in (reach, tile):
        near = slice(tile - margin, 2 * tile + margin)
        made = compute(whole[:, near, near], sensor, plan, pad=None, margin=margin)
        same(made, expected, plan)
    assert whole[:, around, around].shape[1] == tile + 2 * reach


def same(made: np.ndarray, expected: np.ndarray, plan) -> None:
    for name, a, b in zip(plan.names, made, expected, strict=True):
        spread = max(float(np.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6 * spread, err_msg=name)


@pytest.mark.parametrize("sensor", SENSORS)
def test_support_is_as_declared(sensor):
    """What lies beyond a feature's support does not change it; what lies within may."""
    plan = plan_of(sensor, scope="window")
    reach, size = plan.support_px, 2 * plan.support_px + 3
    middle = size // 2
    near, far = scene(size, size, sensor, seed=1), scene(size, size, sensor, seed=2)
    base = compute(near, sensor, plan)[:, middle, middle]
    for support in sorted({f.support_px for f in plan.features}):
        mixed = far.copy()
        kept = slice(middle - support, middle + support + 1)
        mixed[:, kept, kept] = near[:, kept, kept]
        made = compute(mixed, sensor, plan)[:, middle, middle]
        for feature, a, b in zip(plan.features, made, base, strict=True):
            if feature.support_px <= support:
                assert a == pytest.approx(b, rel=2e-4, abs=2e-4), feature.name
    assert reach == max(f.support_px for f in plan.features)


def turns() -> list[tuple[str, object, dict[str, tuple[str, int]]]]:
    plain = {"northness": ("northness", 1), "eastness": ("eastness", 1)}
    return [
        ("quarter", lambda p: np.rot90(p, 1, (-2, -1)),
         {"northness": ("eastness", 1), "eastness": ("northness", -1)}),
        ("half", lambda p: np.rot90(p, 2, (-2, -1)),
         {"northness": ("northness", -1), "eastness": ("eastness", -1)}),
        ("left-right", lambda p: p[..., ::-1], {**plain, "eastness": ("eastness", -1)}),
        ("transpose", lambda p: np.swapaxes(p, -2, -1),
         {"northness": ("eastness", -1), "eastness": ("northness", -1)}),
    ]  # fmt: skip


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize(("turn", "directions"), [t[1:] for t in turns()], ids=lambda v: "")
def test_features_turn_with_the_picture(sensor, turn, directions):
    plan = plan_of(sensor)
    image = scene(40, 40, sensor)
    plain = dict(zip(plan.names, compute(image, sensor, plan), strict=True))
    turned = dict(
        zip(plan.names, compute(np.ascontiguousarray(turn(image)), sensor, plan), strict=True)
    )
    for name in plan.names:
        source, sign = directions.get(name, (name, 1))
        expected = sign * turn(plain[source])
        spread = max(float(np.abs(expected).max()), 1e-3)
        np.testing.assert_allclose(
            turned[name], expected, rtol=2e-3, atol=1e-4 * spread, err_msg=name
        )


@settings(max_examples=8, deadline=None)
@given(gain=st.sampled_from([0.25, 0.5, 2.0, 4.0]), seed=st.integers(0, 5))
def test_colour_does_not_know_the_level_and_brightness_scales(gain, seed):
    plan = plan_of(RGB)
    image = scene(36, 36, RGB, seed)
    one, many = compute(image, RGB, plan), compute(image * np.float32(gain), RGB, plan)
    for name, a, b in zip(plan.names, one, many, strict=True):
        level = name.startswith(("bright", "level_")) and "_tile_" not in name
        factor = gain if level else 1
        np.testing.assert_allclose(b, factor * a, rtol=1e-3, atol=1e-5, err_msg=name)


def test_many_is_one_after_another():
    images = np.stack([scene(20, 24, RGB, s) for s in range(3)])
    plan = plan_of(RGB)
    many = compute_many(images, RGB, plan)
    for image, made in zip(images, many, strict=True):
        np.testing.assert_array_equal(compute(image, RGB, plan), made)


def test_input_that_does_not_fit_is_refused():
    plan = plan_of(RGB)
    image = scene(20, 20, RGB)
    with pytest.raises(DataError, match="bands of the sensor"):
        compute(image[:2], RGB, plan)
    with pytest.raises(DataError, match="narrower"):
        compute(image, RGB, plan, pad=None, margin=3)
    with pytest.raises(DataError, match="no pixel is left"):
        compute(image, RGB, plan, margin=10)
    image[1, 3, 3] = np.nan
    with pytest.raises(DataError, match="B3"):
        compute(image, RGB, plan)


def test_a_margin_too_narrow_is_widened():
    plan = plan_of(RGB, scope="window")
    image = scene(40, 40, RGB)
    made = compute(image, RGB, plan, margin=4)
    assert made.shape[1:] == (32, 32)
    assert np.isfinite(made).all()
