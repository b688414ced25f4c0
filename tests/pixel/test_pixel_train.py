"""The pixel stage: what it leaves, that it learns, and that nothing leaks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
import xarray as xr
from pixel_world import config_of, prepare, run_pixel, save, synthetic
from pydantic import ValidationError

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import DataError, LeakError
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.sampling import plan_pixels
from l4s_ensemble.pixel.summary import PixelSummary


def summary_of(run: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "pixel" / "summary.json").read_text())
    return value


def test_it_learns_a_plain_problem_and_says_so(fitted: Path) -> None:
    told = summary_of(fitted)
    assert PixelSummary.model_validate(told).features == told["features"]
    assert told["oof"]["f1"] > 0.9
    assert told["oof"]["calibration_error"] < 0.02
    assert {f["fold"] for f in told["folds"]} == {0, 1, 2}
    assert all(f["f1"] > 0.8 for f in told["folds"])
    assert told["rows"]["positives"] < told["rows"]["pixels"]
    for damage in ({"folds": [{}]}, {"oof": None}, {"surprise": 1}, {"seconds": "9"}):
        with pytest.raises(ValidationError):
            PixelSummary.model_validate(told | damage)


def test_out_of_fold_scores_are_whole_and_of_fit_tiles_only(fitted: Path) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    folds = load_folds(fitted / "scenes")
    fit = np.sort(folds.patch[folds.role == "fit"])
    oof = xr.open_zarr(fitted / "pixel" / "oof.zarr", chunks=None, consolidated=False)
    assert oof["logit"].dims == ("patch", "y", "x")
    assert oof["logit"].dtype == np.float32
    assert oof.attrs["seed"] == 3
    np.testing.assert_array_equal(oof["patch"], fit)
    np.testing.assert_array_equal(oof["fold"], folds.of(fit, "fold"))
    assert np.isfinite(oof["logit"].values).all()
    assert 6 not in fit  # the tile hold out
    # tiles.npz counts every pixel of these tiles, at the probability of its logit.
    tiles = TileHistograms.load(fitted / "pixel" / "tiles.npz")
    np.testing.assert_array_equal(tiles.patch, fit)
    reference = synthetic()["mask"].sel(patch=fit).values.astype(bool)
    hit = (sigmoid(oof["logit"].values) >= 0.5) & reference
    np.testing.assert_array_equal(tiles.counts(0.5).tp, hit.sum(axis=(1, 2)))


def test_no_tile_is_scored_by_a_model_that_saw_it(fitted: Path) -> None:
    folder = fitted / "pixel"
    oof = xr.open_zarr(folder / "oof.zarr", chunks=None, consolidated=False)
    source = FeatureSource(fitted / "data/train/patches.zarr", folder / "features.json")
    ids = synthetic()["patch"].values
    for k in range(3):
        trained = set(json.loads((folder / f"fold_{k}.json").read_text())["trained"])
        held = oof["patch"].values[oof["fold"].values == k]
        assert trained and len(held)
        assert not trained & set(held.tolist())
        # The stored logits are those of this very booster, by LightGBM's plain call.
        booster = lgb.Booster(model_file=str(folder / f"fold_{k}/booster_0.txt"))
        cube = source.tiles(np.flatnonzero(ids == held[0]))[0]
        raw = booster.predict(cube.reshape(len(cube), -1).T.astype(np.float64), raw_score=True)
        np.testing.assert_allclose(
            oof["logit"].sel(patch=held[0]).values.ravel(), raw, rtol=1e-5, atol=1e-5
        )


def test_an_interrupted_run_goes_on(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zarr

    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    folder = run / "pixel"
    before = zarr.open_array(folder / "oof.zarr/logit", mode="r")[...]
    for name in ("fold_1/classifier.json", "summary.json", "model.json", "tiles.npz"):
        (folder / name).unlink()
    zarr.open_array(folder / "oof.zarr/logit", mode="r+")[8:] = np.nan
    seeds = []
    fit = PixelClassifier.fit
    monkeypatch.setattr(
        PixelClassifier, "fit", lambda c, *a, **k: seeds.append(c.random_state) or fit(c, *a, **k)
    )
    monkeypatch.setattr(
        "l4s_ensemble.pixel.blocks.rows_of_block", lambda *a: pytest.fail("rows were kept")
    )
    told = run_pixel(run, config_of())
    assert seeds == [3 + 1]  # only the fold whose classifier was not whole
    np.testing.assert_array_equal(zarr.open_array(folder / "oof.zarr/logit", mode="r")[...], before)
    assert told["oof"] == summary_of(fitted)["oof"]


def test_a_copy_of_a_held_tile_stops_the_fit(tmp_path: Path) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    run = prepare(tmp_path / "run", config_of(), synthetic())
    folds = load_folds(run / "scenes")
    trained, held = folds.train_ids(0)[0], folds.held_out_ids(0)[0]
    dataset = synthetic()
    hashes = dataset["content_hash"].values.copy()
    ids = dataset["patch"].values
    hashes[ids == trained] = hashes[ids == held]
    dataset["content_hash"] = ("patch", hashes)
    save(dataset, run)
    with pytest.raises(LeakError):
        run_pixel(run, config_of())
    assert not list((run / "pixel").glob("fold_*"))


def test_tiles_without_masks_are_refused(prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(prepared, run)
    save(synthetic().drop_vars("mask"), run)
    with pytest.raises(DataError, match="mask"):
        run_pixel(run, config_of())


def test_probabilities_mean_what_they_say() -> None:
    """Labels drawn with a known chance: sampled three to one, scored at the true frequency."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 48, 48)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(1.6 * x - 4.2)))
    masks = (rng.random(x.shape) < chance).astype(np.uint8)
    config = PixelConfig(positives_max=1500, negatives_per_positive=3, boundary_share=0.6)
    plan = plan_pixels(np.arange(40), masks, config, seed=0)
    assert plan.landslide.mean() > 0.2 > 3 * masks.mean()
    classifier = PixelClassifier(trees=40, leaves=4, learning_rate=0.15, feature_fraction=1.0)
    rows = x.reshape(40, -1)[plan.patch, plan.pixel][:, None]
    classifier.fit(rows, plan.landslide, plan.weights_of(np.arange(30)))
    p = classifier.predict_proba(x[30:].reshape(-1, 1))[:, 1]
    assert p.mean() == pytest.approx(masks[30:].mean(), rel=0.1)
    pooled = ScoreHistogram.empty()
    pooled.add(p, masks[30:])
    assert pooled.expected_calibration_error() < 0.01
    told = pooled.reliability()
    for predicted, observed, pixels in zip(*told.values(), strict=True):
        if pixels and pixels > 500:
            assert predicted == pytest.approx(observed, abs=0.06)
