from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, reads_no_further, same_within_a_scene, scene
from scipy import ndimage

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.features import morphology
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import Canvas
from l4s_ensemble.features.registry import FeaturePlan, all_fields, select

MARGIN = 40
CORE = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
DEM = L4S.band_names.index("dem")
SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]
SIDES = {"ndvi": "bothat", "bright": "tophat", "bsi": "tophat"}


def plan_of(sensor: Sensor) -> FeaturePlan:
    return select(sensor, FeaturesConfig(groups=("morphology",)))


def made(image: np.ndarray, sensor: Sensor = L4S, **how) -> dict[str, np.ndarray]:
    plan = plan_of(sensor)
    return dict(zip(plan.names, compute(image, sensor, plan, **how), strict=True))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return scene(120, 128)


@pytest.fixture(scope="module")
def pictures(image) -> dict[str, np.ndarray]:
    return made(image, margin=MARGIN)


@pytest.fixture(scope="module")
def canvas(image) -> Canvas:
    return Canvas(image, L4S, MARGIN, all_fields())


def lines(length: int) -> list[np.ndarray]:
    """Footprints along a row, down a column, falling and rising."""
    diagonal = np.eye(morphology.diagonal_pixels(length), dtype=bool)
    row = np.ones((1, length), bool)
    return [row, row.T, diagonal, diagonal[:, ::-1]]


@pytest.mark.parametrize("edge", morphology.SIZES)
@pytest.mark.parametrize("field", ["ndvi", "bright"])
def test_top_hats_are_those_of_scipy(canvas, pictures, field, edge):
    wide = canvas.field(field)
    white = ndimage.white_tophat(wide, size=edge)[CORE]
    black = ndimage.black_tophat(wide, size=edge)[CORE]
    np.testing.assert_array_equal(morphology.hat(canvas, field, "tophat", edge), white)
    np.testing.assert_array_equal(morphology.hat(canvas, field, "bothat", edge), black)
    named = {f"{field}_tophat_{edge}": white, f"{field}_bothat_{edge}": black}
    for name in named.keys() & pictures.keys():
        np.testing.assert_array_equal(pictures[name], named[name])


@pytest.mark.parametrize("length", [9, 17, 33])
@pytest.mark.parametrize("field", list(SIDES))
def test_openings_by_lines_are_those_of_scipy(canvas, pictures, field, length):
    opened = ndimage.grey_opening if SIDES[field] == "tophat" else ndimage.grey_closing
    wide = canvas.field(field)
    across = [opened(wide, footprint=f)[CORE] for f in lines(length)]
    if length in morphology.NARROW_LINES:
        np.testing.assert_array_equal(
            pictures[f"{field}_{SIDES[field]}_narrow_{length}"], np.ptp(np.stack(across), axis=0)
        )
    if length not in morphology.DOWNHILL_LINES:
        return
    east = canvas.value("rise_east").astype(float)
    north = canvas.value("rise_north").astype(float)
    steep = east**2 + north**2 + 0.02**2
    along = (east**2 - north**2) / steep * (across[0] - across[1])
    along += -2 * east * north / steep * (across[2] - across[3])
    sign = 1 if SIDES[field] == "tophat" else -1
    np.testing.assert_allclose(
        pictures[f"{field}_{SIDES[field]}_downhill_{length}"], sign * along, atol=1e-6
    )


def test_diagonals_are_odd_and_about_as_long_as_rows():
    for length in (3, 5, 9, 17, 33, 65):
        diagonal = morphology.diagonal_pixels(length)
        assert diagonal % 2 == 1 and 1 < diagonal <= length
        assert abs(np.sqrt(2) * (diagonal - 1) - (length - 1)) <= np.sqrt(2)


@pytest.mark.parametrize("field", list(SIDES))
def test_profiles_grow_with_the_square(pictures, field):
    profile = np.stack([pictures[f"{field}_{SIDES[field]}_{edge}"] for edge in morphology.SIZES])
    assert (profile >= 0).all()
    assert (np.diff(profile, axis=0) >= 0).all()
    steps = np.diff(profile.astype(float), axis=0, prepend=0)
    weights = np.log2(morphology.SIZES)[:, None, None]
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num((weights * steps).sum(0) / profile[-1])
    size = pictures[f"{field}_{SIDES[field]}_log2_px"]
    # Below a top-hat of 1e-6 the size fades to 0.
    some = profile[-1] > 1e-5
    np.testing.assert_allclose(size[some], expected[some], rtol=1e-3)


@pytest.mark.parametrize(("edge", "first"), [(3, 5), (7, 9), (15, 17), (31, 33)])
def test_a_square_is_found_by_the_first_size_that_it_does_not_hold(edge, first):
    image = np.full((3, 96, 96), 800, np.float32)
    middle = slice(48 - edge // 2, 48 + edge // 2 + 1)
    image[:, middle, middle] = 1300
    pictures = made(image, RGB)
    for size in morphology.SIZES:
        expected = np.zeros((96, 96))
        expected[middle, middle] = 0.5 if size >= first else 0
        np.testing.assert_allclose(pictures[f"bright_tophat_{size}"], expected, atol=1e-6)
    np.testing.assert_allclose(pictures["bright_tophat_log2_px"][48, 48], np.log2(first), rtol=1e-5)
    assert pictures["bright_tophat_log2_px"][0, 0] == 0


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
@pytest.mark.parametrize("turn", [0, 45, 90])
def test_a_bright_band_downhill_is_told_from_one_across(angle, turn):
    image = np.full((14, 96, 96), 1000, np.float32)
    row, column = np.mgrid[:96, :96] - 48
    a, down = np.radians(angle), np.radians(angle + turn)
    band = np.abs(column * np.sin(a) - row * np.cos(a)) < 2.5
    image[1:4, band] = 2000
    image[DEM] = 2000 - 5 * (column * np.cos(down) + row * np.sin(down))
    made_here = made(image)
    expected = {0: 0.1, 45: 0.0, 90: -0.1}[turn]
    np.testing.assert_allclose(made_here["bright_tophat_downhill_17"][48, 48], expected, atol=2e-3)
    np.testing.assert_allclose(made_here["bright_tophat_narrow_33"][48, 48], 0.1, atol=1e-6)
    # What is dark in ndvi, seen through closings, tells the same.
    image[1:4] = 1000
    image[7] = np.where(band, 1000, 4000)
    dark = made(image)["ndvi_bothat_downhill_17"][48, 48]
    np.testing.assert_allclose(dark, {0: 0.6, 45: 0.0, 90: -0.6}[turn], atol=0.01)


def test_level_ground_has_no_downhill():
    image = scene(48, 48)
    image[DEM] = 700
    for name, picture in made(image).items():
        assert "_downhill_" not in name or (picture == 0).all(), name


TURNS = {
    "quarter": lambda p: np.rot90(p, 1, (-2, -1)),
    "half": lambda p: np.rot90(p, 2, (-2, -1)),
    "mirror": lambda p: p[..., ::-1],
    "transpose": lambda p: np.swapaxes(p, -2, -1),
}


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("turn", list(TURNS))
def test_profiles_turn_with_picture_and_terrain(sensor, turn):
    image = scene(44, 44, sensor)
    plain = made(image, sensor)
    turned = made(np.ascontiguousarray(TURNS[turn](image)), sensor)
    for name, picture in plain.items():
        spread = max(float(np.abs(picture).max()), 1e-3)
        np.testing.assert_allclose(
            turned[name], TURNS[turn](picture), rtol=1e-4, atol=1e-4 * spread, err_msg=name
        )


@pytest.mark.parametrize("gain", [0.25, 4.0])
def test_brightness_scales_and_colour_does_not(gain):
    image = scene(44, 44, RGB)
    one, many = made(image, RGB), made(image * np.float32(gain), RGB)
    for name, picture in one.items():
        factor = gain if name.startswith("bright") and "_log2_" not in name else 1
        np.testing.assert_allclose(many[name], factor * picture, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("value", [0, 1, 77, 65_535, -3.0, 1e30])
def test_a_constant_has_no_profile(sensor, value):
    pictures = made(np.full((len(sensor.bands), 20, 20), value, np.float32), sensor)
    for name, picture in pictures.items():
        assert (picture == 0).all(), name


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (3, 24)])
def test_tiny_and_extreme_input_stays_finite(sensor, shape, rng):
    image = rng.choice([0, 1, 500, 10_000, 65_535], size=(len(sensor.bands), *shape))
    for name, picture in made(image.astype(np.float32), sensor).items():
        assert picture.dtype == np.float32 and picture.shape == shape, name
        assert np.isfinite(picture).all(), name
        if "_log2_" in name:
            assert picture.min() >= 0 and picture.max() <= np.log2(33) + 1e-4, name


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_patch_within_a_scene_gets_what_the_scene_gets(sensor):
    plan = plan_of(sensor)
    assert plan.support_px <= 72
    same_within_a_scene(plan, sensor, tile=36, rtol=1e-6)


@pytest.mark.parametrize("sensor", SENSORS)
def test_each_feature_reads_no_further_than_it_says(sensor):
    reads_no_further(plan_of(sensor), sensor, rel=1e-5, tiny=1e-7)


def test_no_feature_is_said_twice():
    names = [r.feature.name for r in morphology.recipes(all_fields())]
    assert len(set(names)) == len(names)
