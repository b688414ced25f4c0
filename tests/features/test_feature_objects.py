from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, scene
from skimage.measure import regionprops

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import Canvas
from l4s_ensemble.features.registry import all_fields, catalogue, select
from l4s_ensemble.features.segments import LEAST_PX, Segments, outline, segments

SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]
LABELS = np.array(
    [
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 2, 2, 1],
        [0, 0, 0, 1, 2, 2, 1],
        [3, 3, 3, 1, 1, 1, 1],
        [3, 4, 4, 4, 4, 4, 4],
        [3, 3, 3, 3, 5, 3, 3],
    ]
)


def plan_of(sensor):
    return select(sensor, FeaturesConfig(groups=("object",)))


def all_of(sensor, image: np.ndarray) -> dict[str, np.ndarray]:
    plan = plan_of(sensor)
    return dict(zip(plan.names, compute(image, sensor, plan), strict=True))


@pytest.fixture
def small() -> tuple[Segments, Canvas]:
    """Six segments on a made-up scene of the same shape, no margin."""
    canvas = Canvas(scene(*LABELS.shape), L4S, 0, all_fields())
    whole = tuple(slice(0, n) for n in LABELS.shape)
    return Segments(LABELS, whole, 0), canvas


def test_statistics_are_those_of_regionprops(small):
    found, canvas = small
    value = canvas.field("ndvi").astype(float)
    parts = regionprops(LABELS + 1, intensity_image=value)
    low, high = found.extremes(canvas, "ndvi")
    for i, part in enumerate(parts):
        assert found.pixels[i] == part.area
        assert found.mean(canvas, "ndvi")[i] == pytest.approx(part.intensity_mean)
        assert found.deviation(canvas, "ndvi")[i] == pytest.approx(part.intensity_std, abs=1e-9)
        assert (low[i], high[i]) == (part.intensity_min, part.intensity_max)
        # Pixels are squares here and points there: 1/12 px² more variance on each axis.
        long, short = (
            np.sqrt(axis**2 + 16 / 12) for axis in (part.axis_major_length, part.axis_minor_length)
        )
        assert found.length_px[i] == pytest.approx(long)
        assert found.elongation[i] == pytest.approx(1 - short / long, abs=1e-9)


def test_neighbours_count_by_the_border_they_share(small):
    found, canvas = small
    value = found.mean(canvas, "bsi")
    tall, wide = LABELS.shape
    shared = np.zeros((found.count, found.count))
    for i in range(tall):
        for j in range(wide):
            for y, x in ((i, j + 1), (i + 1, j), (i, j - 1), (i - 1, j)):
                inside = 0 <= y < tall and 0 <= x < wide
                if inside and LABELS[y, x] != LABELS[i, j]:
                    shared[LABELS[i, j], LABELS[y, x]] += 1
    shared /= shared.sum(1, keepdims=True)
    one, two = (found.minus_neighbours(canvas, "bsi", steps) for steps in (1, 2))
    np.testing.assert_allclose(one, value - shared @ value)
    np.testing.assert_allclose(two, value - shared @ shared @ value)


def test_a_segment_alone_differs_by_nothing():
    canvas = Canvas(scene(5, 5), L4S, 0, all_fields())
    alone = Segments(np.zeros((5, 5), np.intp), (slice(0, 5), slice(0, 5)), 0)
    assert alone.minus_neighbours(canvas, "ndvi") == 0
    assert alone.compactness == 1
    assert alone.elongation == pytest.approx(0)


def test_compactness_is_that_of_the_border(small):
    found, _ = small
    np.testing.assert_allclose(found.compactness[[0, 2, 5]], 1)  # squares
    assert found.compactness[4] == pytest.approx(16 * 6 / 14**2)  # a line of 6
    assert found.compactness[1] == pytest.approx(16 * 12 / 24**2)  # a ring: both its borders


def planted(turn_deg: float) -> tuple[Segments, Canvas, np.ndarray]:
    """An ellipse on a plane that falls to the east; its long axis turned from there."""
    row, column = np.mgrid[:60, :60] - 30.0
    image = np.full((14, 60, 60), 1000, np.float32)
    image[L4S.band_names.index("dem")] = 900 - 4 * column
    a = np.radians(turn_deg)
    along, across = column * np.cos(a) - row * np.sin(a), column * np.sin(a) + row * np.cos(a)
    inside = (along / 20) ** 2 + (across / 5) ** 2 <= 1
    canvas = Canvas(image, L4S, 0, all_fields())
    return Segments(inside.astype(np.intp), (slice(0, 60), slice(0, 60)), 0), canvas, inside


@pytest.mark.parametrize(("turn_deg", "cosine"), [(0, 1), (90, -1), (45, 0), (-45, 0), (30, 0.5)])
def test_elongation_along_the_slope_knows_the_slope(turn_deg, cosine):
    found, canvas, _ = planted(turn_deg)
    assert found.elongation[1] == pytest.approx(0.75, abs=0.02)
    assert found.along_slope(canvas)[1] == pytest.approx(0.75 * cosine, abs=0.04)


def test_on_flat_ground_no_direction_is_along_the_slope():
    found, _, _ = planted(0)
    flat = Canvas(np.full((14, 60, 60), 500, np.float32), L4S, 0, all_fields())
    np.testing.assert_allclose(found.along_slope(flat), 0, atol=1e-6)


def test_a_bare_scar_is_one_segment():
    """What stands out is outlined, and told by its size, its contrast and its fall."""
    _, _, inside = planted(0)
    image = scene(60, 60)
    for band in range(12):
        image[band] = 1000 + 200 * image[band] / image[band].max()
    image[:12, inside] = 1500
    for band in ("B4", "B11"):
        image[L4S.band_names.index(band), inside] = 3000
    image[L4S.band_names.index("dem")] = 900 - 4 * np.arange(60)
    made = all_of(L4S, image)
    middle = {name: picture[30, 30] for name, picture in made.items()}
    # The outline runs inside of the edge, which smoothing makes a segment of its own.
    assert 0.4 < 10 ** middle["segment_area_log10_m2"] / (100 * inside.sum()) < 1.1
    assert middle["ndvi_segment_minus_beyond"] < -0.05
    assert middle["bsi_segment_minus_beyond"] > 0.05
    assert middle["segment_along_slope"] > 0.6
    assert 100 < middle["segment_relief_m"] < 4 * 42
    height = made["segment_relative_height"]
    assert height[30, 18] > 0.8 and height[30, 43] < 0.2


@pytest.mark.parametrize("sensor", SENSORS)
def test_it_is_deterministic_and_bounded(sensor):
    image = scene(50, 40, sensor)
    made, again = all_of(sensor, image), all_of(sensor, image)
    bounds = {
        "segment_elongation": (0, 1), "segment_compactness": (0, 1), "segment_slope_deg": (0, 90),
        "segment_along_slope": (-1, 1), "segment_relative_height": (0, 1),
        "segment_reach_deg": (0, 90), "ndvi_segment_mean": (-1, 1), "gli_segment_std": (0, 1),
    }  # fmt: skip
    for name, picture in made.items():
        np.testing.assert_array_equal(picture, again[name])
        low, high = bounds.get(name, (-np.inf, np.inf))
        assert low - 1e-5 <= picture.min() and picture.max() <= high + 1e-5, name


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("turn", [lambda p: np.rot90(p, 1, (-2, -1)), lambda p: p[..., ::-1]])
def test_features_turn_with_the_picture(sensor, turn):
    """With true surroundings; mirrored ones make ties, which are settled in order of the rows."""
    plan = plan_of(sensor)
    margin = plan.support_px
    image = scene(40 + 2 * margin, 40 + 2 * margin, sensor)
    plain = compute(image, sensor, plan, margin=margin)
    turned = compute(np.ascontiguousarray(turn(image)), sensor, plan, margin=margin)
    for name, a, b in zip(plan.names, plain, turned, strict=True):
        assert np.isclose(b, turn(a), rtol=2e-3, atol=2e-3).mean() > 0.98, name


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("value", [0, 77, 65_535, -3.0, 1e30])
@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (1, 9)])
def test_a_constant_picture_is_one_segment(sensor, value, shape):
    made = all_of(sensor, np.full((len(sensor.bands), *shape), value, np.float32))
    for name, picture in made.items():
        assert np.isfinite(picture).all() and picture.dtype == np.float32
        np.testing.assert_array_equal(picture, picture[0, 0], err_msg=name)
        if "_std" in name or "_minus_" in name:
            np.testing.assert_allclose(picture, 0, atol=1e-5)


@pytest.mark.parametrize("sensor", SENSORS)
def test_any_counts_give_finite_features(sensor, rng):
    choices = np.array([0, 1, 2, 90, 500, 3000, 65_535], np.float32)
    for shape in [(1, 5), (8, 8), (20, 13)]:
        image = rng.choice(choices, size=(len(sensor.bands), *shape))
        for name, picture in all_of(sensor, image).items():
            assert np.isfinite(picture).all(), name


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (2, 2), (9, 9)])
def test_labels_are_all_in_use(rng, shape):
    labels = outline(rng.normal(size=(*shape, 3)))
    assert labels.shape == shape
    assert np.bincount(labels.ravel()).min() >= min(LEAST_PX, labels.size)


def test_segments_are_outlined_once_and_reach_into_the_surroundings():
    canvas = Canvas(scene(80, 80), L4S, 20, all_fields())
    assert segments(canvas) is segments(canvas)
    assert segments(canvas).labels.shape == (80, 80)
    assert catalogue()["segment_elongation"].image(canvas).shape == (40, 40)


def test_scope_and_support_are_said():
    for feature in plan_of(L4S).features:
        assert feature.scope == "tile"
        assert 32 <= feature.support_px <= 72
    assert not any("dem" in f.needs for f in plan_of(RGB).features)
    assert "ndvi_segment_mean" in plan_of(L4S).names and "ri_segment_mean" in plan_of(RGB).names
