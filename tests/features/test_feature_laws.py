"""Laws that hold for every feature of the catalogue, whatever the picture."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from feature_world import RGB, compute, moving_plan, plan_of, scene, statistics_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.definition import Feature
from l4s_ensemble.features.indices import INDICES
from l4s_ensemble.features.registry import FeaturePlan

SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]
INFINITY = np.inf
BOUNDS = {
    "cire": (-1, 20), "ndvi": (-1, 1), "bsi": (-1, 1), "bright": (0, INFINITY), "ri": (-1, 1),
    "gli": (-1, 1), "ikaw": (-1, 1), "ndmi": (-1, 1), "slope_deg": (0, 90), "slope": (0, 90),
    "curv_plan_per_km": (-200, 200), "curv_profile_per_km": (-200, 200),
}  # fmt: skip
"""Least and greatest value by name; of a field, also for its means and extremes."""

PATTERNS = {"_rank": (0, 1), "_coherence_": (0, 1), "_energy_": (0, INFINITY)} | dict.fromkeys(
    ("_std_", "_gradient_", "_roughness_", "_fineness_", "_variation_"), (0, INFINITY)
)
"""Least and greatest value of every feature whose name has this in it; the first one counts."""


def made_of(image: np.ndarray, sensor: Sensor, plan: FeaturePlan) -> dict[str, np.ndarray]:
    return dict(zip(plan.names, compute(image, sensor, plan), strict=True))


def bounds_of(feature: Feature) -> tuple[float, float]:
    name = feature.name
    if name in BOUNDS:
        return BOUNDS[name]
    if feature.group == "indices":
        return (-2, 2) if feature.radiometry == "any" else (-2e3, 2e3)
    for part, bounds in PATTERNS.items():
        if part in name:
            return bounds
    for part in ("_mean_", "_min_", "_max_"):
        field = name.split(part)[0]
        if part in name and field in BOUNDS:
            return BOUNDS[field]
    return -INFINITY, INFINITY


def check(image: np.ndarray, sensor: Sensor) -> None:
    plan = plan_of(sensor)
    made = compute(image, sensor, plan)
    assert made.dtype == np.float32
    assert made.shape == (len(plan.features), *image.shape[1:])
    bad = [n for n, p in zip(plan.names, made, strict=True) if not np.isfinite(p).all()]
    assert not bad, bad
    for feature, picture in zip(plan.features, made, strict=True):
        low, high = bounds_of(feature)
        slack = 1e-4 * max(abs(v) for v in (low, high, 1) if np.isfinite(v))
        assert picture.min() >= low - slack, feature.name
        assert picture.max() <= high + slack, feature.name


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
def test_constant_pictures_have_no_contrast(sensor, value):
    image = np.full((len(sensor.bands), 24, 24), value, np.float32)
    check(image, sensor)
    flat = ("_std_", "_minus_", "_dog_", "_gradient_", "tpi_", "curv_")
    for name, picture in made_of(image, sensor, plan_of(sensor)).items():
        expected = 0 if any(part in name for part in flat) else picture[0, 0]
        np.testing.assert_allclose(picture, expected, rtol=1e-6, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("sensor", SENSORS)
@settings(max_examples=4, deadline=None)
@given(cut=st.tuples(st.integers(1, 39), st.integers(1, 39)), seed=st.integers(0, 99))
def test_a_map_does_not_depend_on_its_blocks(sensor, cut, seed):
    """One block, or four with the declared support around each: the same bits."""
    plan, tile = moving_plan(sensor), 40
    reach = plan.support_px
    whole = scene(tile + 2 * reach, tile + 2 * reach, sensor, seed)
    statistics = statistics_of(whole, sensor, plan)

    def block(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        near = whole[:, rows[0] : rows[1] + 2 * reach, columns[0] : columns[1] + 2 * reach]
        return compute(near, sensor, plan, margin=reach, statistics=statistics)

    y, x = cut
    four = [[block(r, c) for c in ((0, x), (x, tile))] for r in ((0, y), (y, tile))]
    one = block((0, tile), (0, tile))
    wrong = (np.block(four) != one).any(axis=(1, 2))
    assert [n for n, differs in zip(plan.names, wrong, strict=True) if differs] == []


@pytest.mark.parametrize("sensor", SENSORS)
def test_support_is_as_declared(sensor):
    """What lies beyond a feature's support does not change a bit of it."""
    plan = moving_plan(sensor)
    size = 2 * plan.support_px + 3
    middle = size // 2
    near, far = scene(size, size, sensor, seed=1), scene(size, size, sensor, seed=2)
    statistics = statistics_of(near, sensor, plan)
    base = compute(near, sensor, plan, statistics=statistics)[:, middle, middle]
    base_of = dict(zip(plan.names, base, strict=True))
    for support in sorted({f.support_px for f in plan.features}):
        mixed, kept = far.copy(), slice(middle - support, middle + support + 1)
        mixed[:, kept, kept] = near[:, kept, kept]
        some = plan.only([f.name for f in plan.features if f.support_px == support])
        made = compute(mixed, sensor, some, statistics=statistics)[:, middle, middle]
        for name, value in zip(some.names, made, strict=True):
            assert value == base_of[name], name


def d4() -> list[object]:
    """Give the turns of the square but the first: quarter turns to the left, then mirroring."""
    return [
        pytest.param(quarters, mirror, id=f"{90 * quarters} degrees" + ", mirrored" * mirror)
        for mirror in (False, True)
        for quarters in range(4)
        if quarters or mirror
    ]


def turned(picture: np.ndarray, quarters: int, mirror: bool) -> np.ndarray:
    picture = np.rot90(picture, quarters, (-2, -1))
    return np.ascontiguousarray(picture[..., ::-1] if mirror else picture)


@cache
def plain(sensor_name: str, seed: int) -> dict[str, np.ndarray]:
    sensor = {L4S.name: L4S, RGB.name: RGB}[sensor_name]
    return made_of(scene(36, 36, sensor, seed), sensor, plan_of(sensor))


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize(("quarters", "mirror"), d4())
def test_features_turn_with_the_picture(sensor, quarters, mirror):
    before = plain(sensor.name, 0)
    image = turned(scene(36, 36, sensor), quarters, mirror)
    plan, wrong = moving_plan(sensor), []
    after = made_of(image, sensor, plan)
    for feature in plan.features:
        expected = turned(before[feature.name], quarters, mirror)
        spread = max(float(np.abs(expected).max()), 1e-3)
        equal = np.isclose(after[feature.name], expected, rtol=2e-3, atol=1e-4 * spread)
        if not equal.all():
            wrong.append(feature.name)
    assert not wrong


@settings(max_examples=6, deadline=None)
@given(metres=st.integers(-400, 3000), seed=st.integers(0, 3))
def test_terrain_does_not_know_its_height_above_the_sea(metres, seed):
    plan = plan_of(L4S)
    plan = plan.only([f.name for f in plan.features if "dem" in f.needs])
    image = scene(40, 40, seed=seed)
    image[L4S.band_names.index("dem")] -= 1000  # near the sea, where float32 is exact
    higher = image.copy()
    higher[L4S.band_names.index("dem")] += metres
    before, after = made_of(image, L4S, plan), made_of(higher, L4S, plan)
    wrong = {}
    for name in plan.names:
        spread = max(float(np.abs(before[name]).max()), 1)
        apart = np.abs(after[name] - before[name]) > 2e-3 * spread
        if apart.mean() > 1e-3:  # a tie of two heights may fall the other way
            wrong[name] = float(apart.mean())
    assert not wrong


@settings(max_examples=6, deadline=None)
@given(gain=st.sampled_from([0.25, 0.5, 2.0, 4.0, 0.7]), seed=st.integers(0, 3))
@pytest.mark.parametrize("sensor", SENSORS)
def test_the_scale_of_light_changes_nothing_or_only_the_scale(sensor, gain, seed):
    # Not of segments: pixels that are nearly as like one segment as another change sides.
    plan = moving_plan(sensor)
    plan = plan.only(
        [
            f.name
            for f in plan.features
            if (f.radiometry == "any" or sensor is RGB) and set(f.needs) & set(sensor.spectral)
        ]
    )
    image = scene(36, 36, sensor, seed)
    bright = image.copy()
    light = [sensor.band_names.index(b) for b in sensor.spectral]
    bright[light] *= np.float32(gain)
    one, many = made_of(image, sensor, plan), made_of(bright, sensor, plan)
    colours = {i.name for i in INDICES if i.radiometry == "any"} - {"bright"}
    wrong = []
    for name in plan.names:
        a, b = one[name], many[name]
        factors = (1,) if name.split("_")[0] in colours else (1, gain)
        spread = max(float(np.abs(a).max()), 1e-3)
        if not any(
            (np.abs(b - f * a) <= 1e-3 * np.abs(f * a) + 1e-4 * spread).mean() > 0.999
            for f in factors
        ):
            wrong.append(name)
    assert not wrong


def test_a_narrow_margin_is_widened_and_a_band_that_is_not_finite_is_refused():
    plan = plan_of(RGB)
    image = scene(20, 20, RGB)
    made = compute(image, RGB, plan, margin=4)  # too narrow a margin is widened
    assert made.shape[1:] == (12, 12) and np.isfinite(made).all()
    image[1, 3, 3] = np.nan
    with pytest.raises(DataError, match="B3"):
        compute(image, RGB, plan)
