"""Synthetic datasets: layout, determinism, units, and the physics that a model may rely on."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from l4s_ensemble.data.bands import L4S_BANDS, PIXEL_M
from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.sources import synth
from l4s_ensemble.sources.fields import fractal
from l4s_ensemble.sources.optics import in_blocks
from l4s_ensemble.sources.scene import Scene, make_scene
from l4s_ensemble.sources.terrain import illumination, tangent

DIVISOR = np.array([b.divisor for b in L4S_BANDS])


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(3, 4, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    root = tmp_path_factory.mktemp("made")  # an empty folder is taken
    return root, synth.make_dataset(root, train=6, valid=2, test=2, seed=5)


def digest(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): content(p) for p in files}


def content(path: Path) -> str:
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            (key,) = file
            return hashlib.sha256(file[key][:].tobytes()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_layout_is_the_official_one(dataset: tuple[Path, dict]) -> None:
    root, _ = dataset
    names = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    wanted = {"scenes.csv", "synthetic.json"}
    for split, tiles in (("TrainData", 6), ("ValidData", 2), ("TestData", 2)):
        for kind in ("img/image", "mask/mask"):
            wanted |= {f"{split}/{kind}_{i}.h5" for i in range(1, tiles + 1)}
    assert names == wanted
    with h5py.File(root / "TrainData/img/image_3.h5") as file:
        assert list(file) == ["img"]
        assert file["img"].shape == (128, 128, 14)
        assert file["img"].dtype == np.float64
        raw = file["img"][:] * DIVISOR
    assert np.abs(raw - np.rint(raw)).max() < 1e-6
    for i, band in enumerate(L4S_BANDS):
        assert band.low <= raw[..., i].min() <= raw[..., i].max() <= band.high, band.name
    with h5py.File(root / "TrainData/mask/mask_3.h5") as file:
        assert file["mask"].shape == (128, 128)
        assert file["mask"].dtype == np.uint8
        assert set(np.unique(file["mask"])) <= {0, 1}


def test_manifest_places_every_patch_once(dataset: tuple[Path, dict]) -> None:
    root, summary = dataset
    with (root / "scenes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == synth.MANIFEST_COLUMNS
    assert [(r["split"], int(r["patch"])) for r in rows] == [
        *(("train", i) for i in range(1, 7)),
        ("valid", 1),
        ("valid", 2),
        ("test", 1),
        ("test", 2),
    ]
    places = {(r["scene"], r["row"], r["col"]) for r in rows}
    assert len(places) == len(rows)
    by_split = {s: {r["scene"] for r in rows if r["split"] == s} for s in ("train", "valid")}
    assert not by_split["train"] & by_split["valid"]
    assert summary["splits"]["train"]["patches"] == 6


def test_same_seed_same_files_whatever_the_jobs(dataset: tuple[Path, dict], tmp_path: Path) -> None:
    root, _ = dataset
    again = tmp_path / "again"
    synth.make_dataset(again, train=6, valid=2, test=2, seed=5, jobs=2)
    assert digest(again) == digest(root)
    other = tmp_path / "other"
    synth.make_dataset(other, train=1, valid=0, seed=6)
    name = "TrainData/img/image_1.h5"
    assert content(other / name) != content(root / name)


def test_neighbours_continue_each_other(scenes: list[Scene]) -> None:
    scene = scenes[0]
    red = scene.image[3].astype(float)
    across = np.corrcoef(red[:, 127], red[:, 128])[0, 1]
    within = np.corrcoef(red[:, 63], red[:, 64])[0, 1]
    apart = np.corrcoef(red[:, 127], red[:, 384])[0, 1]
    assert across > within - 0.1
    assert across > 0.75
    assert apart < 0.5
    dem = scene.image[13].astype(float)
    assert np.abs(dem[127] - dem[128]).max() < 40


def test_landslides_are_as_rare_and_as_clustered_as_real_ones(scenes: list[Scene]) -> None:
    tiles = np.array([s.mask.reshape(3, 128, 4, 128).mean((1, 3)).ravel() for s in scenes])
    assert 0.012 < tiles.mean() < 0.035
    assert 0.2 < (tiles == 0).mean() < 0.6


def test_landslides_run_downhill(scenes: list[Scene]) -> None:
    """The long axis of an elongated landslide lies along the fall of the ground."""
    angles = []
    for scene in scenes:
        gy, gx = np.gradient(ndimage.gaussian_filter(scene.image[13].astype(float), 4))
        for region in regionprops(label(scene.mask)):
            long = region.axis_major_length > 2 * max(region.axis_minor_length, 1)
            if region.area > 40 and long:
                at = tuple(region.coords.T)
                fall = np.arctan2(gx[at].mean(), gy[at].mean())
                angles.append(abs((fall - region.orientation + np.pi / 2) % np.pi - np.pi / 2))
    assert len(angles) >= 8
    assert np.degrees(np.median(angles)) < 30  # at random 45


def test_landslides_are_steeper_barer_and_partly_unmapped(scenes: list[Scene]) -> None:
    for scene in scenes:
        slope, mask = scene.image[12].astype(float), scene.mask > 0
        assert slope[mask].mean() > slope[~mask].mean() + 4
        red, infrared = scene.image[3].astype(float), scene.image[7].astype(float)
        ndvi = (infrared - red) / (infrared + red)
        assert ndvi[mask].mean() < ndvi[~mask].mean() - 0.1
        # What is bare is not all mapped, what is mapped is not all bare.
        assert 0.02 < (scene.bare[mask] < 0.2).mean() < 0.4
        assert (scene.bare[~mask] > 0.4).any()


def test_no_single_threshold_solves_it(scenes: list[Scene]) -> None:
    red = np.concatenate([s.image[3].ravel() for s in scenes]).astype(float)
    infrared = np.concatenate([s.image[7].ravel() for s in scenes]).astype(float)
    ndvi = (infrared - red) / (infrared + red)
    reference = np.concatenate([s.mask.ravel() for s in scenes]) > 0
    best = max(
        2 * ((ndvi < t) & reference).sum() / ((ndvi < t).sum() + reference.sum())
        for t in np.arange(0.1, 0.6, 0.05)
    )
    assert best < 0.6


def pixel_of(dem: np.ndarray, slope_deg: np.ndarray) -> tuple[float, float]:
    """Pixel size at which the smoothed elevation has the given slope, and their correlation."""
    gy, gx = np.gradient(ndimage.gaussian_filter(dem.astype(float), 2.0))
    steps, given = np.hypot(gy, gx)[4:-4, 4:-4], np.tan(np.radians(slope_deg))[4:-4, 4:-4]
    fit = np.sqrt((steps**2).mean() / (given**2).mean())
    return float(fit), float(np.corrcoef(steps.ravel(), given.ravel())[0, 1])


def test_slope_agrees_with_elevation_but_not_perfectly(scenes: list[Scene]) -> None:
    """Real tiles: slope recomputed from the given elevation correlates .71-.86."""
    dem, given = scenes[0].image[13].astype(float), scenes[0].image[12].astype(float)
    again = np.degrees(np.arctan(tangent(dem)))
    assert 0.6 < np.corrcoef(again.ravel(), given.ravel())[0, 1] < 0.97


def test_pixels_are_of_the_one_size_that_real_tiles_show(real_data: Path) -> None:
    found = []
    for path in sorted((real_data / "l4s-14band/TrainData/img").glob("*.h5")):
        with h5py.File(path) as file:
            raw = np.rint(file["img"][:] * DIVISOR)
        found.append(pixel_of(raw[..., 13], raw[..., 12]))
    size, correlation = np.median(found, axis=0)
    assert correlation > 0.85
    assert size == pytest.approx(PIXEL_M, abs=0.2)


def test_the_ground_is_drawn_on_pixels_of_that_size() -> None:
    y, x = np.mgrid[:9, :9].astype(np.float32)
    np.testing.assert_allclose(tangent(PIXEL_M * (0.6 * y + 0.8 * x))[1:-1, 1:-1], 1.0, rtol=1e-5)


def test_scenes_differ_in_season_and_haze(scenes: list[Scene]) -> None:
    blue = [float(np.median(s.image[1])) for s in scenes]
    assert np.diff(sorted(blue)).min() > 5


def test_light_faces_the_sun() -> None:
    y = np.mgrid[:40, :40][0].astype(np.float32)
    ridge = -np.abs(y - 20) * 6  # slopes to the north above, to the south below
    light = illumination(ridge, 180.0, 40.0)
    assert light[30, 20] > 1 > light[10, 20]
    # A plane turned to the sun is lit at a right angle: cos 0 + sky, against cos 50 + sky.
    assert light[30, 20] / light[10, 20] == pytest.approx(
        (np.cos(np.radians(50) - np.arctan(0.6)) + 0.16)
        / (np.cos(np.radians(50) + np.arctan(0.6)) + 0.16),
        rel=1e-4,
    )


def test_fractal_is_standardised_seeded_and_smooth_by_its_slope() -> None:
    rough, again, smooth = (
        fractal((60, 90), slope, np.random.default_rng(4)) for slope in (1.0, 1.0, 2.0)
    )
    np.testing.assert_array_equal(rough, again)
    assert rough.mean() == pytest.approx(0, abs=1e-4)
    assert rough.std() == pytest.approx(1, abs=1e-3)
    assert np.diff(smooth).std() < 0.5 * np.diff(rough).std()


def test_a_coarse_band_keeps_its_mean(rng: np.random.Generator, scenes: list[Scene]) -> None:
    field = rng.normal(size=(12, 18)).astype(np.float32)
    twenty, sixty = in_blocks(field, "B11"), in_blocks(field, "B1")
    assert twenty[2, 4] == twenty[3, 5] == pytest.approx(field[2:4, 4:6].mean(), abs=1e-6)
    assert (sixty[:6, :6] == sixty[0, 0]).all()
    assert in_blocks(field, "B4") is field
    assert in_blocks(field[:10, :10], "B1").shape == (10, 10)
    equal = [float((band[:, 1:] == band[:, :-1]).mean()) for band in scenes[0].image]
    assert equal[0] > 0.6 and 0.2 < equal[10] < 0.6 and equal[3] < 0.15  # of 60, 20 and 10 m


def test_refuses_to_overwrite_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        synth.make_dataset(tmp_path / "data", train=1, valid=0)
    assert (tmp_path / "data").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(synth, "write_scene", fail)
    with pytest.raises(OSError, match="disk full"):
        synth.make_dataset(tmp_path / "data", train=1, valid=0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_of_no_patches(tmp_path: Path) -> None:
    for counts in ({"train": 0, "valid": 0}, {"train": -1}):
        with pytest.raises(ConfigError, match="needs patches"):
            synth.make_dataset(tmp_path / "data", **counts)
    with pytest.raises(ConfigError, match="needs tiles"):
        make_scene(0, 3)


@pytest.mark.parametrize("total", [1, 7, 24, 47, 48, 96, 97, 383, 384, 3799])
def test_plan_covers_every_patch(total: int) -> None:
    plans = synth.plan_scenes({"train": total}, seed=0)
    cells = [c for p in plans for c in p.cells()]
    assert [c[0] for c in cells] == list(range(1, total + 1))
    assert all(row < p.rows and col < p.cols for p in plans for _, row, col in p.cells())
    assert all((p.rows - 1) * p.cols < p.tiles <= p.rows * p.cols for p in plans)
    assert len({p.seed for p in plans}) == len(plans)
