from __future__ import annotations

import numpy as np
import pytest
from feature_world import scene

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features import flow_kernels, kernels, water
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.canvas import exact_gaussian_weights
from l4s_ensemble.features.registry import select

DEM = L4S.band_names.index("dem")
PLAN = select(L4S, FeaturesConfig(groups=("water",)))
REACH = PLAN.support_px
SEEP = water.SEEP
STEPS = list(zip(flow_kernels.ROW, flow_kernels.COLUMN, strict=True))


def made_of(dem: np.ndarray, margin: int = 0) -> dict[str, np.ndarray]:
    image = np.zeros((14, *dem.shape), np.float32)
    image[DEM] = dem
    return dict(zip(PLAN.names, compute(image, L4S, PLAN, margin=margin), strict=True))


def metres(size: int) -> tuple[np.ndarray, np.ndarray]:
    """East and north of each pixel's centre from the middle of the picture, metres."""
    row, column = np.mgrid[:size, :size].astype(float)
    return 10 * (column - size // 2), -10 * (row - size // 2)


def shares_of(z: np.ndarray, i: int, j: int) -> dict[tuple[int, int], float]:
    """Where the water of one pixel goes, by the formula."""
    parts = {}
    for di, dj in STEPS:
        fall = z[i, j] - z[i + di, j + dj]
        away = np.hypot(di, dj)
        contour = 0.5 if away == 1 else np.sqrt(2) / 4
        if fall > 0:
            parts[i + di, j + dj] = contour * fall / (10 * away)
    total = sum(parts.values()) + SEEP
    return {to: part / total for to, part in parts.items()}


def poured(z: np.ndarray, start: tuple[int, int], steps: int) -> list[dict]:
    """Shares of a drop in each pixel after 0 … `steps` steps, followed one by one."""
    inside = range(1, len(z) - 1)
    here = {start: 1.0}
    out = [here]
    for _ in range(steps):
        there: dict[tuple[int, int], float] = {}
        for (i, j), amount in here.items():
            if i in inside and j in inside:
                for to, share in shares_of(z, i, j).items():
                    there[to] = there.get(to, 0.0) + amount * share
        out.append(there)
        here = there
    return out


@pytest.fixture(scope="module", params=[0, 1])
def rough(request):
    rng = np.random.default_rng(request.param)
    z = rng.normal(size=(17, 17)).cumsum(axis=0) + rng.normal(size=(17, 17)).cumsum(axis=1)
    if request.param:
        z = np.rint(z)  # ties and flats
    return z


def test_upslope_sums_are_those_of_drops_poured_one_by_one(rough):
    steps, size = 4, len(rough)
    slope = np.random.default_rng(9).uniform(0, 1, rough.shape).astype(np.float32)
    cells, slopes, falls = np.zeros((3, size, size))
    for i in range(size):
        for j in range(size):
            for after in poured(rough, (i, j), steps):
                for to, amount in after.items():
                    cells[to] += amount
                    slopes[to] += amount * slope[i, j]
                    falls[to] += amount * (rough[i, j] - rough[to])
    shares = flow_kernels.flow_shares(rough, 10.0, SEEP)
    made = flow_kernels.gather_upslope(shares, rough.astype(np.float32), slope, steps, 1)
    inner = np.s_[1 + steps : -1 - steps, 1 + steps : -1 - steps]
    for a, b in zip(made, (cells, slopes, falls), strict=True):
        np.testing.assert_allclose(a[inner], b[inner], rtol=2e-5, atol=2e-5)
    assert cells[inner].max() > 5


def test_downslope_is_the_expectation_over_all_ways(rough):
    steps, size = 4, len(rough)
    stop = np.random.default_rng(3).choice([0, 0, 0.3, 1], rough.shape).astype(np.float32)
    inner = range(1 + steps, size - 1 - steps)
    shares = flow_kernels.flow_shares(rough, 10.0, SEEP)
    fall, way = flow_kernels.follow_downslope(shares, rough.astype(np.float32), stop, steps, 1)
    for i in inner:
        for j in inner:
            expected = np.zeros(2)
            here = {(i, j): 1.0}
            for _ in range(steps):
                there: dict[tuple[int, int], float] = {}
                for at, amount in here.items():
                    for to, share in shares_of(rough, *at).items():
                        moved = amount * (1 - stop[at]) * share
                        away = np.hypot(to[0] - at[0], to[1] - at[1])
                        expected += moved * np.array([rough[at] - rough[to], away])
                        there[to] = there.get(to, 0.0) + moved
                here = there
            np.testing.assert_allclose([fall[i, j], way[i, j]], expected, rtol=2e-5, atol=2e-5)


def test_shares_are_the_formula_and_less_than_all(rough):
    shares = flow_kernels.flow_shares(rough, 10.0, SEEP)
    assert (shares >= 0).all()
    assert shares.sum(axis=0).max() <= 1 + 1e-6
    assert (shares[:, 0] == 0).all()
    for at in ((1, 1), (5, 9), (8, 8)):
        expected = shares_of(rough, *at)
        made = {
            (at[0] + di, at[1] + dj): shares[k, at[0], at[1]] for k, (di, dj) in enumerate(STEPS)
        }
        for to, share in made.items():
            assert share == pytest.approx(expected.get(to, 0), rel=1e-5, abs=1e-7)


def test_exact_smoothing_is_scipys():
    from scipy import ndimage

    dem = scene(40, 40)[DEM]
    made = kernels.smooth(dem.astype(np.float64), exact_gaussian_weights(water.SIGMA_PX))
    expected = ndimage.gaussian_filter(dem.astype(float), water.SIGMA_PX, radius=6)
    np.testing.assert_allclose(made, expected[6:-6, 6:-6], atol=1e-9)


@pytest.mark.parametrize("azimuth_deg", [0, 45, 90, 160, 225])
def test_on_a_plane_every_step_brings_a_pixel(azimuth_deg):
    east, north = metres(40)
    down, rise = np.radians(azimuth_deg), 0.5
    fall = rise * (east * np.sin(down) + north * np.cos(down))
    made = made_of(2000 - fall)
    # What flows on from a pixel is all but the seepage; contour lengths as in the kernel.
    parts = [
        max((np.sin(down) * dj - np.cos(down) * di) * rise / np.hypot(di, dj), 0)
        * (0.5 if di * dj == 0 else np.sqrt(2) / 4)
        for di, dj in STEPS
    ]
    kept = sum(parts) / (sum(parts) + SEEP)
    cells = sum(kept**t for t in range(water.UPSLOPE_PX + 1))
    np.testing.assert_allclose(made["flow_16_log_m"], np.log(10 * cells), atol=2e-3)
    np.testing.assert_allclose(made["wetness_16"], np.log(10 * cells / rise), atol=3e-3)
    np.testing.assert_allclose(made["stream_power_16"], np.log(10 * cells * rise), atol=3e-3)
    np.testing.assert_allclose(made["upslope_slope_16_deg"], np.degrees(np.arctan(rise)), atol=0.05)
    # No drainage on a plane: 24 steps down, of 5 m on an axis and less or more across.
    steps = sum(kept**t for t in range(1, water.DOWNSLOPE_PX + 1))
    share = np.array(parts) / sum(parts)
    drop = sum(
        s * 10 * rise * (np.sin(down) * dj - np.cos(down) * di)
        for s, (di, dj) in zip(share, STEPS, strict=True)
    )
    way = sum(s * 10 * np.hypot(di, dj) for s, (di, dj) in zip(share, STEPS, strict=True))
    np.testing.assert_allclose(made["above_drainage_24_m"], steps * drop, rtol=2e-3)
    np.testing.assert_allclose(made["to_drainage_24_m"], steps * way, rtol=2e-3)
    np.testing.assert_allclose(
        made["slope_to_drainage_24_deg"], np.degrees(np.arctan(drop / way)), atol=0.05
    )
    # Mean over the contributing pixels, 0 … 16 steps above.
    mean = drop * sum(t * kept**t for t in range(water.UPSLOPE_PX + 1)) / cells
    np.testing.assert_allclose(made["upslope_height_16_m"], mean, rtol=2e-3)


def test_water_gathers_in_a_valley_and_height_counts_from_it():
    east, north = metres(101)
    made = made_of(1000 + 0.5 * np.abs(east) + 0.1 * north)
    axis, side = (50, 50), (50, 60)
    assert made["flow_16_log_m"][axis] > made["flow_16_log_m"][side] + 1.5
    assert made["wetness_16"][axis] > made["wetness_16"][side] + 2
    assert made["above_drainage_24_m"][axis] == pytest.approx(0, abs=0.5)
    for away in (8, 12, 16):
        above = made["above_drainage_24_m"][50, 50 + away]
        # Where the drainage begins its soft edge costs about a pixel; smoothing fills the valley.
        assert above == pytest.approx(5 * away, abs=12)
        assert 10 * away - 25 < made["to_drainage_24_m"][50, 50 + away] < 14 * away + 10
        assert 15 < made["slope_to_drainage_24_deg"][50, 50 + away] < 30


def test_water_leaves_a_peak_and_comes_to_a_pit():
    east, north = metres(81)
    cone = 0.4 * np.hypot(east, north)
    peak, pit = made_of(2000 - cone), made_of(2000 + cone)
    top = (40, 40)
    assert peak["flow_16_log_m"][top] == pytest.approx(np.log(10), abs=1e-4)
    assert peak["upslope_height_16_m"][top] == pytest.approx(0, abs=1e-4)
    # A drop of a cone comes to its tip within 16 steps from about that far: most of a disc.
    cells = np.exp(pit["flow_16_log_m"][top]) / 10
    assert 0.5 * np.pi * 16**2 < cells < 33**2
    assert pit["above_drainage_24_m"][top] == 0
    assert pit["to_drainage_24_m"][top] == 0
    ring = np.abs(np.hypot(east, north) - 120) < 5
    # Down to the foot of the cone, which drains more than half a hectare.
    assert (np.abs(pit["above_drainage_24_m"][ring] - 48) < 25).all()
    assert (pit["flow_16_log_m"][ring] > peak["flow_16_log_m"][ring] + 0.5).all()


@pytest.mark.parametrize("level", [0.0, 700.0, 20_000.0])
def test_flat_ground_keeps_its_water(level):
    made = made_of(np.full((20, 24), level))
    np.testing.assert_allclose(made["flow_16_log_m"], np.log(10), atol=1e-6)
    np.testing.assert_allclose(made["wetness_16"], np.log(10 / 0.02), atol=1e-5)
    np.testing.assert_allclose(made["stream_power_16"], np.log(10 * 0.02), atol=1e-5)
    for name in PLAN.names[3:]:
        assert (made[name] == 0).all(), name


def test_a_wide_plateau_is_flat_and_its_rim_is_not():
    east, _ = metres(160)
    made = made_of(np.where(east < 0, 101.0, 100.0))
    for column in (20, 140):
        np.testing.assert_allclose(made["flow_16_log_m"][:, column], np.log(10), atol=1e-6)
        assert (made["to_drainage_24_m"][:, column] == 0).all()
    assert (made["flow_16_log_m"][:, 80] > np.log(20)).all()


def test_whole_metres_tell_about_the_same_as_exact_ones():
    east, north = metres(80)
    dem = 1500 + 0.25 * east + 0.2 * north + 10 * np.sin(east / 60) * np.cos(north / 80)
    exact, whole = made_of(dem), made_of(np.rint(dem))
    inner = np.s_[10:-10, 10:-10]
    for name, a in exact.items():
        assert np.corrcoef(a[inner].ravel(), whole[name][inner].ravel())[0, 1] > 0.95, name


def test_elevation_above_the_sea_does_not_matter():
    dem = scene(60, 60)[DEM]
    low, high = made_of(dem), made_of(dem + 2500)
    for name in low:
        np.testing.assert_allclose(low[name], high[name], rtol=1e-4, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_features_turn_with_the_picture(quarters, flip):
    def turn(picture):
        return np.rot90(picture[:, ::-1] if flip else picture, quarters)

    dem = scene(50, 62, seed=2)[DEM]
    plain, turned = made_of(dem), made_of(turn(dem))
    for name in plain:
        np.testing.assert_allclose(
            turned[name], turn(plain[name]), rtol=1e-4, atol=2e-3, err_msg=name
        )


def test_what_lies_beyond_the_support_changes_nothing_and_what_lies_within_may():
    size = 2 * REACH + 5  # a core of 3 pixels, two more on each side
    dem = scene(size, size, seed=4)[DEM]
    rim = np.ones((size, size), bool)
    rim[1:-1, 1:-1] = False

    def core(picture):
        return made_of(picture, REACH + 1)

    before = core(dem)
    far = np.where(rim, dem + 5000 * np.random.default_rng(0).random(dem.shape), dem)
    for name, after in core(far).items():
        np.testing.assert_array_equal(after, before[name], err_msg=name)
    near = dem.copy()
    near[REACH + 2 - 4] += 200
    for name, after in core(near).items():
        assert not np.array_equal(after, before[name]), name


def test_a_wider_margin_gives_the_same():
    whole = scene(40 + 2 * 60, 40 + 2 * 60, seed=5)[DEM]
    cut = whole[60 - REACH : REACH - 60, 60 - REACH : REACH - 60]
    wide, narrow = made_of(whole, 60), made_of(cut, REACH)
    for name in wide:
        np.testing.assert_array_equal(wide[name], narrow[name], err_msg=name)


def test_any_elevation_is_finite():
    rng = np.random.default_rng(1)
    for dem in (
        rng.uniform(-2e4, 2e4, (9, 9)),
        rng.integers(0, 2, (8, 8)) * 1e30,
        np.full((1, 1), 5.0),
        rng.normal(size=(3, 30)) * 1e-20,
    ):
        for name, picture in made_of(dem).items():
            assert picture.dtype == np.float32
            assert np.isfinite(picture).all(), name
