"""Training, resume, inference, and the two stages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import (
    NEEDS,
    SENSOR,
    Killed,
    config_of,
    context,
    cpu,
    made_up,
    prepare,
    put_stage,
    same,
    tiny,
)

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import ConfigError, DataError, L4SError, LeakError, ModelError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.unet import infer, train
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, load
from l4s_ensemble.unet.model import FoldModel, UNetModel
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.training import networks as training
from l4s_ensemble.unet.training.engine import FoldTrainer


def trainer(config: UNetConfig, positions: object = range(16), fold: int = 0) -> FoldTrainer:
    tiles, hardware = load(made_up()), cpu(config.precision)
    return FoldTrainer(tiles, np.array(positions), config, seed=3, fold=fold, hardware=hardware)


def assert_same_run(a: Path, b: Path) -> None:
    """The same files of weights, bit for bit, and the same scores."""
    files = {p.name for p in (b / "unet").glob("*.safetensors")}
    assert {p.name for p in (a / "unet").glob("*.safetensors")} == files and len(files) == 4
    for name in files:
        assert (a / "unet" / name).read_bytes() == (b / "unet" / name).read_bytes()
    x, y = (open_scores(r / "unet" / "oof.zarr")["logit"] for r in (a, b))
    np.testing.assert_array_equal(x, y)


SETTINGS = config_of(seeds=2)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run before the U-Net. Copy it."""
    return prepare(tmp_path_factory.mktemp("ready"), SETTINGS)


@pytest.fixture(scope="module")
def fitted(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after the U-Net. Read only."""
    run = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(ready, run)
    put_stage(run, "unet", train.stage(context(run, "unet", SETTINGS)))
    return run


@pytest.fixture
def run(ready: Path, tmp_path: Path) -> Path:
    """A copy of a run before the U-Net."""
    return Path(shutil.copytree(ready, tmp_path / "run"))


def test_two_tiles_are_learned_by_heart() -> None:
    job = trainer(tiny(width=8, epochs=60, batch=2, lr=1e-2, ema=0.9), positions=[0, 1])
    model = job.run()
    logit = Predictor(model, cpu(), tta=False)(job.tiles, [0, 1])
    truth = job.tiles.mask[:2].numpy() > 0  # type: ignore[index]
    called = logit > 0
    f1 = 2 * (called & truth).sum() / (called.sum() + truth.sum())
    assert f1 > 0.9
    assert job.epochs[-1]["loss"] < job.epochs[0]["loss"] / 2


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_kill_and_resume_give_the_same_bits(tmp_path: Path, optimiser: str) -> None:
    config = tiny(epochs=4, optimiser=optimiser, precision="auto")
    whole = trainer(config).run()

    def kill(at: FoldTrainer) -> None:
        at.save(tmp_path / "c.pt")
        if len(at.epochs) == 2:
            raise Killed

    with pytest.raises(Killed):
        trainer(config).run(kill)
    second = trainer(config)
    assert second.resume(tmp_path / "c.pt")
    assert len(second.epochs) == 2
    assert same(second.run().network, whole.network)


def test_checkpoint_of_another_training_or_damaged_is_not_used(tmp_path: Path) -> None:
    job = trainer(tiny())
    job.run(lambda at: at.save(tmp_path / "c.pt"))
    assert not trainer(tiny(lr=1e-3)).resume(tmp_path / "c.pt")
    assert not trainer(tiny(), fold=1).resume(tmp_path / "c.pt")
    assert not trainer(tiny(), positions=range(8)).resume(tmp_path / "c.pt")
    (tmp_path / "c.pt").write_bytes(b"half of it")
    assert not trainer(tiny()).resume(tmp_path / "c.pt")
    assert not trainer(tiny()).resume(tmp_path / "none.pt")


def test_a_loss_that_is_not_finite_says_where() -> None:
    job = trainer(tiny(epochs=3), fold=1)
    with torch.no_grad():
        next(job.network.parameters()).fill_(float("nan"))
    with pytest.raises(L4SError, match="fold 1, network 0, epoch 0, step 0") as error:
        job.run()
    shown = job.tiles.patch[job.batches.order(0)[:4]]
    assert f"inputs finite: yes; batch: patch {', '.join(map(str, shown))}" in str(error.value)


def test_inputs_that_are_not_finite_are_named() -> None:
    def spoil(at: FoldTrainer) -> None:
        at.tiles.scale[5] = float("nan")  # patch 6

    job = trainer(tiny(epochs=3))
    with pytest.raises(L4SError, match="fold 0, network 0, epoch 1, step") as error:
        job.run(spoil)
    assert "inputs finite: no, not those of patch 6; batch: patch" in str(error.value)
    assert "6" in str(error.value).split("batch: patch")[1]


def test_bf16_is_close_to_float32() -> None:
    job = trainer(tiny(width=8, depth=3, epochs=8, lr=1e-2))
    model = job.run()
    exact = Predictor(model, cpu(), tta=False)(job.tiles, range(16))
    rough = Predictor(model, cpu("bfloat16"), tta=False)(job.tiles, range(16))
    assert np.abs(rough - exact).mean() < 0.05 * exact.std()
    assert ((rough > 0) == (exact > 0)).mean() > 0.99


def test_stage_writes_what_others_read(fitted: Path) -> None:
    out, summary = fitted / "unet", read_json(fitted / "unet" / "summary.json")
    folds = load_folds(fitted / "scenes")
    oof = open_scores(out / "oof.zarr")
    assert oof["logit"].dims == ("patch", "y", "x")
    assert oof["logit"].dtype == np.float32
    assert oof.attrs["seed"] == 3
    assert oof["patch"].values.tolist() == list(range(1, 16))  # 16 is the holdout
    np.testing.assert_array_equal(oof["fold"], folds.of(oof["patch"], "fold"))
    tiles = TileHistograms.load(out / "tiles.npz")
    np.testing.assert_array_equal(tiles.patch, oof["patch"])
    assert tiles.pooled().positive.sum() == made_up()["mask"].values[:15].sum()
    assert {
        "network", "parameters", "precision", "device", "bands", "folds",
        "oof", "histogram", "reliability", "failures", "logits", "seconds",
    } <= summary.keys()  # fmt: skip
    assert (summary["networks"], summary["seeds"]) == (4, 2)
    assert summary["skipped_steps"] == 0 and summary["captured"] is None  # no GPU
    assert sum(summary["logits"]["landslide"]) == sum(summary["histogram"]["positive"])
    assert summary["failures"]["threshold"] == summary["oof"]["threshold"]
    for k, fold in enumerate(summary["folds"]):
        assert fold["fold"] == k
        assert fold["train_tiles"] == len(folds.train_ids(k))
        assert fold["held_tiles"] == len(folds.held_ids(k))
        assert fold["buffer_tiles"] == len(folds.buffer_ids(k))
        assert [e["epoch"] for e in fold["epochs"]] == [0, 1]
        assert {"f1", "precision", "recall", "seconds"} <= fold.keys()
        assert [n["number"] for n in fold["networks"]] == [0, 1]
        assert fold["seconds"] >= sum(n["seconds"] for n in fold["networks"])
        assert read_json(out / f"fold_{k}.progress.json")["finished"]
        rows = fold["networks"][1]["epochs"]
        keys = {"loss", "validation_loss", "lr", "gradient_norm", "seconds"}
        assert [r["epoch"] for r in rows] == [0, 1] and keys <= rows[0].keys()
    assert not list(out.glob("*.pt"))


def test_out_of_fold_scores_are_those_of_the_fold_that_did_not_see_the_tile(fitted: Path) -> None:
    oof = open_scores(fitted / "unet" / "oof.zarr")
    model = UNetModel.load(fitted / "unet")
    tiles = load(made_up())
    for k, networks in enumerate(model.folds):
        held = np.flatnonzero(oof["fold"].values == k)
        wanted = np.mean([Predictor(n, cpu(), tta=False)(tiles, held) for n in networks], axis=0)
        np.testing.assert_allclose(oof["logit"].values[held], wanted, rtol=1e-3, atol=1e-5)
    assert not same(model.folds[0][0].network, model.folds[0][1].network)


@pytest.mark.parametrize("writes", [1, 5])  # in the first network of a fold, in the second
def test_killed_stage_goes_on_and_gives_the_same(
    run: Path, fitted: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    write, calls = training.write_json, []

    def kill(path: Path, value: object) -> None:
        write(path, value)
        calls.append(path.name)
        if len(calls) == writes:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_json", kill)
        with pytest.raises(Killed):
            train.stage(context(run, "unet", SETTINGS))
    made = {p.name: p.stat().st_mtime_ns for p in (run / "unet").glob("*.safetensors")}
    assert len(made) == (0 if writes == 1 else 1)
    train.stage(context(run, "unet", SETTINGS))
    assert all((run / "unet" / n).stat().st_mtime_ns == at for n, at in made.items())
    assert_same_run(run, fitted)


def test_logits_are_counted_by_class() -> None:
    logit = np.array([[[-50.0, -0.1], [0.1, 50.0]]], np.float32)
    told = train.logits_by_class(logit, np.array([[[0, 1], [1, 0]]], np.uint8))
    assert told["other"][0] == told["other"][-1] == 1 and sum(told["other"]) == 2
    at = np.flatnonzero(told["landslide"])
    assert np.array(told["edges"])[at].tolist() == [-0.25, 0.0]


def test_two_devices_train_what_one_trains(run: Path, fitted: Path) -> None:
    ctx = replace(context(run, "unet", SETTINGS), device="cpu,cpu", jobs=2)
    summary = train.stage(ctx)
    assert summary["device"] == "cpu,cpu"
    assert_same_run(run, fitted)


def test_what_fails_on_one_of_several_devices_is_told(run: Path) -> None:
    config = config_of(network="smp:unet")
    with pytest.raises(ConfigError, match="name of the network"):
        train.stage(replace(context(run, "unet", config), device="cpu,cpu", jobs=2))


def test_labels_that_a_fold_must_not_see_change_nothing(run: Path, fitted: Path) -> None:
    ds = made_up()
    secret = ~np.isin(ds["patch"], load_folds(run / "scenes").train_ids(0))
    ds["mask"].values[secret] = 1 - ds["mask"].values[secret]
    ds.to_zarr(run / "data/train/patches.zarr", mode="w", consolidated=False)
    train.stage(context(run, "unet", SETTINGS))
    a, b = (UNetModel.load(r / "unet").folds for r in (run, fitted))
    assert all(same(x.network, y.network) for x, y in zip(a[0], b[0], strict=True))
    assert not same(a[1][0].network, b[1][0].network)  # for that fold they are no secret


SAVE = """
import sys
from pathlib import Path
from unet_world import config_of, load_tiles
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.networks.network import arguments_of, build

arguments = arguments_of(config_of().unet, 4)
normalisation = Normalisation.fit(load_tiles(), range(16), config_of().unet)
FoldModel(build(**arguments, seed=1), arguments, normalisation, 0).save(Path(sys.argv[1]))
"""


def test_equal_networks_are_equal_files_whatever_process_writes_them(tmp_path: Path) -> None:
    for i in range(4):
        environment = {
            **os.environ, "PYTHONHASHSEED": str(i),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }  # fmt: skip
        words = [sys.executable, "-c", SAVE, str(tmp_path / f"{i}.safetensors")]
        subprocess.run(words, check=True, env=environment, capture_output=True)
    files = {p.read_bytes() for p in tmp_path.iterdir()}
    assert len(files) == 1
    model = FoldModel.load(tmp_path / "0.safetensors")
    assert same(model.network, build(**model.arguments, seed=1))
    tiles = load(made_up())
    assert model.normalisation == Normalisation.fit(tiles, range(16), SETTINGS.unet)
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() in files
    (tmp_path / "again.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read"):
        FoldModel.load(tmp_path / "again.safetensors")


def test_planted_leak_is_found(run: Path) -> None:
    """A training tile that has become a copy of a held one since the folds were made."""
    folds, ds = load_folds(run / "scenes"), made_up()
    trained, held = folds.train_ids(1)[0], folds.held_ids(1)[0]
    hashes = ds["content_hash"].values.copy()
    hashes[trained - 1] = hashes[held - 1]
    ds.assign_coords(content_hash=("patch", hashes)).to_zarr(
        run / "data/train/patches.zarr", mode="w", consolidated=False
    )
    with pytest.raises(LeakError, match="trains on copies"):
        train.stage(context(run, "unet", config_of()))


def test_no_landslide_to_train_on(run: Path) -> None:
    ds = made_up()
    ds["mask"].values[:] = 0
    ds.to_zarr(run / "data/train/patches.zarr", mode="w", consolidated=False)
    with pytest.raises(DataError, match="no landslide to train on"):
        train.stage(context(run, "unet", config_of()))


def test_prediction_has_one_map_a_fold(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    ctx = context(
        run, "predict/holdout/unet", config_of(tta=True), (*NEEDS, "unet"),
        {"data": "data/train", "holdout": True},
    )  # fmt: skip
    summary = infer.stage(ctx)
    scored = xr.open_zarr(ctx.out / "logit.zarr", consolidated=False)
    assert scored["logit"].dims == ("fold_model", "patch", "y", "x")
    assert scored["logit"].shape == (2, 1, 32, 32)
    assert scored["patch"].values.tolist() == [16]
    assert np.isfinite(scored["logit"].values).all()
    assert {"patches", "seconds", "patches_per_s"} <= summary.keys()


def test_other_bands_are_refused(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    other = Sensor(name="rgb", bands=SENSOR.bands[:3])
    ds = made_up().isel(band=slice(3)).assign_attrs(sensor=other.model_dump_json())
    ds.to_zarr(put_stage(run, "data/valid") / "patches.zarr", consolidated=False)
    ctx = context(
        run, "predict/valid/unet", config_of(), ("data/valid", "unet"), {"data": "data/valid"}
    )
    with pytest.raises(ModelError, match="bands are not those"):
        infer.stage(ctx)
    model = UNetModel.load(run / "unet")
    with pytest.raises(ModelError, match="bands are not those"):
        Predictor(model.folds[0][0], cpu(), tta=False)(load(ds), [0])
    scaled = SENSOR.model_copy(update={"level": "relative"})
    with pytest.raises(ModelError, match="level differs"):
        model.require(scaled)


def test_real_tiles_are_learned(real_data: Path) -> None:
    """Two real colour tiles, learned by heart: units, levels and masks belong together."""
    from l4s_ensemble.data.patches import open_patches

    ds = open_patches(real_data / "l4s-rgb", sensor="l4s-rgb").isel(patch=[100, 400])
    tiles = load(ds)
    config = tiny(width=8, depth=3, epochs=60, batch=2, lr=1e-2, ema=0.9)
    job = FoldTrainer(tiles, [0, 1], config, seed=0, fold=0, hardware=cpu())
    called = Predictor(job.run(), cpu(), tta=False)(tiles, [0, 1]) > 0
    truth = ds["mask"].values > 0
    assert 2 * (called & truth).sum() / (called.sum() + truth.sum()) > 0.7
