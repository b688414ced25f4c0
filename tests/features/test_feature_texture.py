from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, reads_no_further, same_within_a_scene, scene
from scipy import ndimage

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.features import context, texture
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import Canvas
from l4s_ensemble.features.registry import FeaturePlan, all_fields, select
from l4s_ensemble.features.texture_kernels import gradient_products, mean_step

MARGIN = 48
CORE = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
DEM = L4S.band_names.index("dem")
SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]


def plan_of(sensor: Sensor) -> FeaturePlan:
    return select(sensor, FeaturesConfig(groups=("texture",)))


def made(image: np.ndarray, sensor: Sensor = L4S, **how) -> dict[str, np.ndarray]:
    plan = plan_of(sensor)
    return dict(zip(plan.names, compute(image, sensor, plan, **how), strict=True))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return scene(136, 128)


@pytest.fixture(scope="module")
def pictures(image) -> dict[str, np.ndarray]:
    return made(image, margin=MARGIN)


@pytest.fixture(scope="module")
def wide(image) -> dict[str, np.ndarray]:
    canvas = Canvas(image, L4S, MARGIN, all_fields())
    names = ("ndvi", "bright", "rise_east", "rise_north")
    return {name: canvas.field(name).astype(float) for name in names}


def tensor(field: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row-row, row-column and column-column means, in double precision."""
    down, right = np.gradient(ndimage.gaussian_filter(field, 1))
    return tuple(  # type: ignore[return-value]
        ndimage.gaussian_filter(product, sigma)
        for product in (down * down, down * right, right * right)
    )


@pytest.mark.parametrize("field", ["ndvi", "bright"])
@pytest.mark.parametrize("sigma", texture.SCALES)
def test_coherence_and_energy_are_those_of_the_eigenvalues(pictures, wide, field, sigma):
    rr, rc, cc = tensor(wide[field], sigma)
    values = np.linalg.eigvalsh(np.stack([rr, rc, rc, cc], -1).reshape(*rr.shape, 2, 2))[CORE]
    low, high = values[..., 0], values[..., 1]
    np.testing.assert_allclose(
        pictures[f"{field}_coherence_{sigma}"], (high - low) / (high + low), atol=2e-4
    )
    if sigma in texture.ENERGY_SCALES:
        np.testing.assert_allclose(
            pictures[f"{field}_energy_{sigma}"], np.sqrt(low + high), rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("sigma", [2, 4])
def test_coherence_is_like_that_of_scikit_image(pictures, wide, sigma):
    """Its gradient is Sobel's, which smooths a little more: alike, not equal."""
    from skimage.feature import structure_tensor

    soft = ndimage.gaussian_filter(wide["ndvi"], 1)
    rr, rc, cc = structure_tensor(soft, sigma=sigma, mode="nearest", order="rc")
    theirs = (np.hypot(rr - cc, 2 * rc) / (rr + cc))[CORE]
    ours = pictures[f"ndvi_coherence_{sigma}"]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    assert np.abs(ours - theirs).max() < 0.15


@pytest.mark.parametrize("sigma", texture.SLOPE_SCALES)
def test_along_slope_and_downhill_are_those_of_their_formulas(pictures, wide, sigma):
    down, right = np.gradient(ndimage.gaussian_filter(wide["bright"], 1))
    rise = np.sqrt(wide["rise_east"] ** 2 + wide["rise_north"] ** 2 + 0.02**2)
    # Unit vector downhill in the picture: columns go east, rows go south.
    x, y = -wide["rise_east"] / rise, wide["rise_north"] / rise
    squares = (down * x - right * y) ** 2 - (right * x + down * y) ** 2
    whole = ndimage.gaussian_filter(down**2 + right**2, sigma)
    expected = ndimage.gaussian_filter(squares, sigma) / whole
    np.testing.assert_allclose(pictures[f"bright_along_slope_{sigma}"], expected[CORE], atol=5e-4)
    down, right = np.gradient(ndimage.gaussian_filter(wide["bright"], sigma))
    np.testing.assert_allclose(
        pictures[f"bright_downhill_{sigma}"], (right * x + down * y)[CORE], atol=5e-6
    )


def test_roughness_variation_and_fineness_are_those_of_scipy(pictures, wide):
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    bright = wide["bright"]

    def step(around: np.ndarray) -> float:
        return float(np.abs(around - centre[0]).mean())

    centre = [0.0]
    small = bright[MARGIN - 8 : MARGIN + 20, MARGIN - 8 : MARGIN + 20]
    steps = np.zeros_like(small)
    for (i, j), value in np.ndenumerate(small):
        if 0 < i < len(small) - 1 and 0 < j < len(small) - 1:
            centre[0] = value
            steps[i, j] = step(small[i - 1 : i + 2, j - 1 : j + 2][cross])
    expected = ndimage.uniform_filter(steps, 5)[8:20, 8:20]
    np.testing.assert_allclose(pictures["bright_roughness_5"][:12, :12], expected, rtol=1e-4)

    mean = {e: ndimage.uniform_filter(bright, e) for e in (5, 9, 33)}
    spread = {
        e: np.sqrt(np.maximum(ndimage.uniform_filter(bright**2, e) - mean[e] ** 2, 0)) for e in mean
    }
    near = {"rtol": 1e-3, "atol": 1e-5}
    np.testing.assert_allclose(pictures["bright_variation_9"], (spread[9] / mean[9])[CORE], **near)
    np.testing.assert_allclose(
        pictures["bright_fineness_5_33"], (spread[5] / spread[33])[CORE], **near
    )


def stripes(angle_deg: float, size: int = 96) -> np.ndarray:
    """Light in stripes that run at an angle from the columns' direction towards the rows'."""
    image = scene(size, size)
    row, column = np.mgrid[:size, :size]
    a = np.radians(angle_deg)
    wave = np.sin((column * np.sin(a) - row * np.cos(a)) / 3)
    for i in range(12):
        image[i] = 2000 + 500 * wave * (1 if i < 6 else -1)
    return image


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120])
@pytest.mark.parametrize("turn", [0, 45, 90])
def test_stripes_are_coherent_and_know_the_slope(angle, turn):
    image = stripes(angle)
    row, column = np.mgrid[:96, :96]
    down = np.radians(angle + turn)  # the ground falls 5 m a pixel this way
    image[DEM] = 2000 - 5 * (column * np.cos(down) + row * np.sin(down))
    pictures, inner = made(image), (slice(32, 64), slice(32, 64))
    for field in ("ndvi", "bright"):
        assert (pictures[f"{field}_coherence_4"][inner] > 0.98).all()
        np.testing.assert_allclose(
            pictures[f"{field}_along_slope_4"][inner], np.cos(np.radians(2 * turn)), atol=0.02
        )


def test_noise_is_not_coherent_and_level_ground_has_no_downhill(rng):
    image = scene(96, 96)
    image[:12] = rng.integers(500, 3000, size=(12, 96, 96))
    image[DEM] = 800
    pictures = made(image)
    assert np.median(pictures["bright_coherence_8"]) < 0.15
    for name, picture in pictures.items():
        if "_along_slope_" in name or "_downhill_" in name:
            assert (picture == 0).all(), name


def test_downhill_is_positive_where_it_gets_brighter_below():
    image = np.full((14, 64, 64), 1000, np.float32)
    row, column = np.mgrid[:64, :64]
    image[DEM] = 3000 - 4 * row
    image[1:4] = 1000 + 20 * row
    pictures = made(image)
    inner = (slice(20, 44), slice(20, 44))
    np.testing.assert_allclose(pictures["bright_downhill_4"][inner], 20e-4, rtol=5e-3)
    image[DEM] = 3000 + 4 * row
    np.testing.assert_allclose(made(image)["bright_downhill_4"][inner], -20e-4, rtol=5e-3)
    image[DEM] = 3000 + 4 * column
    np.testing.assert_allclose(made(image)["bright_downhill_4"][inner], 0, atol=2e-6)


TURNS = {
    "quarter": lambda p: np.rot90(p, 1, (-2, -1)),
    "half": lambda p: np.rot90(p, 2, (-2, -1)),
    "mirror": lambda p: p[..., ::-1],
    "transpose": lambda p: np.swapaxes(p, -2, -1),
}


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("turn", list(TURNS))
def test_texture_turns_with_picture_and_terrain(sensor, turn):
    image = scene(44, 44, sensor)
    plain = made(image, sensor)
    turned = made(np.ascontiguousarray(TURNS[turn](image)), sensor)
    for name, picture in plain.items():
        spread = max(float(np.abs(picture).max()), 1e-3)
        np.testing.assert_allclose(
            turned[name], TURNS[turn](picture), rtol=2e-3, atol=2e-4 * spread, err_msg=name
        )


@pytest.mark.parametrize("gain", [0.25, 4.0])
def test_ratios_do_not_know_the_level_and_sizes_scale(gain):
    image = scene(44, 44, RGB)
    one, many = made(image, RGB), made(image * np.float32(gain), RGB)
    ratios = ("_coherence_", "_variation_", "_fineness_")
    for name, picture in one.items():
        scales = name.startswith("bright") and not any(part in name for part in ratios)
        factor = gain if scales else 1
        np.testing.assert_allclose(many[name], factor * picture, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("value", [0, 1, 77, 65_535, -3.0, 1e30])
def test_a_constant_has_no_texture(sensor, value):
    pictures = made(np.full((len(sensor.bands), 20, 20), value, np.float32), sensor)
    level = min(abs(value), 1e5) * (1e-4 if sensor is L4S else 1e-3)
    for name, picture in pictures.items():
        assert (np.abs(picture) <= 2e-6 * max(level, 1)).all(), name


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (3, 24)])
def test_tiny_and_extreme_input_stays_finite_and_bounded(sensor, shape, rng):
    image = rng.choice([0, 1, 500, 10_000, 65_535], size=(len(sensor.bands), *shape))
    for name, picture in made(image.astype(np.float32), sensor).items():
        assert picture.dtype == np.float32 and np.isfinite(picture).all(), name
        if "_coherence_" in name:
            assert picture.min() >= 0 and picture.max() <= 1 + 1e-4, name
        if "_along_slope_" in name:
            assert np.abs(picture).max() <= 1 + 1e-4, name


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_patch_within_a_scene_gets_what_the_scene_gets(sensor):
    plan = plan_of(sensor)
    assert plan.support_px <= 45
    same_within_a_scene(plan, sensor, tile=40, rtol=1e-5)


@pytest.mark.parametrize("sensor", SENSORS)
def test_each_feature_reads_no_further_than_it_says(sensor):
    reads_no_further(plan_of(sensor), sensor, rel=1e-4, tiny=1e-6)


def test_no_contrast_is_said_twice():
    fields = all_fields()
    have = {r.feature.name for r in context.recipes(fields)}
    names = [r.feature.name for r in texture.recipes(fields)]
    assert len(set(names)) == len(names)
    assert not have & set(names)
    needless = [r.feature for r in texture.recipes(fields) if r.feature.superseded_by]
    assert {f.name.split("_")[0] for f in needless} == {"ri", "gli"}


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (2, 2), (9, 7)])
def test_kernels_repeat_the_edge_and_say_the_same_in_plain_python(rng, shape):
    image = rng.normal(size=shape).astype(np.float32)
    wide = np.pad(image, 1, mode="edge")
    x, y = (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2, (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2
    expected = (x * x + y * y, x * x - y * y, 2 * x * y)
    for made, plain, one in zip(
        gradient_products(image), gradient_products.py_func(image), expected, strict=True
    ):
        np.testing.assert_allclose(made, one, atol=1e-6)
        np.testing.assert_allclose(plain, one, atol=1e-6)
    centre = wide[1:-1, 1:-1]
    around = (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:])
    steps = np.mean([np.abs(centre - other) for other in around], axis=0)
    np.testing.assert_allclose(mean_step(image), steps, atol=1e-6)
    np.testing.assert_allclose(mean_step.py_func(image), steps, atol=1e-6)
