"""Adaptation to tiles without masks: it helps, it stops, it resumes, and it never sees a mask."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import NEEDS, config_of, context, cpu, made_up, prepare, put_stage, tiny

from l4s_ensemble.config import AdaptConfig, Config, UNetConfig
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.unet import infer, train
from l4s_ensemble.unet.adapting.adapt import Adaptation, Adapted, remeasured
from l4s_ensemble.unet.adapting.mixed import MixedBatches
from l4s_ensemble.unet.adapting.pseudo import UNKNOWN, PseudoLabels, expected_share
from l4s_ensemble.unet.adapting.target import Target, joined
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.model import FoldModel, UNetModel, fold_file
from l4s_ensemble.unet.training.engine import FoldTrainer

LEARNT = tiny(width=8, epochs=25, lr=1e-2, ema=0.9, batch=2)
ALL = np.arange(16)
FAR = (1.6, 0.5)
"""Gains of red and near infrared at which the whole place looks like one landslide."""
NEAR = (0.72, 1.25)
"""Gains at which some landslides are missed."""


class Killed(Exception):
    """Stands for a kill of the process."""


def elsewhere(gain: tuple[float, float], seed: int = 9) -> xr.Dataset:
    """Other tiles of the made-up world, in another light."""
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


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


@pytest.fixture(scope="module")
def trained() -> FoldModel:
    """A network that has learned the made-up world in its own light."""
    job = FoldTrainer(load(made_up()), ALL, LEARNT, seed=3, fold=0, hardware=cpu())
    return job.run()


def adaptation(
    out: Path, model: FoldModel, place: xr.Dataset, config: UNetConfig = LEARNT, **adapt: Any
) -> Adaptation:
    """Adaptation of a trained network, its file in place."""
    given = {"statistics": False, "epochs": 6, "sure": 0.8, "sure_not": 0.1, "lr_share": 0.5}
    settings = AdaptConfig(**{**given, **adapt})
    config = config.model_copy(update={"adapt": settings})
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / fold_file(0))
    target = Target("valid", load(place, masks=False))
    return Adaptation(out, config, 3, 0, cpu(), load(made_up()), ALL, target)


def test_statistics_of_the_place_mend_what_another_light_broke(tmp_path, trained):
    ds = elsewhere(FAR)
    place, mask = load(ds, masks=False), ds["mask"].values
    assert f1(trained, place, mask) < 0.3
    found = adaptation(tmp_path, trained, ds, statistics=True).run()
    assert f1(found.target, place, mask) > 0.95
    # Training tiles are still scored with the statistics of training tiles.
    assert same(found.models[0].network, trained.network)
    weights = dict(found.target[0].network.named_parameters())
    assert all(torch.equal(weights[n], p) for n, p in trained.network.named_parameters())
    assert found.told["target_files"] == ["fold_0.target.safetensors"]


def test_rounds_of_sure_pixels_find_more_and_forget_nothing(tmp_path, trained):
    ds = elsewhere(NEAR)
    place, mask = load(ds, masks=False), ds["mask"].values
    before = f1(trained, place, mask)
    found = adaptation(tmp_path, trained, ds, rounds=2).run()
    assert before < 0.93 and f1(found.target, place, mask) > before + 0.05
    assert f1(found.models, load(made_up()), made_up()["mask"].values) > 0.95
    first, second = found.told["rounds"]
    assert found.told["stopped"] is None and found.told["rounds_done"] == 2
    assert second["sure_share"] >= first["sure_share"]  # it grows surer
    assert abs(second["ratio"] - 1) < abs(first["ratio"] - 1)
    assert [m.file for m in found.models] == ["fold_0.round_2.safetensors"]


def test_labels_that_look_like_a_collapse_end_the_rounds(tmp_path, trained, caplog):
    found = adaptation(tmp_path, trained, elsewhere(FAR), rounds=2).run()
    assert found.told["rounds"] == [] and found.told["rounds_done"] == 0
    assert "landslides" in found.told["stopped"] and "adaptation stops" in caplog.text
    assert same(found.models[0].network, trained.network)
    unsure = adaptation(tmp_path / "b", trained, elsewhere(NEAR), rounds=1, sure=0.9999999,
                        sure_not=1e-9).run()  # fmt: skip
    assert "no tile" in unsure.told["stopped"]


@pytest.mark.parametrize("where", ["between rounds", "in a round"])
def test_kill_and_resume_give_the_same_bits(tmp_path, trained, monkeypatch, where):
    ds, settings = elsewhere(NEAR), {"rounds": 2, "statistics": True, "epochs": 3}
    whole = adaptation(tmp_path / "whole", trained, ds, **settings).run()
    killed = adaptation(tmp_path / "killed", trained, ds, **settings)
    seen: list[dict[str, Any]] = []

    def tell(told: dict[str, Any]) -> None:
        seen.append(copy.deepcopy(told))
        if where == "between rounds":
            raise Killed

    if where == "in a round":
        save = FoldTrainer.save

        def save_and_die(self: FoldTrainer, path: Path) -> None:
            save(self, path)
            if len(self.epochs) == 2 and "round_2" in path.name:
                raise Killed

        monkeypatch.setattr(FoldTrainer, "save", save_and_die)
    with pytest.raises(Killed):
        killed.run(None, tell)
    monkeypatch.undo()
    steps = count_steps(monkeypatch)
    again = killed.run(seen[-1])
    assert same(again.models[0].network, whole.models[0].network)
    assert same(again.target[0].network, whole.target[0].network)
    assert len(again.told["rounds"]) == 2
    # What had been done is not done again: three epochs of round 2, or the last of them.
    assert len(steps) == (3 if where == "between rounds" else 1)


def count_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    done: list[int] = []
    epoch = FoldTrainer._epoch

    def counted(self: FoldTrainer, number: int) -> Any:
        done.append(number)
        return epoch(self, number)

    monkeypatch.setattr(FoldTrainer, "_epoch", counted)
    return done


def test_only_the_networks_of_the_fold_label_for_it(tmp_path, trained):
    ds = elsewhere(NEAR)
    alone = adaptation(tmp_path / "a", trained, ds, rounds=1, epochs=1)
    beside = adaptation(tmp_path / "b", trained, ds, rounds=1, epochs=1)
    # Another fold's network, and a second one beside it, change nothing, for nobody reads them.
    other = copy.deepcopy(trained.network)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    replace(trained, network=other, fold=1).save(tmp_path / "b" / fold_file(1))
    assert same(alone.run().models[0].network, beside.run().models[0].network)
    # In the place of the fold's own it is refused.
    replace(trained, fold=1).save(tmp_path / "c" / fold_file(0))
    with pytest.raises(ValueError, match="another fold"):
        replace(alone, out=tmp_path / "c").run()


def test_a_target_with_masks_is_refused():
    with pytest.raises(ValueError, match="no masks"):
        Target("valid", load(made_up()))


def test_labels_are_what_is_sure():
    logit = np.array([[[-9.0, -1.0], [1.0, 9.0]], [[0.0, 0.0], [0.0, 0.1]]], np.float32)
    labels = PseudoLabels.of(logit, AdaptConfig(), expected=0.25)
    assert labels.label[0].tolist() == [[0, UNKNOWN], [UNKNOWN, 1]]
    assert labels.usable.tolist() == [0]
    assert labels.landslide_share == 0.5 and labels.ratio == 2 and labels.doubt is None
    assert "12.50 times" in str(replace(labels, expected=0.04).doubt)
    place = labels.apply(replace(load(made_up(1, 2)), mask=None))
    assert place.mask is not None and place.known is not None
    assert place.mask[0].tolist() == [[0, 0], [0, 1]]
    assert place.known[0].tolist() == [[1, 0], [0, 1]] and not place.known[1].any()


def test_the_share_that_is_expected_follows_how_tiles_are_shown():
    tiles = load(made_up())
    assert tiles.mask is not None
    mask = tiles.mask.clone()
    mask[4:] = 0
    tiles = replace(tiles, mask=mask)
    plain = expected_share(tiles, ALL, None)
    assert plain == pytest.approx(float(mask.float().mean()))
    assert expected_share(tiles, ALL, 0.5) == pytest.approx(2 * plain)  # a quarter has one
    known = torch.ones_like(mask)
    known[:, :16] = 0
    half = expected_share(replace(tiles, known=known), ALL, None)
    assert half == pytest.approx(float(mask[:, 16:].float().mean()))


def both(**config: Any) -> tuple[TileSet, MixedBatches]:
    fit, place = load(made_up()), load(made_up(2, 3, seed=5))
    settings = tiny(**config)
    normalisation = Normalisation.fit(fit, ALL, settings)
    tiles = joined(fit, place, normalisation)
    positions = np.append(ALL, [16, 17, 19])
    return tiles, MixedBatches(
        tiles, positions, normalisation, settings, (3, 0, 0, 1), first_target=16
    )


def test_joined_sets_keep_apart_what_belongs_to_either():
    tiles, _ = both()
    assert len(np.unique(tiles.patch)) == len(tiles) == 22
    index = torch.tensor([0, 16])
    assert torch.equal(tiles.units(index)[0], load(made_up()).units(torch.tensor([0]))[0])
    place = load(made_up(2, 3, seed=5))
    assert torch.equal(tiles.units(index)[1], place.units(torch.tensor([0]))[0])
    table = torch.full((22, 3, 3), -1)
    table[:, 1, 1] = torch.arange(22)
    fit = replace(load(made_up()), around=table[:16], scene=np.ones(16, np.int64))
    seen = replace(place, scene=np.array([1, 1, 1, -1, -1, -1]))
    found = joined(fit, seen, Normalisation.fit(fit, ALL, tiny()))
    assert found.around is not None and found.around[:, 1, 1].tolist() == list(range(22))
    assert found.scene is not None
    assert found.scene[16:].tolist() == [3, 3, 3, -1, -1, -1]  # not the scene of training tiles


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_an_epoch_has_the_share_of_tiles_to_predict(share):
    tiles, batches = both(adapt={"share": share})
    order = batches.order(0)
    position = order % len(tiles)
    assert len(order) == 19 and len(np.unique(order)) == 19
    assert (position >= 16).sum() == round(share * 19)
    assert set(position[position >= 16]) <= {16, 17, 19}
    assert not np.array_equal(order, batches.order(1))
    assert np.array_equal(order, both(adapt={"share": share})[1].order(0))
    shown = torch.cat(list(batches.plain(16, 4)))
    assert shown.shape == (16, 4, 32, 32)


def test_an_epoch_keeps_the_share_of_landslides_among_training_tiles():
    _, batches = both(landslide_share=0.75)
    has = np.arange(16) < 8
    batches._own = np.flatnonzero(has), np.flatnonzero(~has)
    position = batches.order(0) % 22
    own = position[position < 16]
    assert (own < 8).sum() == round(0.75 * len(own))


def test_a_network_without_batch_norm_has_no_statistics(tmp_path, caplog):
    config = tiny(norm="group")
    model = FoldTrainer(load(made_up()), ALL, config, seed=3, fold=0, hardware=cpu()).run()
    found = adaptation(tmp_path, model, elsewhere(NEAR), config, statistics=True).run()
    assert found.told["statistics"] is False and "no batch norm" in caplog.text
    assert same(found.target[0].network, model.network)


def test_statistics_need_not_fill_a_batch(trained):
    tiles = load(made_up())
    few = remeasured(trained, tiles, np.array([3]), 4, cpu())
    assert not same(few.network, trained.network)
    assert torch.isfinite(torch.from_numpy(Predictor(few, cpu(), tta=False)(tiles, [0]))).all()


# The stage


def adapting(**adapt: Any) -> Config:
    settings = {"statistics": True, "rounds": 1, "epochs": 1, "sure": 0.55, "sure_not": 0.45}
    if not {**settings, **adapt}["rounds"]:
        return config_of(adapt={**settings, **adapt}, explain=False)
    learning = {"width": 8, "epochs": 40, "lr": 1e-2, "ema": 0.9, "batch": 2}
    return config_of(adapt={**settings, **adapt}, explain=False, **learning)


def put_target(run: Path, masks: bool = False) -> None:
    ds = elsewhere(NEAR).isel(patch=slice(0, 6))
    ds["content_hash"] = "patch", [f"other{i}" for i in range(6)]
    if not masks:
        ds = ds.drop_vars("mask")
    ds.to_zarr(put_stage(run, "adapt/valid") / "patches.zarr", consolidated=False)


def adapted_run(run: Path, config: Config, split: str = "valid", **files: bool) -> Path:
    """A run with a U-Net that was adapted."""
    prepare(run, config)
    needs = NEEDS
    if split == "valid":
        put_target(run, **files)
        needs = (*NEEDS, "adapt/valid")
    ctx = context(run, "unet", config, needs, {"adapt": split})
    put_stage(run, "unet", train.stage(ctx))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapted_run(tmp_path_factory.mktemp("adapted"), adapting())


def networks(run: Path) -> list[FoldModel]:
    model = UNetModel.load(run / "unet")
    return [m for fold in (*model.folds, *model.target) for m in fold]


def test_the_summary_says_that_the_scores_are_a_row_of_their_own(run):
    told = read_json(run / "unet" / "summary.json")
    assert told["adapted_to"] == "valid" and told["adapt"]["row"] == "adapted to valid"
    assert told["adapt"]["tiles"] == 6 and told["adapt"]["rounds"] == [1, 1]
    assert read_json(run / "unet" / "fold_0.progress.json")["adapt"]["finished"]


def test_only_files_that_are_read_stay(run):
    found = sorted(p.name for p in (run / "unet").glob("fold_*.*") if "progress" not in p.name)
    read = {m.file for m in networks(run)} | {fold_file(k) for k in (0, 1)}
    assert found == sorted(read)


def test_out_of_fold_scores_come_from_the_adapted_networks(run):
    model, config = UNetModel.load(run / "unet"), adapting()
    oof = open_scores(run / "unet" / "oof.zarr")
    folds = load_folds(run / "scenes")
    tiles = load(made_up(), np.flatnonzero(np.isin(made_up()["patch"], oof["patch"])))
    assert config.unet.tta is False
    for k, members in enumerate(model.folds):
        held = np.flatnonzero(np.isin(tiles.patch, folds.held_ids(k)))
        logit = Predictor(members, cpu(), tta=False)(tiles, held)
        np.testing.assert_allclose(oof["logit"].values[held], logit, atol=2e-3, rtol=1e-3)


def test_masks_of_the_split_change_nothing(run, tmp_path):
    config = adapting()
    seen = adapted_run(tmp_path / "with", config, masks=True)
    assert all(
        same(a.network, b.network) for a, b in zip(networks(run), networks(seen), strict=True)
    )


def test_each_split_is_scored_with_the_statistics_of_its_place(run, tmp_path):
    place = shutil.copytree(run, tmp_path / "run")
    elsewhere(NEAR).isel(patch=slice(0, 6)).to_zarr(
        put_stage(place, "data/valid") / "patches.zarr", consolidated=False
    )
    model = UNetModel.load(place / "unet")
    tiles = load(elsewhere(NEAR).isel(patch=slice(0, 6)), masks=False)
    for folder, members in (("predict/valid", model.target), ("predict/valid-b", model.folds)):
        params = {"data": "data/valid", "split": "valid", "folder": folder}
        ctx = context(place, f"{folder}/unet", adapting(), ("data/valid", "unet"), params)
        assert infer.stage(ctx)["adapted_to"] == "valid"
        logit = open_scores(ctx.out / "logit.zarr")["logit"].values
        wanted = np.stack([Predictor(m, cpu(), tta=False)(tiles, range(6)) for m in members])
        np.testing.assert_allclose(logit, wanted, atol=2e-3, rtol=1e-3)


def test_tiles_set_aside_can_be_adapted_to(tmp_path):
    config = adapting(rounds=0)
    found = adapted_run(tmp_path, config, "holdout")
    told = read_json(found / "unet" / "summary.json")
    assert told["adapt"] == {
        "split": "holdout", "tiles": 1, "statistics": True, "rounds": [0, 0],
        "stopped": [None, None], "row": "adapted to holdout",
    }  # fmt: skip


def test_training_tiles_are_nothing_to_adapt_to(tmp_path):
    config = adapting(rounds=0)
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


def test_a_killed_stage_goes_on_with_the_same_result(run, tmp_path, monkeypatch):
    config = adapting()
    prepare(tmp_path, config)
    put_target(tmp_path)
    ctx = context(tmp_path, "unet", config, (*NEEDS, "adapt/valid"), {"adapt": "valid"})
    whole = Adaptation.run

    def die(self: Adaptation, *words: Any) -> Adapted:
        found = whole(self, *words)
        if self.fold == 1:
            raise Killed
        return found

    monkeypatch.setattr(Adaptation, "run", die)
    with pytest.raises(Killed):
        train.stage(ctx)
    monkeypatch.undo()
    steps = count_steps(monkeypatch)
    put_stage(tmp_path, "unet", train.stage(ctx))
    assert not steps
    pairs = zip(networks(run), networks(tmp_path), strict=True)
    assert all(same(a.network, b.network) for a, b in pairs)
    a, b = (open_scores(r / "unet" / "oof.zarr")["logit"].values for r in (run, tmp_path))
    np.testing.assert_array_equal(a, b)
