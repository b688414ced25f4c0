"""Training, resume, inference, and the two stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import NEEDS, SENSOR, config_of, context, cpu, made_up, prepare, put_stage, tiny

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError, L4SError, LeakError, ModelError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.unet import infer, train
from l4s_ensemble.unet.engine import FoldTrainer, learning_rate
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs import load
from l4s_ensemble.unet.model import FoldModel, UNetModel


class Killed(Exception):
    """Stands for a kill of the process."""


def trainer(config: UNetConfig, positions: object = range(16), fold: int = 0) -> FoldTrainer:
    tiles, hardware = load(made_up()), cpu(config.precision)
    return FoldTrainer(tiles, np.array(positions), config, seed=3, fold=fold, hardware=hardware)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run before the U-Net. Copy it."""
    return prepare(tmp_path_factory.mktemp("ready"), config_of())


@pytest.fixture(scope="module")
def fitted(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after the U-Net. Read only."""
    run = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(ready, run)
    put_stage(run, "unet", train.stage(context(run, "unet", config_of())))
    return run


def test_learning_rate_rises_and_falls() -> None:
    lr = np.array([learning_rate(s, 100, 2.0) for s in range(100)])
    assert lr.argmax() == 30
    assert lr.max() == pytest.approx(2.0)
    assert lr[0] == pytest.approx(0.08)
    assert lr[-1] == pytest.approx(0.002)
    assert (np.diff(lr[:31]) > 0).all()
    assert (np.diff(lr[30:]) < 0).all()
    assert np.isfinite(learning_rate(0, 1, 1.0))


def test_two_tiles_are_learned_by_heart() -> None:
    job = trainer(tiny(width=8, epochs=60, batch=2, lr=1e-2, ema=0.9), positions=[0, 1])
    model = job.run()
    logit = Predictor(model, cpu(), tta=False)(job.tiles, [0, 1])
    truth = job.tiles.mask[:2].numpy() > 0  # type: ignore[index]
    called = logit > 0
    f1 = 2 * (called & truth).sum() / (called.sum() + truth.sum())
    assert f1 > 0.9
    assert job.epochs[-1]["loss"] < job.epochs[0]["loss"] / 2


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_kill_and_resume_give_the_same_bits(tmp_path: Path, norm: str) -> None:
    config = tiny(epochs=4, norm=norm, precision="auto")
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
    with pytest.raises(L4SError, match="fold 1, epoch 0, step 0"):
        job.run()


def test_bf16_is_close_to_float32() -> None:
    job = trainer(tiny(width=8, depth=3, epochs=8, lr=1e-2))
    model = job.run()
    exact = Predictor(model, cpu(), tta=False)(job.tiles, range(16))
    rough = Predictor(model, cpu("bfloat16"), tta=False)(job.tiles, range(16))
    assert np.abs(rough - exact).mean() < 0.05 * exact.std()
    assert ((rough > 0) == (exact > 0)).mean() > 0.99


def test_averaged_logits_turn_with_the_tile() -> None:
    model = trainer(tiny(epochs=1)).run()
    ds = made_up()
    turned = ds.copy()
    turned["image"] = ds["image"].dims, np.rot90(ds["image"].values, 1, (-2, -1)).copy()
    predict = Predictor(model, cpu(), tta=True)
    a, b = predict(load(ds), [0, 5]), predict(load(turned), [0, 5])
    np.testing.assert_allclose(np.rot90(a, 1, (-2, -1)), b, atol=1e-4)
    plain = Predictor(model, cpu(), tta=False)
    assert not np.allclose(plain(load(ds), [0, 5]), a, atol=1e-4)


def test_logits_do_not_depend_on_the_company() -> None:
    model = trainer(tiny(epochs=1)).run()
    predict, tiles = Predictor(model, cpu(), tta=False), load(made_up())
    np.testing.assert_allclose(predict(tiles, range(16))[3], predict(tiles, [3])[0], atol=1e-5)
    assert predict(tiles, []).shape == (0, 32, 32)


def test_saved_fold_gives_the_same_logits(tmp_path: Path) -> None:
    model = trainer(tiny(epochs=1)).run()
    model.save(tmp_path / "fold_0.safetensors")
    back = FoldModel.load(tmp_path / "fold_0.safetensors")
    assert same(back.network, model.network)
    assert back.normalisation == model.normalisation
    tiles = load(made_up())
    a, b = (Predictor(m, cpu(), tta=False)(tiles, [0]) for m in (back, model))
    np.testing.assert_array_equal(a, b)
    (tmp_path / "fold_0.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read"):
        FoldModel.load(tmp_path / "fold_0.safetensors")


def test_stage_writes_what_others_read(fitted: Path) -> None:
    out, summary = fitted / "unet", read_json(fitted / "unet" / "summary.json")
    folds = load_folds(fitted / "scenes")
    oof = xr.open_zarr(out / "oof.zarr", consolidated=False)
    assert oof["logit"].dims == ("patch", "y", "x")
    assert oof["logit"].dtype == np.float32
    assert oof.attrs["seed"] == 3
    assert oof["patch"].values.tolist() == list(range(1, 16))  # 16 is the holdout
    np.testing.assert_array_equal(oof["fold"], folds.of(oof["patch"], "fold"))
    tiles = TileHistograms.load(out / "tiles.npz")
    np.testing.assert_array_equal(tiles.patch, oof["patch"])
    assert tiles.pooled().positive.sum() == made_up()["mask"].values[:15].sum()
    assert {
        "network", "parameters", "precision", "channels_last", "device", "bands", "folds",
        "oof", "histogram", "reliability", "seconds",
    } <= summary.keys()  # fmt: skip
    for k, fold in enumerate(summary["folds"]):
        assert fold["fold"] == k
        assert fold["train_tiles"] == len(folds.train_ids(k))
        assert fold["held_tiles"] == len(folds.held_ids(k))
        assert fold["buffer_tiles"] == len(folds.buffer_ids(k))
        assert [e["epoch"] for e in fold["epochs"]] == [0, 1]
        assert {"loss", "lr", "seconds", "patches_per_s"} <= fold["epochs"][0].keys()
        assert {"f1", "precision", "recall", "seconds"} <= fold.keys()
        assert read_json(out / f"fold_{k}.progress.json")["finished"]
    assert not list(out.glob("*.pt"))
    assert not list(out.glob("*.npy"))


def test_out_of_fold_scores_are_those_of_the_fold_that_did_not_see_the_tile(fitted: Path) -> None:
    oof = xr.open_zarr(fitted / "unet" / "oof.zarr", consolidated=False)
    model = UNetModel.load(fitted / "unet")
    tiles = load(made_up())
    for k, fold in enumerate(model.folds):
        held = np.flatnonzero(oof["fold"].values == k)
        wanted = Predictor(fold, cpu(), tta=False)(tiles, held)
        np.testing.assert_allclose(oof["logit"].values[held], wanted, atol=1e-5)


def test_killed_stage_goes_on_and_gives_the_same(
    ready: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    write, calls = train.write_json, []

    def kill(path: Path, value: object) -> None:
        write(path, value)
        calls.append(path.name)
        if calls.count("fold_1.progress.json") == 1:
            raise Killed

    monkeypatch.setattr(train, "write_json", kill)
    with pytest.raises(Killed):
        train.stage(context(run, "unet", config_of()))
    assert read_json(run / "unet" / "fold_0.progress.json")["finished"]
    assert not read_json(run / "unet" / "fold_1.progress.json")["finished"]
    monkeypatch.setattr(train, "write_json", write)
    before = (run / "unet" / "fold_0.safetensors").stat().st_mtime_ns
    train.stage(context(run, "unet", config_of()))
    assert (run / "unet" / "fold_0.safetensors").stat().st_mtime_ns == before
    a, b = (UNetModel.load(r / "unet") for r in (run, fitted))
    assert all(same(x.network, y.network) for x, y in zip(a.folds, b.folds, strict=True))
    x, y = (xr.open_zarr(r / "unet" / "oof.zarr", consolidated=False) for r in (run, fitted))
    np.testing.assert_array_equal(x["logit"], y["logit"])


def test_planted_leak_is_found(ready: Path, tmp_path: Path) -> None:
    """A training tile that has become a copy of a held one since the folds were made."""
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    folds, ds = load_folds(run / "scenes"), made_up()
    trained, held = folds.train_ids(1)[0], folds.held_ids(1)[0]
    hashes = ds["content_hash"].values.copy()
    hashes[trained - 1] = hashes[held - 1]
    ds.assign_coords(content_hash=("patch", hashes)).to_zarr(
        run / "data/train/patches.zarr", mode="w", consolidated=False
    )
    with pytest.raises(LeakError, match="trains on copies"):
        train.stage(context(run, "unet", config_of()))


def test_no_landslide_to_train_on(ready: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
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
        Predictor(model.folds[0], cpu(), tta=False)(load(ds), [0])
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
