"""Logits of tiles: in any company, in blocks, by the stage."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import SIZE, config_of, context, cpu, made_up, prepare, put_stage

from l4s_ensemble.run.scores import ScoreFile, open_scores
from l4s_ensemble.unet import infer
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel
from l4s_ensemble.unet.networks.network import build


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return load(made_up())


def network(seed: int = 0, fold: int = 0) -> FoldModel:
    """A network that nobody trained: its logits differ from pixel to pixel all the same."""
    normalisation = Normalisation.fit(load(made_up()), np.arange(16), config_of().unet)
    arguments = {"name": "unet", "bands": 4, "width": 4, "depth": 2}
    made = build(**arguments, seed=seed)  # type: ignore[arg-type]
    with torch.no_grad():
        for value in made.parameters():
            noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
            value.add_(0.3 * noise)
    return FoldModel(made.eval(), arguments, normalisation, fold)


def test_logits_are_those_of_the_network_in_any_company(tiles: TileSet) -> None:
    model = network()
    predict = Predictor(model, cpu(), tta=False)
    logit = predict(tiles, [3, 5])
    with torch.inference_mode():
        wanted = model.network(model.normalisation.inputs(tiles, torch.tensor([3, 5])))[:, 0]
    np.testing.assert_allclose(logit, wanted, atol=1e-5)
    assert logit.dtype == np.float32
    np.testing.assert_allclose(predict(tiles, range(16))[[3, 5]], logit, atol=1e-5)
    assert predict(tiles, []).shape == (0, SIZE, SIZE)


def test_averaged_logits_turn_with_the_tile() -> None:
    ds = made_up()
    turned = ds.copy()
    turned["image"] = ds["image"].dims, np.rot90(ds["image"].values, 1, (-2, -1)).copy()
    predict = Predictor(network(), cpu(), tta=True)
    a, b = predict(load(ds), [0, 5]), predict(load(turned), [0, 5])
    np.testing.assert_allclose(np.rot90(a, 1, (-2, -1)), b, atol=1e-4)
    plain = Predictor(network(), cpu(), tta=False)
    assert not np.allclose(plain(load(ds), [0, 5]), a, atol=1e-4)


def test_networks_of_other_seeds_count_alike(tiles: TileSet) -> None:
    models = [network(0), network(1)]
    both = Predictor(models, cpu(), tta=True)(tiles, [5])
    each = [Predictor(m, cpu(), tta=True)(tiles, [5]) for m in models]
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="at least one network"):
        Predictor([], cpu(), tta=False)
    unlike = replace(models[1], normalisation=replace(models[1].normalisation, tiles=3))
    with pytest.raises(ValueError, match="the same inputs"):
        Predictor([models[0], unlike], cpu(), tta=False)


def test_too_large_a_batch_is_halved(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, sizes = Predictor(network(), cpu(), tta=False), []
    wanted, score = predict(tiles, range(16)), predict.logits

    def narrow(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("no more")
        return score(x)

    monkeypatch.setattr(predict, "logits", narrow)
    most = 3
    np.testing.assert_allclose(predict(tiles, range(16)), wanted, atol=1e-5)
    assert sizes[:4] == [16, 8, 4, 2] and set(sizes[4:]) == {2}
    assert predict.batch == 2
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        predict(tiles, range(16))


def test_batches_are_sized_by_memory() -> None:
    assert (infer.fits_cpu(128), infer.fits_cpu(4096)) == (8, 1)
    for n in (1, 2, 3, 5, 8):
        more = infer.to_power_of_two(torch.arange(n))
        assert more[:n].tolist() == list(range(n)) and set(more[n:].tolist()) <= {n - 1}
        assert len(more) in {1, 2, 4, 8} and len(more) < 2 * n


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a U-Net of two folds that nobody trained. Copy it."""
    run = prepare(tmp_path_factory.mktemp("ready"), config_of())
    out = put_stage(run, "unet")
    folds = tuple((network(10 * k, k), replace(network(10 * k + 1, k), number=1)) for k in (0, 1))
    for m in (m for members in folds for m in members):
        m.save(out / m.file)
    UNetModel(out, load(made_up()).sensor, folds, 3).save()
    return run


def test_a_killed_prediction_goes_on_with_what_is_missing(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    ds = made_up(seed=5).isel(patch=np.random.default_rng(0).permutation(16))
    ds.to_zarr(put_stage(run, "data/valid") / "patches.zarr", consolidated=False)
    ctx = context(
        run, "predict/valid/unet", config_of(tta=True), ("data/valid", "unet"),
        {"data": "data/valid"},
    )  # fmt: skip
    monkeypatch.setitem(infer.READ_TILES, "cpu", 3)  # several blocks
    summary = infer.stage(ctx)
    assert {"patches": 16, "fold_models": 2, "seeds": 2, "tta": True}.items() <= summary.items()
    scores = open_scores(ctx.out / "logit.zarr")
    assert scores["logit"].dims == ("fold_model", "patch", "y", "x")
    assert scores["patch"].values.tolist() == ds["patch"].values.tolist()
    whole = scores["logit"].values
    for k, members in enumerate(UNetModel.load(run / "unet").folds):
        wanted = Predictor(members, cpu(), tta=True)(load(ds), range(16))
        np.testing.assert_allclose(whole[k], wanted, rtol=1e-3, atol=1e-3)
    file = ScoreFile(ctx.out / "logit.zarr", ds["patch"], (SIZE, SIZE), models=2, dtype="float16")
    file.write(slice(4, 12), np.full((2, 8, SIZE, SIZE), np.nan))
    asked: list[int] = []
    score = infer._score_blocks

    def noted(store: xr.Dataset, at: np.ndarray, *rest: Any) -> object:
        asked.extend(at.tolist())
        return score(store, at, *rest)

    monkeypatch.setattr(infer, "_score_blocks", noted)
    infer.stage(ctx)
    assert asked == list(range(4, 12))
    np.testing.assert_allclose(open_scores(ctx.out / "logit.zarr")["logit"], whole, atol=2e-3)
    asked.clear()
    infer.stage(ctx)
    assert not asked


def test_half_precision_on_disk_reads_as_float32(tmp_path: Path, rng: np.random.Generator) -> None:
    logit = rng.normal(0, 5, (6, 4, 4)).astype(np.float32)
    logit[0, 0, 0] = 1e9  # finite on disk too
    file = infer.score_file(tmp_path / "a.zarr", range(6), (4, 4), seed=3, fold=[0] * 6)
    file.write(slice(0, 4), logit[:4])
    assert file.missing() == [slice(4, 6)]
    file.write(slice(4, 6), logit[4:])
    scores = open_scores(tmp_path / "a.zarr")
    assert scores["logit"].dtype == np.float32
    assert scores["logit"][1].values.dtype == np.float32
    assert scores.attrs["seed"] == 3
    np.testing.assert_allclose(scores["logit"][1:].values, logit[1:], rtol=5e-4)
    assert float(scores["logit"][0, 0, 0]) == np.finfo(np.float16).max
    whole = ScoreFile(tmp_path / "a.zarr", range(6), (4, 4))
    assert len(whole.missing()) == 2  # another type: another file
