from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from tiny_patches import run_stage

from l4s_ensemble.config import build as build_config
from l4s_ensemble.data.stage import stage as data_stage
from l4s_ensemble.data.store import landslide_pixels, open_store
from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.features.full import write_full
from l4s_ensemble.features.registry import plan_from_file
from l4s_ensemble.features.sample import share_out
from l4s_ensemble.features.source import FeatureSource, features_of
from l4s_ensemble.features.stage import stage
from l4s_ensemble.features.statistics import univariate
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes import folds
from l4s_ensemble.scenes.stage import stage as make_scenes

CONFIG = build_config(
    {
        "scenes": {"folds": 2, "block_tiles": 2},
        "features": {"sample_pixels": 3000, "exclude": ["psri"]},
    }
)


@pytest.fixture(scope="module")
def run(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the data and scenes stages done."""
    run = tmp_path_factory.mktemp("run")
    params = {"root": str(tiny_root), "split": "train", "sensor": "l4s"}
    run_stage(run, "data/train", data_stage, CONFIG, params=params)
    run_stage(run, "scenes", make_scenes, CONFIG, ("data/train",))
    return run


def execute(run: Path, out: Path, jobs: int = 1, config=CONFIG) -> dict:
    out.mkdir()
    return stage(StageContext(run, out, config, {}, ("data/train", "scenes"), jobs))


@pytest.fixture(scope="module")
def done(run: Path) -> tuple[Path, dict]:
    out = run / "features"
    return out, execute(run, out)


def test_stage_writes_plan_sample_and_summary(run, done):
    out, summary = done
    plan = plan_from_file(out / "features.json")
    assert [f["name"] for f in summary["features"]] == list(plan.names)
    assert "psri" in {item["name"] for item in summary["left_out"]}
    json.dumps(summary, allow_nan=False)
    with np.load(out / "sample.npz", allow_pickle=False) as z:
        assert z["X"].shape == (3000, len(plan.features)) and z["X"].dtype == np.float32
        assert np.isfinite(z["X"]).all()
        assert z["y"].sum() == summary["sample"]["positives"] == 1500
        assert tuple(z["names"]) == plan.names
        known = folds.load_folds(run / "scenes")
        assert set(z["patch"]) <= set(known.fit_ids)
        np.testing.assert_array_equal(z["fold"], known.of(z["patch"], "fold"))
        assert len(set(zip(z["patch"], z["pixel"], strict=True))) == 3000


def test_sample_has_the_features_of_its_pixels(run, done):
    out, _ = done
    dataset = open_store(run / "data" / "train")
    with np.load(out / "sample.npz", allow_pickle=False) as z:
        patch = z["patch"][0]
        rows = z["patch"] == patch
        source = FeatureSource.beside(out, run / "data" / "train" / "patches.zarr")
        made = source.tiles(source.positions([patch]))[0]
        expected = made.reshape(len(made), -1)[:, z["pixel"][rows]].T
        np.testing.assert_array_equal(z["X"][rows], expected)
        reference = dataset["mask"].sel(patch=patch).values.ravel()[z["pixel"][rows]]
        np.testing.assert_array_equal(z["y"][rows], reference)
        # Weights restore the true prevalence.
        fit = dataset.sel(patch=folds.load_folds(run / "scenes").fit_ids)
        assert z["weight"].sum() == pytest.approx(fit["mask"].size)
        landslide = z["weight"][z["y"] == 1].sum()
        assert landslide == pytest.approx(int(landslide_pixels(fit).sum()))


def test_jobs_do_not_change_the_result(run, done, tmp_path):
    out, _ = done
    execute(run, tmp_path / "two", jobs=2)
    with np.load(out / "sample.npz") as a, np.load(tmp_path / "two" / "sample.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def test_whole_arrays_are_those_of_the_patches(run, done):
    path = write_full(run, jobs=2)
    made = xr.open_zarr(path, consolidated=False, chunks=None)
    assert made["features"].dims == ("patch", "feature", "y", "x")
    assert made["features"].dtype == np.float16
    assert made["patch"].values.tolist() == list(range(1, 13))
    assert made["unit"].sel(feature="slope_deg").item() == "degree"
    source = FeatureSource.beside(path.parent, run / "data/train/patches.zarr")
    for at in (0, 11):
        found = made["features"].isel(patch=at).values
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, source.tiles([at])[0], rtol=6e-4, atol=1e-6)
    assert [p.name for p in path.parent.glob(".*")] == []


def test_statistics_tell_the_landslides(done):
    by_name = {f["name"]: f for f in done[1]["features"]}
    assert by_name["ndvi"]["auc"] < 0.05  # synthetic landslides are bare
    assert by_name["bsi"]["auc"] > 0.95
    assert by_name["bsi"]["best_f1"] > 0.7
    assert by_name["ndvi"]["mean_landslide"] < by_name["ndvi"]["mean_other"]


def test_patches_without_masks_are_refused(run, tiny_root, tmp_path):
    params = {"root": str(tiny_root), "split": "test", "sensor": "l4s"}
    run_stage(tmp_path, "data/train", data_stage, CONFIG, params=params)
    shutil.copytree(run / "scenes", tmp_path / "scenes")
    with pytest.raises(DataError):
        execute(tmp_path, tmp_path / "features")


def test_features_of_a_dataset(tiny_dataset: xr.Dataset):
    few = tiny_dataset.isel(patch=slice(1, 3))
    made = features_of(few, ["slope_deg", "ndvi"])
    assert made.dims == ("patch", "feature", "y", "x")
    assert list(made["feature"].values) == ["slope_deg", "ndvi"]
    assert list(made["unit"].values) == ["degree", "1"]
    assert made.attrs["sensor"] == "l4s"
    np.testing.assert_array_equal(made["patch"], few["patch"])
    red, nir = (few["image"].sel(band=b).astype(float) for b in ("B4", "B8"))
    np.testing.assert_allclose(
        made.sel(feature="ndvi"), ((nir - red) / (nir + red)).values, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(made.sel(feature="slope_deg"), few["image"].sel(band="slope"))
    with pytest.raises(ConfigError, match="no such feature"):
        features_of(few, ["ndvy"])


def test_univariate_is_what_a_count_of_pairs_and_thresholds_gives(rng):
    reference = (rng.random(300) < 0.3).astype(np.uint8)
    values = np.round(rng.normal(size=300) + 1.5 * reference, 1).astype(np.float32)
    weight = rng.uniform(0.5, 3.0, 300)
    hit, other = reference > 0, reference == 0
    above = values[hit][:, None] - values[other]
    pairs = weight[hit][:, None] * weight[other]
    auc = (pairs * ((above > 0) + 0.5 * (above == 0))).sum() / pairs.sum()
    best = 0.0
    for threshold in np.unique(values):
        for predicted in (values >= threshold, values <= threshold):
            right = weight[predicted & hit].sum()
            best = max(best, 2 * right / (weight[predicted].sum() + weight[hit].sum()))
    for sign in (1, -1):
        made = univariate(sign * values, reference, weight)
        assert made.auc == pytest.approx(auc if sign > 0 else 1 - auc)
        assert made.best_f1 == pytest.approx(best)
    assert made.mean_landslide == pytest.approx(float(-values[hit].mean()), abs=1e-5)


def test_univariate_of_one_class_or_one_value():
    ones = np.ones(5, np.float32)
    alone = univariate(ones, np.zeros(5, np.uint8), np.ones(5))
    assert alone.auc is None and alone.best_f1 is None and alone.mean_landslide is None
    tied = univariate(ones, np.array([0, 1, 0, 1, 0], np.uint8), np.ones(5))
    assert tied.auc == pytest.approx(0.5)
    assert tied.best_f1 == pytest.approx(2 * 2 / (2 + 5))


def test_share_out_takes_half_landslide_where_it_can():
    pixels = np.array([0, 10, 90, 0])
    quota = share_out(pixels, 100, 60, seed=3)
    assert quota.landslide.sum() == 30 and quota.other.sum() == 30
    assert (quota.landslide <= pixels).all() and (quota.other <= 100 - pixels).all()
    assert quota.landslide.sum() * quota.weight_landslide == pytest.approx(100)
    few = share_out(np.array([0, 2]), 100, 60, seed=3)
    assert few.landslide.sum() == 2 and few.other.sum() == 58
    everything = share_out(np.array([40, 160]), 200, 10_000, seed=3)
    assert everything.landslide.sum() == 200 and everything.other.sum() == 200
    with pytest.raises(DataError, match="no patch"):
        share_out(np.array([], np.int64), 100, 60, seed=3)
