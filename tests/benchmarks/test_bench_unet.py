"""The benchmark of the U-Net, on a few small made-up tiles."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "unet"))

import unet_world

from benchmarks import unet, unet_compute, unet_race, unet_speed
from benchmarks.unet_official import OfficialLoop, OfficialTiles, loader
from l4s_ensemble.data.patches import write_mask, write_patch
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.unet.hardware import choose
from l4s_ensemble.unet.networks import official
from l4s_ensemble.unet.training.engine import FoldTrainer

EDGE, TILES = 32, 8
SENSOR = L4S.model_copy(update={"patch_pixels": EDGE, "name": "small"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> unet_speed.World:
    """Released files of a smaller size: a landslide is bright in every band."""
    root = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    for i in range(1, TILES + 1):
        mask = np.zeros((EDGE, EDGE), np.uint8)
        row, col = rng.integers(0, EDGE - 12, 2)
        mask[row : row + 12, col : col + 12] = 1
        stored = rng.uniform(0.2, 1.5, (EDGE, EDGE, len(SENSOR.bands))) + 1.5 * mask[..., None]
        counts = (stored * SENSOR.stored_to_count).round()
        write_patch(root / f"TrainData/img/image_{i}.h5", counts / SENSOR.stored_to_count, SENSOR)
        write_mask(root / f"TrainData/mask/mask_{i}.h5", mask)
    return unet_speed.World.of(root, root / "patches.zarr", SENSOR)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official network, but for its widths: these are fast."""
    monkeypatch.setattr(official, "WIDTHS", (4, 8, 16, 16, 16))


@pytest.fixture
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def trainer_of(world: unet_speed.World, *, batch: int, epochs: int) -> FoldTrainer:
    config = unet_speed.settings(f"unet.batch={batch}", f"unet.epochs={epochs}")
    where, hardware = np.arange(TILES), choose("cpu", "float32")
    return FoldTrainer(world.tiles(), where, config, seed=0, fold=0, hardware=hardware)


def test_both_ways_read_the_same_tiles_with_the_official_standard(
    world: unet_speed.World,
) -> None:
    read = OfficialTiles(world.files, SENSOR.band_names)
    batches = trainer_of(world, batch=4, epochs=1).batches
    made = batches.make(0, np.arange(TILES))
    for i, (image, label) in enumerate(read[n] for n in range(TILES)):
        assert np.abs(made.x[i].numpy() - image).max() < 1e-4
        assert np.array_equal(made.target[i, 0].numpy(), label)
    assert (made.weight == 1).all()
    # Stored values are 0.2 and more, their published mean in B1 is below 0: no unit but theirs.
    b1 = read[0][0][0]
    assert b1.min() > (0.2 + 0.4914) / 0.9325 - 0.01 and b1.max() < (3.0 + 0.4914) / 0.9325 + 0.01


def test_tiles_of_the_loader_come_in_the_order_asked_for(world: unet_speed.World) -> None:
    read = OfficialTiles(world.files, SENSOR.band_names)
    order = [5, 0, 5, 2]
    images = torch.cat([image for image, _ in loader(read, order, batch=2, workers=0)])
    assert torch.equal(images, torch.from_numpy(np.stack([read[i][0] for i in order])))


def test_both_loops_learn_the_same_in_float32(world: unet_speed.World) -> None:
    ours = trainer_of(world, batch=4, epochs=3)
    theirs = OfficialLoop(unet_speed.official_network(len(SENSOR.bands)), torch.device("cpu"))
    state = theirs.network.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in ours.network.state_dict().items())
    order = [ours.batches.order(epoch) for epoch in range(3)]
    feed = iter(
        loader(OfficialTiles(world.files, SENSOR.band_names), np.concatenate(order), batch=4,
               workers=0)
    )  # fmt: skip
    told = [theirs.run(feed, 2) for _ in range(3)]
    ours.run()
    mean = [float(np.mean(losses)) for losses in told]
    found = [e["loss"] for e in ours.epochs]
    assert mean[2] < 0.95 * mean[0]  # something was learnt
    assert found == pytest.approx(mean, rel=0.02)
    assert found[0] == pytest.approx(mean[0], rel=1e-3)


def test_ours_predicts_what_the_official_way_predicts(
    world: unet_speed.World, threads: None
) -> None:
    hardware = choose("cpu", "float32", threads=1)
    ours = trainer_of(world, batch=4, epochs=2)
    model = ours.run()
    told = unet_speed.compare_prediction(world, hardware, model, patches=5, turns=1, workers=0)
    assert told["patches"] == 5
    assert told["same_class_share"] > 0.999
    assert told["max_probability_difference"] < 1e-4
    assert told["ratio"] > 0 and told["ratio_with_store_made"] <= told["ratio"] * 1.01


def test_operations_are_those_of_the_convolutions() -> None:
    # Backward costs twice the forward pass, but the first layer needs no gradient of its input.
    # unet of two levels, width 4: counted by hand from its shapes.
    conv = 2 * 3 * 9 * 4 * 16 * 16  # stem: 3 bands -> 4 channels
    found = unet_compute.flops_per_patch("unet", 3, 16, width=4, depth=2, norm="batch")
    down = 2 * (4 * 8 * 9 + 8 * 8 * 9 + 4 * 8) * 8 * 8
    reduce = 2 * 8 * 4 * 8 * 8
    up, head = 2 * 8 * 9 * 4 * 16 * 16, 2 * 4 * 16 * 16
    assert found == 2 * conv + 3 * (down + reduce + up + head)


def row(epoch: int, seconds: float, f1: float) -> dict[str, float]:
    return {"epoch": epoch, "seconds": seconds, "f1": f1}


def test_the_race_is_to_the_best_f1_of_the_rival() -> None:
    smp = {"rows": [row(1, 60, 0.4), row(2, 120, 0.6), row(3, 180, 0.5)], "patches_per_s": 20.0}
    ours = {"rows": [row(1, 10, 0.3), row(2, 20, 0.6), row(3, 30, 0.7)], "patches_per_s": 50.0}
    told = unet_race.compare(ours, smp, plain_rate=5.0)
    assert told["f1_to_reach"] == 0.6
    assert told["ratio"] == pytest.approx(20 / 120)
    assert told["ratio_plain"] == pytest.approx(20 / 120 / 4)  # plain takes four times as long
    slow = unet_race.compare({**ours, "rows": ours["rows"][:1]}, smp, plain_rate=5.0)
    assert slow["ratio"] is None and slow["ratio_plain"] is None and slow["f1_best"] == 0.3


def test_epochs_fit_into_the_minutes() -> None:
    assert unet_race.epochs_within(2, rate=10, tiles=300, most=30) == 4
    assert unet_race.epochs_within(2, rate=1000, tiles=300, most=30) == 30
    assert unet_race.epochs_within(0.1, rate=1, tiles=300, most=30) == 1


def small_race(folder: Path) -> Any:
    """What `unet_race` reads of a world: sixteen small tiles in two folds."""
    from l4s_ensemble.scenes.folds import load_folds
    from l4s_ensemble.unet.inputs.normalisation import load

    config = unet_world.config_of(epochs=3)
    if not (folder / "run").is_dir():
        unet_world.prepare(folder / "run", config)
    folds = load_folds(folder / "run" / "scenes")
    ids = np.sort(folds.fit_ids).astype(np.int64)
    tiles = load(unet_world.made_up(), ids - 1)
    return SimpleNamespace(work=folder, config=config, folds=folds, ids=ids, tiles=tiles)


def small_pair(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The two runners, with a small network of ours in the rival's place."""
    monkeypatch.setitem(unet_race.RIVAL_SETTINGS, "network", "unet")
    ours, smp = unet_race.runners(world.config.unet, "cpu", 1, ["epochs=2", "width=6"])
    assert smp.config.lr == unet_race.RIVAL_SETTINGS["lr"] and smp.config.width == 6
    assert smp.config.loss == ours.config.loss and smp.config.jitter_gain == ours.config.jitter_gain
    return ours, smp


def test_a_race_that_was_killed_goes_on_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    world = small_race(tmp_path / "whole")
    pair = small_pair(world, monkeypatch)
    whole = unet_race.race(world, 0, 10.0, pair)
    assert len(whole["ours"]["rows"]) == 3 and len(whole["smp"]["rows"]) == 2
    assert [r["epoch"] for r in whole["ours"]["rows"]] == [1, 2, 3]
    assert not list(world.work.glob("*.checkpoint.pt"))

    other = small_race(tmp_path / "killed")
    save = FoldTrainer.save

    def dies_after_two(self: FoldTrainer, path: Path) -> None:
        if "ours" in path.name and len(self.epochs) == 2:
            raise KeyboardInterrupt  # the row is written, the checkpoint is not
        save(self, path)

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(FoldTrainer, "save", dies_after_two)
        unet_race.race(other, 0, 10.0, pair)
    note = json.loads((other.work / "race_0_ours.json").read_text())
    assert len(note["rows"]) == 2 and not note["done"]
    gone_on = unet_race.race(other, 0, 10.0, pair)
    for name in ("ours", "smp"):
        for key in ("epoch", "f1", "threshold", "loss"):
            assert [r[key] for r in gone_on[name]["rows"]] == [r[key] for r in whole[name]["rows"]]
        seconds = [r["seconds"] for r in gone_on[name]["rows"]]
        assert seconds == sorted(seconds)


def test_tiles_that_score_the_race_are_not_trained_on(tmp_path: Path) -> None:
    world = small_race(tmp_path)
    held = np.flatnonzero(world.folds.of(world.ids, "fold") == 0)
    assert len(held) and not set(held) & set(unet_race.training(world, 0))


def test_the_last_line_is_json_with_what_was_asked_for(
    world: unet_speed.World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    threads: None,
) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(tiles: OfficialTiles, order: Any, **words: Any) -> Any:
        seen.append(tuple(int(i) for i in order))
        return loader(tiles, order, **{**words, "workers": 0})

    monkeypatch.setattr(unet, "made_up", lambda *_: world)
    monkeypatch.setattr(unet_speed, "loader", watched)
    monkeypatch.setitem(unet_compute.MATMUL_EDGE, "cpu", 64)
    unet.main(
        ["--only", "train,predict", "--batch", "4", "--steps", "2", "--turns", "1",
         "--tiles", "4", "--jobs", "1", "--device", "cpu"]
    )  # fmt: skip
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    assert told["train_ratio_vs_official"] == told["train"]["ratio"] > 0
    assert told["predict_ratio_vs_official"] == told["predict"]["ratio"] > 0
    assert told["time_to_f1_ratio_vs_smp"] is None and told["race"] is None
    assert len(told["train"]["ratios"]) == len(told["predict"]["ratios"]) == 1
    assert told["train"]["share_of_matmul"] > 0
    # A block that is not counted and one that is, of the tiles that our epochs hold.
    assert sorted(seen[0]) == sorted([*range(TILES)] * 2)
    assert "| ours |" in out


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(SystemExit, match="forms"):
        unet.main(["--only", "train,nothing"])
