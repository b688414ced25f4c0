"""What the settings of a training change: length, checkpoint, levels, compiling, neighbours."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from unet_world import cpu, made_up, tiny

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.inputs.normalisation import load
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.training import engine
from l4s_ensemble.unet.training.engine import PARTS, FoldTrainer
from l4s_ensemble.unet.training.losses import loss_by_name
from l4s_ensemble.unet.training.schedule import optimiser_of, restore, set_rate
from l4s_ensemble.unet.training.watch import Inner, Watched, watch


class Killed(Exception):
    """Stands for a kill of the process."""


def trainer(config: UNetConfig, count: int = 12, **more: Any) -> FoldTrainer:
    return FoldTrainer(
        load(made_up()), np.arange(count), config, seed=3, fold=0, hardware=cpu(), **more
    )


def inner() -> Inner:
    return Inner(np.array([13, 14, 15]))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def scripted(monkeypatch: pytest.MonkeyPatch, *f1: float) -> None:
    """Let the inner block say what the test wants."""
    told = iter(f1)
    monkeypatch.setattr(engine, "watch", lambda *_: Watched(next(told), 0.4, 1.0))


@pytest.mark.parametrize(("steps", "wanted"), [(7, [3, 3, 1]), (6, [3, 3]), (2, [2])])
def test_steps_override_epochs_and_cut_the_last(steps: int, wanted: list[int]) -> None:
    job = trainer(tiny(epochs=9, steps=steps))
    made = []
    whole = job.batches.make
    job.batches.make = lambda epoch, where: made.append(epoch) or whole(epoch, where)  # type: ignore
    job.run()
    assert [e["steps"] for e in job.epochs] == wanted
    assert [sum(m == e for m in made) for e in range(len(wanted))] == wanted
    assert job.epochs_planned == len(wanted)
    end = job.config.lr * 0.001
    assert job.epochs[-1]["lr"] == pytest.approx(end if steps > 2 else job.epochs[-1]["lr"])


def test_constant_schedule() -> None:
    job = trainer(tiny(schedule="constant", optimiser="adam", lr=1e-3))
    job.run()
    assert {e["lr"] for e in job.epochs} == {1e-3}


def test_seconds_of_an_epoch_add_up() -> None:
    job = trainer(tiny(checkpoint="inner"), inner=inner())
    job.run()
    for epoch in job.epochs:
        parts = [epoch[f"seconds_{name}"] for name in (*PARTS, "watch")]
        assert all(p > 0 for p in parts)
        assert sum(parts) <= epoch["seconds"]


def test_networks_of_a_fold_differ_and_the_first_is_the_only_one_there_was() -> None:
    jobs = [trainer(tiny(epochs=1), number=n) for n in range(3)]
    for a, b in itertools.combinations(jobs, 2):
        assert not same(a.network, b.network)
        assert not np.array_equal(a.batches.order(0), b.batches.order(0))
    assert jobs[0].key == (3, 0)
    assert same(jobs[0].network, build(**jobs[0].arguments, seed=3 * 1009))


def test_best_state_on_the_inner_block_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, 0.1, 0.6, 0.3, 0.6)
    states = []
    job = trainer(tiny(epochs=4, norm="group", checkpoint="inner"), inner=inner())
    model = job.run(lambda at: states.append(at.average.network.head.weight.clone()))  # type: ignore
    assert job.best_epoch == 1
    kept = model.network.state_dict()["head.weight"]
    assert torch.equal(kept, states[1])
    assert not torch.equal(kept, states[3])
    assert [e["inner_f1"] for e in job.epochs] == [0.1, 0.6, 0.3, 0.6]


def test_last_state_is_kept_where_nothing_is_watched() -> None:
    watched = trainer(tiny(epochs=2, checkpoint="last"), inner=inner())
    assert same(watched.run().network, trainer(tiny(epochs=2)).run().network)
    assert [e["inner_f1"] for e in watched.epochs] == [None, None]
    assert watched.best_epoch is None


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_kill_and_resume_with_an_inner_block_give_the_same_bits(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    config = tiny(epochs=4, checkpoint="inner", ema=ema)
    scripted(monkeypatch, 0.1, 0.6, 0.3, 0.5)
    whole = trainer(config, inner=inner()).run()

    def kill(at: FoldTrainer) -> None:
        at.save(tmp_path / "c.pt")
        if len(at.epochs) == 3:  # the best state is an earlier one
            raise Killed

    scripted(monkeypatch, 0.1, 0.6, 0.3, 0.5)
    with pytest.raises(Killed):
        trainer(config, inner=inner()).run(kill)
    scripted(monkeypatch, 0.5)
    second = trainer(config, inner=inner())
    assert second.resume(tmp_path / "c.pt")
    assert same(second.run().network, whole.network)
    other = Inner(np.array([13, 14]))
    assert not trainer(config, inner=other).resume(tmp_path / "c.pt")
    assert not trainer(config, inner=inner(), number=1).resume(tmp_path / "c.pt")


def test_watched_score_is_that_of_the_tiles() -> None:
    job = trainer(tiny(width=8, epochs=6, lr=1e-2))
    model = job.run()
    found = watch(model, job.tiles, inner(), loss_by_name("bce"), cpu(), batch=2)
    from l4s_ensemble.unet.infer import Predictor

    logit = Predictor(model, cpu(), tta=False)(job.tiles, inner().positions)
    truth = made_up()["mask"].values[13:16] > 0
    proba = 1 / (1 + np.exp(-logit.astype(np.float64)))
    called = proba >= found.threshold
    assert found.f1 == pytest.approx(2 * (called & truth).sum() / (called.sum() + truth.sum()))
    others = [2 * ((proba >= t) & truth).sum() / ((proba >= t).sum() + truth.sum())
              for t in np.arange(0, 1, 0.01)]  # fmt: skip
    assert found.f1 >= max(others)
    assert found.loss == pytest.approx(
        -np.where(truth, np.log(proba), np.log(1 - proba)).mean(), rel=1e-4
    )
    # Other masks to score against: nothing is a landslide.
    none = Inner(inner().positions, torch.zeros_like(job.tiles.mask))  # type: ignore[arg-type]
    assert watch(model, job.tiles, none, loss_by_name("bce"), cpu(), batch=2).f1 == 0


def test_tiles_of_the_inner_block_are_not_learnt_from() -> None:
    tiles = load(made_up())
    flipped = tiles.mask.clone()  # type: ignore[union-attr]
    flipped[12:] = 1 - flipped[12:]
    truth = Inner(inner().positions, tiles.mask)
    config = tiny(epochs=2, checkpoint="inner")
    found = [
        FoldTrainer(t, np.arange(12), config, seed=3, fold=0, hardware=cpu(), inner=truth).run()
        for t in (tiles, replace(tiles, mask=flipped))
    ]
    assert same(found[0].network, found[1].network)


def test_masks_of_neighbours_that_are_not_trained_on_are_not_learnt_from() -> None:
    """Windows that reach over the edge show the neighbour; its mask stays unread."""
    around = torch.full((16, 3, 3), -1, dtype=torch.int64)
    for i, down, right in itertools.product(range(16), (-1, 0, 1), (-1, 0, 1)):
        row, col = i // 4 + down, i % 4 + right
        if 0 <= row < 4 and 0 <= col < 4:
            around[i, down + 1, right + 1] = row * 4 + col
    tiles = replace(load(made_up()), around=around)
    mask = tiles.mask.clone()  # type: ignore[union-attr]
    mask[8:] = 1 - mask[8:]
    counts = tiles.counts.clone()
    counts[8:] = 0

    def fit(changed: Any) -> torch.nn.Module:
        config = tiny(epochs=1, shift_px=12, drop_neighbours=0)
        job = FoldTrainer(changed, np.arange(8), config, seed=3, fold=0, hardware=cpu())
        return job.run().network

    plain = fit(tiles)
    assert same(plain, fit(replace(tiles, mask=mask)))
    assert not same(plain, fit(replace(tiles, counts=counts)))


def test_deep_supervision_weighs_each_coarser_level_half() -> None:
    config = tiny(depth=4, deep_supervision=0.5, steps=1, norm="group", loss="bce")
    job = trainer(config)
    assert job.deep == pytest.approx((1 / 1.75, 0.5 / 1.75, 0.25 / 1.75))
    batch = job.batches.make(0, job.batches.order(0)[:4])
    with torch.no_grad():
        logits = job.network(batch.x, deep=True)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    wanted = sum(w * float(bce(z, batch.target)) for w, z in zip(job.deep, logits, strict=True))
    job.run()
    assert job.epochs[0]["loss"] == pytest.approx(wanted, rel=1e-5)
    head = job.network.deep_heads[0].weight  # type: ignore[union-attr,index]
    assert head.grad is not None and head.grad.abs().sum() > 0


def test_a_network_without_levels_cannot_be_supervised_there() -> None:
    with pytest.raises(ConfigError, match="deep_supervision"):
        trainer(tiny(network="baseline", deep_supervision=0.5))


def test_compiled_training_is_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(epochs=1, ema=0.0)
    plain = trainer(config)
    calls = []

    def compile_(network: torch.nn.Module) -> Any:
        fast = torch.compiler.disable(network)
        return lambda *a, **k: calls.append(1) or fast(*a, **k)

    monkeypatch.setattr(torch, "compile", compile_)
    job = trainer(config.model_copy(update={"compile": True}))
    a, b = plain.run().network, job.run().network
    assert len(calls) == 1 + 3  # tried once, then three steps
    assert same(a, b)  # the trial left no trace, in names nor in statistics


def test_where_compiling_fails_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(network: torch.nn.Module) -> Any:
        def fast(*_: Any, **__: Any) -> Any:
            raise RuntimeError("no C++ compiler\nand a long story")

        return fast

    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level("WARNING", logger="l4s_ensemble"):
        model = trainer(tiny(epochs=1, compile=True)).run()
    assert "not compiled: no C++ compiler" in caplog.text
    assert same(model.network, trainer(tiny(epochs=1)).run().network)


def test_a_compiled_form_without_a_gradient_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its logits are right; a training with it would stop at its first step."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * float("nan")

    monkeypatch.setattr(torch, "compile", lambda network: lambda *a, **k: Wrong.apply(network(*a)))
    with caplog.at_level("WARNING", logger="l4s_ensemble"):
        model = trainer(tiny(epochs=1, compile=True)).run()
    assert "not compiled: its gradient would not be finite" in caplog.text
    assert same(model.network, trainer(tiny(epochs=1)).run().network)


def test_without_averaging_the_network_is_the_trained_one() -> None:
    job = trainer(tiny(epochs=2, ema=0.0))
    model = job.run()
    assert same(model.network, job.network)
    state = model.network.state_dict()
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
