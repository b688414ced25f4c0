"""Two processes on CPUs train the network that one trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing
from unet_world import NEEDS, config_of, cpu, made_up, prepare, tiny

from l4s_ensemble.config import Config, UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.unet import parallel, train
from l4s_ensemble.unet.inputs.normalisation import load
from l4s_ensemble.unet.model import UNetModel
from l4s_ensemble.unet.training.engine import FoldTrainer
from l4s_ensemble.unet.training.team import ALONE, Team
from l4s_ensemble.unet.training.watch import Inner

PROCESSES = 2
LOSS = "bce+dice+0.5*tversky+focal+0.1*lovasz"


def settings(**more: Any) -> UNetConfig:
    return tiny(norm="group", batch=6, steps=4, lr=1e-2, ema=0.5, loss=LOSS, **more)


def whole_config() -> Config:
    return config_of(norm="group", seeds=2, epochs=1, batch=2, explain=False)


def trained(team: Team) -> FoldTrainer:
    inner = Inner(np.array([12, 13, 14]))
    job = FoldTrainer(
        load(made_up()), np.arange(12), settings(checkpoint="inner"), seed=3, fold=0,
        hardware=cpu(), inner=inner, team=team,
    )  # fmt: skip
    job.run()
    return job


def context(run: Path) -> StageContext:
    return StageContext(run, run / "unet", whole_config(), {}, NEEDS, jobs=1, device="cpu")


def process(rank: int, folder: str) -> None:
    where = f"file://{folder}/meet"
    distributed.init_process_group(
        "gloo", init_method=where, rank=rank, world_size=PROCESSES, timeout=parallel.WAIT
    )
    team = Team(rank, PROCESSES)
    job = trained(team)
    state = job.average.network.state_dict()
    torch.save({"state": state, "epochs": job.epochs}, f"{folder}/{rank}.pt")
    summary = train.stage(context(Path(folder) / "run"), team)
    assert bool(summary) == team.first
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave: ``<rank>.pt`` and a run. Read only."""
    folder = tmp_path_factory.mktemp("two")
    run = prepare(folder / "run", whole_config())
    (run / "unet").mkdir()
    # One process imports torch, the others are its forks.
    multiprocessing.set_forkserver_preload(["l4s_ensemble.unet.train"])
    multiprocessing.start_processes(  # type: ignore[no-untyped-call]
        process, (str(folder),), nprocs=PROCESSES, start_method="forkserver"
    )
    return folder


def test_parameters_and_losses_are_those_of_one_process(two: Path) -> None:
    alone = trained(ALONE)
    start = FoldTrainer(
        load(made_up()), np.arange(12), settings(), seed=3, fold=0, hardware=cpu()
    ).network.state_dict()
    found = [torch.load(two / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]
    moved = 0.0
    for name, value in alone.average.network.state_dict().items():
        torch.testing.assert_close(found[0]["state"][name], value, rtol=1e-4, atol=2e-5)
        assert torch.equal(found[0]["state"][name], found[1]["state"][name])
        moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 100 * 2e-5  # or the tolerance would say nothing
    for one, each in zip(alone.epochs, found[0]["epochs"], strict=True):
        for key in ("loss", "inner_f1", "inner_threshold", "lr", "steps"):
            assert each[key] == pytest.approx(one[key], rel=1e-3)
        # Of unequal halves the watched loss is pooled over other batches.
        assert each["inner_loss"] == pytest.approx(one["inner_loss"], rel=0.2)


def test_stage_of_two_processes_is_that_of_one(two: Path, tmp_path: Path) -> None:
    run = prepare(tmp_path / "run", whole_config())
    (run / "unet").mkdir()
    summary = train.stage(context(run))
    assert summary["processes"] == 1
    for name in ("fold_0", "fold_1"):
        both = [read_json(r / "unet" / f"{name}.progress.json") for r in (run, two / "run")]
        assert all(p["finished"] for p in both)
        assert both[0]["epochs"][0]["loss"] == pytest.approx(both[1]["epochs"][0]["loss"], rel=1e-4)
    models = [UNetModel.load(r / "unet") for r in (run, two / "run")]
    assert [len(fold) for fold in models[1].folds] == [2, 2]
    one, other = (open_scores(r / "unet" / "oof.zarr")["logit"].values for r in (run, two / "run"))
    np.testing.assert_allclose(one, other, atol=5e-3)  # as float16 on disk


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot divide a batch"):
        FoldTrainer(
            load(made_up()), np.arange(16), tiny(batch=5), seed=3, fold=0, hardware=cpu(),
            team=Team(0, 2),
        )  # fmt: skip


def test_a_process_that_torchrun_did_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="torchrun"):
        parallel.join("cpu")
    monkeypatch.setattr(parallel, "start_logging", lambda level: None)
    with caplog.at_level("ERROR", logger="l4s_ensemble"):
        assert parallel.main([str(tmp_path)]) == 1
    assert "start it with torchrun" in caplog.text
