"""The stages: what they write, that a kill and several devices change nothing, and no leaks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tiny_patches import put_stage, save_store
from unet_world import NEEDS, SIZE, Killed, config_of, context, prepare, same, synthetic

from l4s_ensemble.config import load as load_settings
from l4s_ensemble.errors import ConfigError, DataError, LeakError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run import fingerprint
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.stages import OCCLUSION, fit_stages
from l4s_ensemble.unet import model as models
from l4s_ensemble.unet import stage as stages
from l4s_ensemble.unet.model import UNetModel
from l4s_ensemble.unet.stage import explain_stage, stage
from l4s_ensemble.unet.summarise import logits_by_class
from l4s_ensemble.unet.training.engine import Trainer

SETTINGS = config_of(seeds=2)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run before the U-Net. Copy it."""
    return prepare(tmp_path_factory.mktemp("ready"), SETTINGS)


def put_train(run: Path, ds: xr.Dataset) -> None:
    save_store(ds, run / "data/train")


def fit(run: Path, device: str = "cpu") -> dict[str, Any]:
    ctx = context(run, "unet", SETTINGS, NEEDS)
    summary = stage(replace(ctx, device=device, jobs=2 if "," in device else 1))
    put_stage(run, "unet", summary)
    return summary


@pytest.fixture(scope="module")
def fitted(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after the U-Net. Read only."""
    run = Path(shutil.copytree(ready, tmp_path_factory.mktemp("fitted") / "run"))
    fit(run)
    return run


@pytest.fixture
def run(ready: Path, tmp_path: Path) -> Path:
    """A copy of a run before the U-Net."""
    return Path(shutil.copytree(ready, tmp_path / "run"))


def assert_same_run(a: Path, b: Path) -> None:
    """The same files of weights, bit for bit, and the same scores."""
    files = [f"unet/fold_{k}/network_{n}.safetensors" for k, n in np.ndindex(2, 2)]
    assert len(list((a / "unet").rglob("*.safetensors"))) == len(files)
    for name in files:
        assert (a / name).read_bytes() == (b / name).read_bytes()
    x, y = (open_scores(r / "unet/oof.zarr")["logit"] for r in (a, b))
    np.testing.assert_array_equal(x, y)


def test_the_fit_writes_what_others_read(fitted: Path) -> None:
    out, summary = fitted / "unet", read_json(fitted / "unet/summary.json")
    folds = load_folds(fitted / "scenes")
    oof = open_scores(out / "oof.zarr")
    assert oof["logit"].dims == ("patch", "y", "x")
    assert oof["logit"].dtype == np.float32
    assert oof.attrs["seed"] == 3
    assert oof["patch"].values.tolist() == list(range(1, 16))  # 16 is the holdout
    np.testing.assert_array_equal(oof["fold"], folds.of(oof["patch"], "fold"))
    tiles = TileHistograms.load(out / "tiles.npz")
    np.testing.assert_array_equal(tiles.patch, oof["patch"])
    assert tiles.pooled().positive.sum() == synthetic()["mask"].values[:15].sum()
    assert (summary["networks"], summary["seeds"]) == (4, 2)
    assert summary["skipped_steps"] == 0 and summary["captured"] is None  # no GPU
    assert sum(summary["logits"]["landslide"]) == sum(summary["histogram"]["positive"])
    assert summary["failures"]["threshold"] == summary["oof"]["threshold"]
    for k, fold in enumerate(summary["folds"]):
        assert fold["fold"] == k
        assert fold["train_tiles"] == len(folds.train_ids(k))
        assert fold["held_out_tiles"] == len(folds.held_out_ids(k))
        assert fold["buffer_tiles"] == len(folds.buffer_ids(k))
        assert [n["number"] for n in fold["networks"]] == [0, 1]
        assert fold["seconds"] >= sum(n["seconds"] for n in fold["networks"])
        assert fold["epochs"] == fold["networks"][0]["epochs"]
        assert [e["epoch"] for e in fold["networks"][1]["epochs"]] == [0, 1]
        assert fold["epochs"][1]["validation_loss"] is not None
    assert not list(out.rglob("*.pt"))


def test_out_of_fold_scores_are_those_of_the_fold_that_did_not_see_the_tile(fitted: Path) -> None:
    oof, model = open_scores(fitted / "unet/oof.zarr"), UNetModel.load(fitted / "unet")
    for k, fold in enumerate(model.folds):
        held = np.flatnonzero(oof["fold"].values == k)
        wanted = fold.predict_logit(synthetic().isel(patch=held))
        np.testing.assert_allclose(oof["logit"].values[held], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kill", ["epoch 1", "epoch 5", "scores"])
def test_a_killed_fit_goes_on_and_gives_the_same(
    run: Path, fitted: Path, monkeypatch: pytest.MonkeyPatch, kill: str
) -> None:
    """In the first network, in the second fold, before the scores."""
    epochs: list[int] = []

    def dying(function: Callable[..., Any], after: int) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            found = function(*arguments, **more)
            epochs.append(1)
            if len(epochs) == after:
                raise Killed
            return found

        return call

    with monkeypatch.context() as patch:
        if kill == "scores":
            patch.setattr(stages, "ScoreFile", dying(stages.ScoreFile, 1))
        else:
            patch.setattr(Trainer, "save", dying(Trainer.save, int(kill[-1])))
        with pytest.raises(Killed):
            fit(run)
    done = {"epoch 1": 1, "epoch 5": 5, "scores": 8}[kill]
    epochs.clear()
    monkeypatch.setattr(Trainer, "save", dying(Trainer.save, 99))
    fit(run)
    assert len(epochs) == 8 - done  # nothing is trained again
    assert_same_run(run, fitted)


def test_two_devices_train_what_one_trains(run: Path, fitted: Path) -> None:
    assert fit(run, "cpu,cpu")["device"] == "cpu,cpu"
    assert_same_run(run, fitted)


def test_what_fails_on_one_of_several_devices_is_said(run: Path) -> None:
    ctx = replace(context(run, "unet", config_of(network="smp:unet")), device="cpu,cpu", jobs=2)
    with pytest.raises(ConfigError, match="name of the network"):
        stage(ctx)


def test_labels_that_a_fold_must_not_see_change_nothing(run: Path, fitted: Path) -> None:
    ds = synthetic()
    secret = ~np.isin(ds["patch"], load_folds(run / "scenes").train_ids(0))
    ds["mask"].values[secret] = 1 - ds["mask"].values[secret]
    put_train(run, ds)
    fit(run)
    a, b = (UNetModel.load(r / "unet") for r in (run, fitted))
    pairs = zip(a.folds[0].networks_, b.folds[0].networks_, strict=True)
    assert all(same(*pair) for pair in pairs)
    assert not same(a.folds[1].networks_[0], b.folds[1].networks_[0])  # to that one they are known


def test_planted_leak_is_found(run: Path) -> None:
    """A training tile that has become a copy of a held-out one since the folds were made."""
    folds, ds = load_folds(run / "scenes"), synthetic()
    trained, held = folds.train_ids(1)[0], folds.held_out_ids(1)[0]
    hashes = ds["content_hash"].values.copy()
    hashes[trained - 1] = hashes[held - 1]
    put_train(run, ds.assign_coords(content_hash=("patch", hashes)))
    with pytest.raises(LeakError, match="trains on copies"):
        fit(run)


def test_no_landslide_to_train_on(run: Path) -> None:
    ds = synthetic()
    ds["mask"].values[:] = 0
    put_train(run, ds)
    with pytest.raises(DataError, match=r"no landslide to train on\n.*fold 0"):
        fit(run)


def test_logits_are_counted_by_class() -> None:
    logit = np.array([[[-50.0, -0.1], [0.1, 50.0]]], np.float32)
    found = logits_by_class(logit, np.array([[[0, 1], [1, 0]]], np.uint8))
    assert found.other[0] == found.other[-1] == 1 and sum(found.other) == 2
    at = np.flatnonzero(found.landslide)
    assert np.array(found.edges)[at].tolist() == [-0.25, 0.0]


def test_other_tiles_are_scored_by_every_fold_and_a_killed_prediction_goes_on(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = synthetic(seed=5).isel(patch=np.random.default_rng(0).permutation(16))
    monkeypatch.setitem(models.READ_TILES, "cpu", 3)  # several blocks
    model, every, out = UNetModel.load(fitted / "unet"), np.arange(16), tmp_path / "unet.zarr"
    group = np.arange(16) % 2  # the first group by the models as they are, the other adapted
    models_of = [model, model.adapted(ds.isel(patch=group == 1))]

    def scores() -> ScoreFile:
        return ScoreFile(out, ds["patch"].values, (SIZE, SIZE), models=2, dtype="float16")

    models.score_tiles(scores(), ds, every, models_of, group)
    assert open_scores(out)["patch"].values.tolist() == ds["patch"].values.tolist()
    whole = open_scores(out)["logit"].values
    for g, of_group in enumerate(models_of):
        own = ds.isel(patch=group == g)
        for logit, one in zip(whole[:, group == g], of_group.folds, strict=True):
            np.testing.assert_allclose(logit, one.predict_logit(own), rtol=1e-3, atol=1e-3)
    scores().write(slice(4, 12), np.full((2, 8, SIZE, SIZE), np.nan))
    asked: list[int] = []
    load = models.load

    def noted(store: xr.Dataset, at: np.ndarray, **more: Any) -> object:
        asked.extend(at.tolist())
        return load(store, at, **more)

    monkeypatch.setattr(models, "load", noted)
    models.score_tiles(scores(), ds, every, models_of, group)
    assert asked == list(range(4, 12))
    np.testing.assert_allclose(open_scores(out)["logit"], whole, atol=2e-3)
    asked.clear()
    models.score_tiles(scores(), ds, every, models_of, group)
    assert not asked


def test_half_precision_on_disk_reads_as_float32(tmp_path: Path, rng: np.random.Generator) -> None:
    logit = rng.normal(0, 5, (6, 4, 4)).astype(np.float32)
    logit[0, 0, 0] = 1e9  # finite on disk too
    words = {"fold": [0] * 6, "attrs": {"seed": 3}, "dtype": "float16"}
    file = ScoreFile(tmp_path / "a.zarr", range(6), (4, 4), **words)
    file.write(slice(0, 4), logit[:4])
    assert file.missing() == [slice(4, 6)]
    file.write(slice(4, 6), logit[4:])
    scores = open_scores(tmp_path / "a.zarr")
    assert scores["logit"].dtype == scores["logit"][1].values.dtype == np.float32
    assert scores.attrs["seed"] == 3
    np.testing.assert_allclose(scores["logit"][1:].values, logit[1:], rtol=5e-4)
    assert float(scores["logit"][0, 0, 0]) == np.finfo(np.float16).max
    whole = ScoreFile(tmp_path / "a.zarr", range(6), (4, 4))
    assert len(whole.missing()) == 2  # another type: another file


def test_the_explanation_of_a_fitted_run(fitted: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(fitted, tmp_path / "run"))
    found = explain_stage(context(run, OCCLUSION, SETTINGS, (*NEEDS, "unet")))["occlusion"]
    assert found["tiles"] == 15  # all but the holdout
    assert {r["group"] for r in found["groups"]} >= {"visible", "dem", "all spectral bands"}
    assert found["threshold"] == read_json(fitted / "unet/summary.json")["oof"]["threshold"]


def test_no_setting_of_the_report_is_an_ingredient_of_a_fit(tmp_path: Path) -> None:
    """Whether occlusion is measured trains nothing again."""
    for kind, name in (("img", "image_1.h5"), ("mask", "mask_1.h5")):
        (tmp_path / "TrainData" / kind).mkdir(parents=True)
        (tmp_path / "TrainData" / kind / name).touch()
    made = [
        {s.name: fingerprint.ingredients(s, config, {}, {}) for s in fit_stages(config, tmp_path)}
        for config in (load_settings("demo", [f"report.occlusion={v}"]) for v in ("true", "false"))
    ]
    assert made[0] == made[1] and OCCLUSION in made[0]
