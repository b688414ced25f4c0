"""Training, resume, inference, and the two stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import NEEDS, SENSOR, config_of, context, cpu, made_up, prepare, put_stage, tiny

from l4s_ensemble.config import Config, UNetConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError, L4SError, LeakError, ModelError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.unet import infer, train
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import load
from l4s_ensemble.unet.model import FoldModel, UNetModel
from l4s_ensemble.unet.training import fold as fold_job
from l4s_ensemble.unet.training.engine import FoldTrainer


class Killed(Exception):
    """Stands for a kill of the process."""


def trainer(config: UNetConfig, positions: object = range(16), fold: int = 0) -> FoldTrainer:
    tiles, hardware = load(made_up()), cpu(config.precision)
    return FoldTrainer(tiles, np.array(positions), config, seed=3, fold=fold, hardware=hardware)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def assert_same_models(a: UNetModel, b: UNetModel) -> None:
    assert [len(f) for f in a.folds] == [len(f) for f in b.folds]
    pairs = zip(sum(a.folds, ()), sum(b.folds, ()), strict=True)
    assert all(same(x.network, y.network) for x, y in pairs)


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
    with pytest.raises(L4SError, match="fold 1, epoch 0, step 0") as error:
        job.run()
    shown = job.tiles.patch[job.batches.order(0)[:4]]
    assert f"inputs finite: yes; batch: patch {', '.join(map(str, shown))}" in str(error.value)


def test_inputs_that_are_not_finite_are_named() -> None:
    def spoil(at: FoldTrainer) -> None:
        at.tiles.scale[5] = float("nan")  # patch 6

    job = trainer(tiny(epochs=3))
    with pytest.raises(L4SError, match="fold 0, epoch 1, step") as error:
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
    oof = open_scores(fitted / "unet" / "oof.zarr")
    model = UNetModel.load(fitted / "unet")
    tiles = load(made_up())
    for k, networks in enumerate(model.folds):
        held = np.flatnonzero(oof["fold"].values == k)
        wanted = Predictor(networks, cpu(), tta=False)(tiles, held)
        np.testing.assert_allclose(oof["logit"].values[held], wanted, rtol=1e-3, atol=1e-5)


def test_killed_stage_goes_on_and_gives_the_same(
    ready: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    write, calls = fold_job.write_json, []

    def kill(path: Path, value: object) -> None:
        write(path, value)
        calls.append(path.name)
        if calls.count("fold_1.progress.json") == 1:
            raise Killed

    monkeypatch.setattr(fold_job, "write_json", kill)
    with pytest.raises(Killed):
        train.stage(context(run, "unet", config_of()))
    assert read_json(run / "unet" / "fold_0.progress.json")["finished"]
    assert not read_json(run / "unet" / "fold_1.progress.json")["finished"]
    monkeypatch.setattr(fold_job, "write_json", write)
    before = (run / "unet" / "fold_0.safetensors").stat().st_mtime_ns
    train.stage(context(run, "unet", config_of()))
    assert (run / "unet" / "fold_0.safetensors").stat().st_mtime_ns == before
    a, b = (UNetModel.load(r / "unet") for r in (run, fitted))
    assert_same_models(a, b)
    x, y = (open_scores(r / "unet" / "oof.zarr")["logit"] for r in (run, fitted))
    np.testing.assert_array_equal(x, y)


def wide(run: Path, config: Config) -> Path:
    """A run before the U-Net with room for an inner block."""
    from l4s_ensemble.scenes import folds

    made_up(6, 8).to_zarr(put_stage(run, "data/train") / "patches.zarr", consolidated=False)
    folds.stage(context(run, "scenes", config, ("data/train",)))
    put_stage(run, "scenes")
    return run


def several() -> Config:
    """Two networks a fold, an inner block, windows that reach into neighbours."""
    return config_of(seeds=2, checkpoint="inner", shift_px=8, epochs=2, explain=False)


@pytest.fixture(scope="module")
def fitted_wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after such a U-Net. Read only."""
    run = wide(tmp_path_factory.mktemp("wide"), several())
    put_stage(run, "unet", train.stage(context(run, "unet", several())))
    return run


def test_networks_of_a_fold_and_what_they_chose_are_told(fitted_wide: Path) -> None:
    out, summary = fitted_wide / "unet", read_json(fitted_wide / "unet" / "summary.json")
    folds = load_folds(fitted_wide / "scenes")
    names = {p.name for p in out.glob("*.safetensors")}
    assert names == {f"fold_{k}{s}.safetensors" for k in (0, 1) for s in ("", "_seed_1")}
    assert (out / "surroundings.npz").is_file()
    assert summary["networks"] == 4 and summary["seeds"] == 2
    assert summary["loss"] == "bce+dice" and summary["checkpoint"] == "inner"
    assert summary["seconds_per_epoch"] > 0
    for k, fold in enumerate(summary["folds"]):
        rest = len(folds.train_ids(k)) - fold["train_tiles"]
        assert rest >= fold["inner_tiles"] > 0
        assert [n["number"] for n in fold["networks"]] == [0, 1]
        assert fold["epochs"] == fold["networks"][0]["epochs"]
        assert fold["seconds"] >= sum(n["seconds"] for n in fold["networks"])
        for network in fold["networks"]:
            f1 = [e["inner_f1"] for e in network["epochs"]]
            assert network["best_epoch"] == int(np.argmax(f1))
        assert 0 <= fold["inner"]["threshold"] < 1 and 0 <= fold["inner"]["f1"] <= 1
    models = UNetModel.load(out)
    assert [[m.number for m in fold] for fold in models.folds] == [[0, 1], [0, 1]]
    assert not same(models.folds[0][0].network, models.folds[0][1].network)


def test_out_of_fold_logits_are_the_mean_of_the_networks(fitted_wide: Path) -> None:
    oof = open_scores(fitted_wide / "unet" / "oof.zarr")
    for k, networks in enumerate(UNetModel.load(fitted_wide / "unet").folds):
        held = np.flatnonzero(oof["fold"].values == k)
        tiles = load(made_up(6, 8))
        at = np.searchsorted(tiles.patch, oof["patch"].values[held])
        each = [Predictor(m, cpu(), tta=False)(tiles, at) for m in networks]
        mean = np.mean(each, axis=0)
        np.testing.assert_allclose(oof["logit"].values[held], mean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("writes", [1, 4])  # in the first network, in the second
def test_killed_stage_of_several_networks_gives_the_same(
    fitted_wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    run = wide(tmp_path / "run", several())
    write, calls = fold_job.write_json, []

    def kill(path: Path, value: object) -> None:
        write(path, value)
        calls.append(path.name)
        if len(calls) == writes:
            raise Killed

    monkeypatch.setattr(fold_job, "write_json", kill)
    with pytest.raises(Killed):
        train.stage(context(run, "unet", several()))
    done = read_json(run / "unet" / "fold_0.progress.json")["networks"]
    assert [n["finished"] for n in done] == ([False] if writes == 1 else [True, False])
    monkeypatch.setattr(fold_job, "write_json", write)
    train.stage(context(run, "unet", several()))
    a, b = (UNetModel.load(r / "unet") for r in (run, fitted_wide))
    assert_same_models(a, b)
    x, y = (open_scores(r / "unet" / "oof.zarr")["logit"] for r in (run, fitted_wide))
    np.testing.assert_array_equal(x, y)
    assert not list((run / "unet").glob("*.pt"))


def test_labels_that_a_fold_must_not_see_change_nothing(fitted_wide: Path, tmp_path: Path) -> None:
    """Not through windows that reach over an edge, nor by the choice of a checkpoint."""
    run = wide(tmp_path / "run", several())
    secret = ~np.isin(made_up(6, 8)["patch"], load_folds(run / "scenes").train_ids(0))
    ds = made_up(6, 8)
    ds["mask"].values[secret] = 1 - ds["mask"].values[secret]
    ds.to_zarr(run / "data/train/patches.zarr", mode="w", consolidated=False)
    train.stage(context(run, "unet", several()))
    a, b = (UNetModel.load(r / "unet").folds for r in (run, fitted_wide))
    assert_same = [same(x.network, y.network) for x, y in zip(a[0], b[0], strict=True)]
    assert all(assert_same)
    assert not same(a[1][0].network, b[1][0].network)  # for that fold they are no secret
    inner = [read_json(r / "unet/fold_0.progress.json")["inner"] for r in (run, fitted_wide)]
    assert inner[0] == inner[1]


def test_too_few_blocks_for_an_inner_one_is_told(
    ready: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    config = config_of(checkpoint="inner", epochs=1, explain=False)
    with caplog.at_level("WARNING", logger="l4s_ensemble"):
        summary = train.stage(context(run, "unet", config))
    assert "too few blocks" in caplog.text
    assert all(f["inner"] is None and f["inner_tiles"] == 0 for f in summary["folds"])


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
