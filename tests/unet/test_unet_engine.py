"""Training of one network: length, resume, compiling, steps that are skipped, reports."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unet_world import SENSOR, Killed, same, synthetic, tiny, trainer

from l4s_ensemble.errors import L4SError
from l4s_ensemble.unet.inputs.tileset import load
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.training import faster
from l4s_ensemble.unet.training.engine import SKIPPED_IN_A_ROW, VALIDATION_TILES, Trainer
from l4s_ensemble.unet.training.schedule import optimiser_of, restore, set_rate


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_kill_and_resume_give_the_same_bits(tmp_path: Path, optimiser: str) -> None:
    config = tiny(epochs=4, optimiser=optimiser)
    whole = trainer(config).run()
    stopped_after(2, trainer(config), tmp_path / "c.pt")
    again = trainer(config)
    assert again.resume(tmp_path / "c.pt") and len(again.epochs) == 2
    assert same(again.run(tmp_path / "c.pt"), whole)
    finished = trainer(config)
    assert same(finished.run(tmp_path / "c.pt"), whole) and len(finished.epochs) == 4


def stopped_after(epochs: int, job: Trainer, path: Path) -> None:
    """Run a training that ends after some epochs, as by a kill."""
    save = job.save

    def kill(path: Path) -> None:
        save(path)
        if len(job.epochs) == epochs:
            raise Killed

    job.save = kill  # type: ignore[method-assign]
    with pytest.raises(Killed):
        job.run(path)


def test_checkpoint_of_another_training_or_damaged_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    trainer(tiny()).run(path)
    assert trainer(tiny()).resume(path)
    labels = trainer(tiny())
    labels.tiles = replace(labels.tiles, mask=labels.tiles.mask * 0)  # type: ignore[operator]
    for job in (trainer(tiny(lr=1e-3)), trainer(tiny(), fold=1), trainer(tiny(), 8), labels):
        assert not job.resume(path)
    path.write_bytes(b"half of it")
    assert not trainer(tiny()).resume(path)
    assert not trainer(tiny()).resume(tmp_path / "none.pt")


def test_a_loss_that_is_not_finite_says_where() -> None:
    job = trainer(tiny(epochs=3), fold=1)
    with torch.no_grad():
        next(job.network.parameters()).fill_(float("nan"))
    with pytest.raises(L4SError, match=r"key \(3, 1\), epoch 0, step 0") as error:
        job.run()
    shown = job.tiles.patch[job.order(0)[:4]]
    assert f"inputs finite: yes; batch: patch {', '.join(map(str, shown))}" in str(error.value)


def test_inputs_that_are_not_finite_are_named() -> None:
    job = trainer(tiny(epochs=3), number=2)
    job.tiles.scale[5] = float("nan")  # patch 6
    with pytest.raises(L4SError, match=r"key \(3, 0, 2\), epoch 0, step") as error:
        job.run()
    assert "inputs finite: no, not those of patch 6; batch: patch" in str(error.value)
    assert "6" in str(error.value).split("batch: patch")[1]


@pytest.mark.parametrize(("steps", "wanted"), [(7, [3, 3, 1]), (6, [3, 3]), (2, [2])])
def test_steps_override_epochs_and_cut_the_last(steps: int, wanted: list[int]) -> None:
    job = trainer(tiny(epochs=9, steps=steps), 12)
    made, step = [], job._step
    job._step = lambda epoch, where: made.append(epoch) or step(epoch, where)  # type: ignore
    job.run()
    assert [e["steps"] for e in job.epochs] == wanted
    assert [made.count(epoch) for epoch in range(len(wanted))] == wanted
    assert job.epochs_planned == len(wanted)
    end = job.config.lr * 0.001
    assert job.epochs[-1]["lr"] == pytest.approx(end if steps > 2 else job.epochs[-1]["lr"])


def test_networks_of_a_fold_differ_and_the_first_is_the_only_one_there_was() -> None:
    jobs = [trainer(tiny(epochs=1), number=n) for n in range(3)]
    for a, b in itertools.combinations(jobs, 2):
        assert not same(a.network, b.network)
        assert not np.array_equal(a.order(0), b.order(0))
    assert jobs[0].key == (3, 0)
    assert same(jobs[0].network, build(tiny(), SENSOR.band_names, seed=3 * 1009))


def test_compiled_training_is_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(epochs=1, ema=0.0)
    plain = trainer(config, 12)
    calls = []

    def compile_(network: torch.nn.Module) -> Any:
        fast = torch.compiler.disable(network)
        return lambda *a, **k: calls.append(1) or fast(*a, **k)

    monkeypatch.setattr(torch, "compile", compile_)
    job = trainer(config.model_copy(update={"compile": True}), 12)
    a, b = plain.run(), job.run()
    assert len(calls) == 1 + 3  # tried once, then three steps
    assert same(a, b)  # the trial left no trace, in names nor in statistics


class Wrong(torch.autograd.Function):
    """Its logits are right; a training with it would stop at its first step."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * float("nan")


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no C++ compiler\nand a long story")


@pytest.mark.parametrize(
    ("compile_", "says"),
    [
        (lambda network: broken, "no C++ compiler"),
        (
            lambda network: lambda *a, **k: Wrong.apply(network(*a)),
            "its gradient would not be finite",
        ),
    ],
)
def test_where_compiling_fails_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compile_: Any, says: str
) -> None:
    monkeypatch.setattr(torch, "compile", compile_)
    with caplog.at_level("WARNING", logger="l4s_ensemble"):
        network = trainer(tiny(epochs=1, compile=True)).run()
    assert f"not compiled: {says}" in caplog.text
    assert same(network, trainer(tiny(epochs=1)).run())


def test_without_averaging_the_network_is_the_trained_one() -> None:
    job = trainer(tiny(epochs=2, ema=0.0))
    network = job.run()
    assert same(network, job.network) and not network.training
    state = network.state_dict()
    assert {int(v) for k, v in state.items() if k.endswith("num_batches_tracked")} == {job.steps}


def test_a_state_from_a_gpu_goes_on_on_a_cpu() -> None:
    """A GPU keeps its rate as a tensor and captures its steps: neither may come along."""
    network = torch.nn.Conv2d(2, 1, 3)

    def step(optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        network(torch.ones(1, 2, 4, 4)).sum().backward()
        optimiser.step()

    first = optimiser_of(network, tiny())
    step(first)
    state = first.state_dict()
    for group in state["param_groups"]:
        group |= {"lr": torch.tensor(0.5), "capturable": True}
    again = optimiser_of(network, tiny())
    restore(again, state)
    set_rate(again, 1e-3)
    assert all(g["lr"] == 1e-3 and not g["capturable"] for g in again.param_groups)
    moments = [again.state[p]["exp_avg"] for p in network.parameters()]
    assert all(
        torch.equal(m, first.state[p]["exp_avg"])
        for m, p in zip(moments, network.parameters(), strict=True)
    )
    step(again)
    assert again.state[network.bias]["step"] == 2


def overflowing(job: Trainer, bad: set[int]) -> list[int]:
    """Let the gradient of the steps of these numbers overflow, as it does in bfloat16."""
    seen = itertools.count()
    steps: list[int] = []

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        steps.append(next(seen))
        return gradient * float("inf") if steps[-1] in bad else gradient

    next(job.network.parameters()).register_hook(spoil)
    return steps


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_gradient_that_overflows_once_is_skipped_and_counted(optimiser: str) -> None:
    job = trainer(tiny(epochs=3, optimiser=optimiser), 12)
    overflowing(job, {1, 5})
    states: list[list[torch.Tensor]] = []
    step = job._step

    def noted(epoch: int, where: Any) -> torch.Tensor:
        states.append([p.detach().clone() for p in job.network.parameters()])
        return step(epoch, where)

    job._step = noted  # type: ignore[method-assign]
    network = job.run()
    assert [e["skipped_steps"] for e in job.epochs] == [1, 1, 0]
    assert all(np.isfinite(e["gradient_norm"]) for e in job.epochs)
    moved = [
        not all(torch.equal(a, b) for a, b in zip(*pair, strict=True))
        for pair in itertools.pairwise(states)
    ]
    assert moved == [i not in {1, 5} for i in range(8)]
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())


def test_gradients_that_keep_overflowing_end_the_training_across_a_kill(tmp_path: Path) -> None:
    job = trainer(tiny(epochs=9), 12)
    overflowing(job, set(range(2, 99)))
    stopped_after(2, job, tmp_path / "c.pt")
    again = trainer(tiny(epochs=9), 12)
    steps = overflowing(again, set(range(99)))
    with pytest.raises(L4SError, match=r"step after step.*\n.*epoch 3, step 2"):
        again.run(tmp_path / "c.pt")
    assert len(steps) + 4 == SKIPPED_IN_A_ROW


def test_the_loss_of_validation_tiles_is_that_of_the_network_as_it_is() -> None:
    tiles = load(synthetic())
    job = trainer(tiny(), 12, validation=tiles.at(range(12, 16)))
    job.run()
    found = [e["validation_loss"] for e in job.epochs]
    assert job.validation_loss() == found[-1] != found[0]
    assert job.validation is not None
    job.validation = replace(job.validation, mask=1 - job.validation.mask)  # type: ignore[operator]
    assert job.validation_loss() != found[-1]
    many = trainer(tiny(), validation=tiles.at(np.arange(100) % 16))
    assert many.validation is not None and len(many.validation) == VALIDATION_TILES


def test_a_step_that_cannot_be_captured_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(faster, "_captured", refuse)
    job = trainer(tiny())
    with caplog.at_level("WARNING", logger="l4s_ensemble"):
        found = faster.capture(lambda x: x, [torch.ones(2)], job.network, job.optimiser)
    assert found == "operation not permitted" and found in caplog.text
