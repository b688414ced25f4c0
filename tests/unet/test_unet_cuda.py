"""The U-Net on a GPU: the same batches, the same training, the same logits as on a CPU.

Skipped where torch finds no CUDA.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_unet_engine import stopped_after
from unet_world import config_of, context, cpu, prepare, synthetic, tiny
from unet_world import trainer as trainer_on

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.inputs.tileset import load
from l4s_ensemble.unet.predictor import Predictor
from l4s_ensemble.unet.stage import stage
from l4s_ensemble.unet.training.engine import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA here")


def gpu(precision: str = "float32") -> Hardware:
    hardware = choose("cuda", precision)
    # To compare with a CPU: TF32 has ten bits.
    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    return hardware


def trainer(hardware: Hardware, config: UNetConfig) -> Trainer:
    return trainer_on(config, 12, hardware, validation=load(synthetic(), [12, 13]))


def test_batches_are_those_of_a_cpu() -> None:
    here, there = (trainer(h, tiny()).make_batch(0, np.arange(12)) for h in (cpu(), gpu()))
    assert torch.equal(there[1].cpu(), here[1])
    torch.testing.assert_close(there[0].cpu(), here[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("optimiser", "rtol"), [("adamw", 1e-3), ("muon", 2e-2)])
def test_float32_trains_as_on_a_cpu_in_captured_steps(optimiser: str, rtol: float) -> None:
    """Muon evens its steps in bfloat16 on a GPU."""
    here, there = (trainer(h, tiny(optimiser=optimiser)) for h in (cpu(), gpu()))
    here.run(), there.run()
    assert there.captured is True, there.captured
    for key in ("loss", "gradient_norm", "validation_loss"):
        found, wanted = ([e[key] for e in t.epochs] for t in (there, here))
        np.testing.assert_allclose(found, wanted, rtol=rtol if key == "loss" else 5 * rtol)


@pytest.mark.parametrize("optimiser", ["adamw", "muon", "adam"])
def test_a_captured_step_without_a_finite_gradient_moves_nothing(optimiser: str) -> None:
    job = trainer(gpu(), tiny(epochs=1, optimiser=optimiser))
    job.run()
    assert job.captured is True and job._learn is not None
    x, target = job.make_batch(0, np.arange(4))
    before = {k: v.clone() for k, v in job.network.named_parameters()}
    moments = [v.clone() for state in job.optimiser.state.values() for v in state.values()]
    # A finite loss whose gradient overflows: a logit of 1e38 against its target.
    loss, norm = job._learn(x * 1e30, target).tolist()
    assert not np.isfinite(norm) or not np.isfinite(loss)
    for name, value in job.network.named_parameters():
        assert torch.equal(value, before[name]), name
    after = [v for state in job.optimiser.state.values() for v in state.values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, after, strict=True))


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_bfloat16_learns(optimiser: str) -> None:
    config = tiny(epochs=20, lr=1e-2, precision="bfloat16", optimiser=optimiser)
    job = trainer(gpu("bfloat16"), config)
    job.run()
    assert job.epochs[-1]["loss"] < 0.95 * job.epochs[0]["loss"]


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_kill_and_resume_go_on(optimiser: str, tmp_path: Path) -> None:
    config = tiny(epochs=3, optimiser=optimiser)
    whole = trainer(gpu(), config)
    whole.run()

    stopped_after(2, trainer(gpu(), config), tmp_path / "checkpoint.pt")
    again = trainer(gpu(), config)
    assert again.resume(tmp_path / "checkpoint.pt") and len(again.epochs) == 2
    again.run()
    # Sums on a GPU have no fixed order: equal within rounding, not bit for bit.
    assert again.epochs[-1]["loss"] == pytest.approx(whole.epochs[-1]["loss"], rel=1e-3)


@pytest.mark.slow
def test_compiled_training_is_the_training() -> None:
    plain, fast = (trainer(gpu(), tiny(epochs=4, compile=c)) for c in (False, True))
    plain.run(), fast.run()
    losses = ([e["loss"] for e in t.epochs] for t in (fast, plain))
    np.testing.assert_allclose(*losses, rtol=5e-3)


def test_logits_are_those_of_a_cpu() -> None:
    job, tiles = trainer(cpu(), tiny(epochs=1)), load(synthetic(), [0, 5, 15])
    network = job.run()
    here = Predictor([network], job.normalisation, cpu(), symmetries=True)(tiles)
    there = Predictor([network], job.normalisation, gpu(), symmetries=True)(tiles)
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("device", ["cuda", "cuda:0,cuda:0"])
def test_the_stage_fits_on_a_gpu(tmp_path: Path, device: str) -> None:
    config = config_of(epochs=1)
    run = prepare(tmp_path, config)
    summary = stage(replace(context(run, "unet", config), device=device))
    assert summary["device"].startswith("cuda")
    assert summary["captured"] is True and summary["skipped_steps"] == 0
