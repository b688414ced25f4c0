"""Adaptation to tiles without masks: it helps, it resumes, and it never sees a mask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import (
    NEEDS,
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

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.unet import infer, train
from l4s_ensemble.unet.adapt import adapted
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel
from l4s_ensemble.unet.training.engine import FoldTrainer

LEARNT = tiny(width=8, epochs=25, lr=1e-2, ema=0.9, batch=2)
ALL = np.arange(16)
FAR = (1.6, 0.5)
"""Gains of red and near infrared at which the whole place looks like one landslide."""


def elsewhere(gain: tuple[float, float] = FAR, seed: int = 9) -> xr.Dataset:
    """Other synthetic tiles, in another light."""
    ds = made_up(seed=seed)
    image = ds["image"].values.astype(float)
    image[:, 0] *= gain[0]
    image[:, 1] *= gain[1]
    ds["image"] = ds["image"].dims, image.round().astype(np.uint16)
    return ds


def f1(models: Any, tiles: TileSet, mask: np.ndarray) -> float:
    called = Predictor(models, cpu(), tta=False)(tiles, range(len(tiles))) > 0
    truth = mask > 0
    return float(2 * (called & truth).sum() / (called.sum() + truth.sum()))


@pytest.fixture(scope="module")
def trained() -> FoldModel:
    """A network that has learned the made-up world in its own light."""
    job = FoldTrainer(load(made_up()), ALL, LEARNT, seed=3, fold=0, hardware=cpu())
    return job.run()


def test_statistics_of_the_place_mend_what_another_light_broke(trained: FoldModel) -> None:
    ds = elsewhere()
    place, mask = load(ds, masks=False), ds["mask"].values
    assert f1(trained, place, mask) < 0.3
    found = adapted([trained], place, 2, cpu())
    assert f1(found, place, mask) > 0.95
    weights = dict(found[0].network.named_parameters())
    assert all(torch.equal(weights[n], p) for n, p in trained.network.named_parameters())
    assert found[0].file == "fold_0.target.safetensors"


def test_statistics_need_not_fill_a_batch(trained: FoldModel) -> None:
    tiles = load(made_up())
    few = adapted([trained], load(made_up(), [3]), 4, cpu())[0]
    assert not same(few.network, trained.network)
    assert torch.isfinite(torch.from_numpy(Predictor(few, cpu(), tta=False)(tiles, [0]))).all()


def put_target(run: Path, masks: bool = False) -> None:
    ds = elsewhere().isel(patch=slice(0, 6))
    ds["content_hash"] = "patch", [f"other{i}" for i in range(6)]
    if not masks:
        ds = ds.drop_vars("mask")
    ds.to_zarr(put_stage(run, "adapt/valid") / "patches.zarr", consolidated=False)


def adapted_run(run: Path, split: str = "valid", **files: bool) -> Path:
    """A run with a U-Net that was adapted."""
    config, needs = config_of(), NEEDS
    prepare(run, config)
    if split == "valid":
        put_target(run, **files)
        needs = (*NEEDS, "adapt/valid")
    ctx = context(run, "unet", config, needs, {"adapt": split})
    put_stage(run, "unet", train.stage(ctx))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapted_run(tmp_path_factory.mktemp("adapted"))


def networks(run: Path) -> list[FoldModel]:
    model = UNetModel.load(run / "unet")
    return [m for fold in (*model.folds, *model.target) for m in fold]


def test_the_summary_says_that_the_scores_are_a_row_of_their_own(run: Path) -> None:
    told = read_json(run / "unet" / "summary.json")
    assert told["adapted_to"] == "valid"
    assert told["adapt"] == {"split": "valid", "tiles": 6, "row": "adapted to valid"}
    found = {p.name for p in (run / "unet").glob("fold_*.safetensors")}
    assert found == {m.file for m in networks(run)}


def test_masks_of_the_split_change_nothing(run: Path, tmp_path: Path) -> None:
    pairs = zip(networks(run), networks(adapted_run(tmp_path / "b", masks=True)), strict=True)
    assert all(same(a.network, b.network) for a, b in pairs)


def test_each_split_is_scored_with_the_statistics_of_its_place(run, tmp_path):
    place = shutil.copytree(run, tmp_path / "run")
    elsewhere().isel(patch=slice(0, 6)).to_zarr(
        put_stage(place, "data/valid") / "patches.zarr", consolidated=False
    )
    model = UNetModel.load(place / "unet")
    tiles = load(elsewhere().isel(patch=slice(0, 6)), masks=False)
    for folder, members in (("predict/valid", model.target), ("predict/valid-b", model.folds)):
        params = {"data": "data/valid", "split": "valid", "folder": folder}
        ctx = context(place, f"{folder}/unet", config_of(), ("data/valid", "unet"), params)
        assert infer.stage(ctx)["adapted_to"] == "valid"
        logit = open_scores(ctx.out / "logit.zarr")["logit"].values
        wanted = np.stack([Predictor(m, cpu(), tta=False)(tiles, range(6)) for m in members])
        np.testing.assert_allclose(logit, wanted, atol=2e-3, rtol=1e-3)


def test_tiles_set_aside_can_be_adapted_to(tmp_path: Path) -> None:
    told = read_json(adapted_run(tmp_path, "holdout") / "unet" / "summary.json")
    assert told["adapt"] == {"split": "holdout", "tiles": 1, "row": "adapted to holdout"}


def test_training_tiles_are_nothing_to_adapt_to(tmp_path: Path) -> None:
    config = config_of()
    prepare(tmp_path, config)
    made_up().drop_vars("mask").to_zarr(
        put_stage(tmp_path, "adapt/valid") / "patches.zarr", consolidated=False
    )
    ctx = context(tmp_path, "unet", config, (*NEEDS, "adapt/valid"), {"adapt": "valid"})
    found = train.stage(ctx)  # tile 16 is set aside and may be adapted to
    assert found["adapt"]["tiles"] == 1
    made_up().isel(patch=slice(0, 3)).drop_vars("mask").to_zarr(
        tmp_path / "adapt/valid/patches.zarr", mode="w", consolidated=False
    )
    with pytest.raises(DataError, match="no tile to adapt to"):
        train.stage(ctx)


def test_a_killed_stage_goes_on_with_the_same_result(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, config_of())
    put_target(tmp_path)
    ctx = context(tmp_path, "unet", config_of(), (*NEEDS, "adapt/valid"), {"adapt": "valid"})

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train, "score_file", die)
        with pytest.raises(Killed):
            train.stage(ctx)
    put_stage(tmp_path, "unet", train.stage(ctx))
    pairs = zip(networks(run), networks(tmp_path), strict=True)
    assert all(same(a.network, b.network) for a, b in pairs)
    a, b = (open_scores(r / "unet" / "oof.zarr")["logit"].values for r in (run, tmp_path))
    np.testing.assert_array_equal(a, b)
