"""The U-Net on a GPU: the same windows, the same training, the same logits as on a CPU.

Skipped where torch finds no CUDA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unet_world import SIZE, cpu, made_up, prepare, tiny
from unet_world import config_of as fold_config
from unet_world import context as stage_context

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.scenes.surroundings import measure_surroundings
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import load
from l4s_ensemble.unet.inputs.tileset import TileSet
from l4s_ensemble.unet.inputs.windows import cut
from l4s_ensemble.unet.training.engine import FoldTrainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA here")


def gpu(precision: str = "float32") -> Hardware:
    hardware = choose("cuda", precision)
    # To compare with a CPU: TF32 has ten bits.
    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    return hardware


def tiles(place: bool = True) -> TileSet:
    dataset = made_up()
    return load(dataset, surroundings=measure_surroundings(dataset) if place else None)


def trained(hardware: Hardware, config: UNetConfig, **more: Any) -> FoldTrainer:
    return FoldTrainer(
        tiles().to(hardware.device), np.arange(12), config, seed=3, fold=0, hardware=hardware,
        **more,
    )  # fmt: skip


@pytest.mark.parametrize("size", [SIZE, SIZE + 16])
def test_windows_are_the_bits_of_a_cpu(size: int, rng: np.random.Generator) -> None:
    here = tiles().prepared("keep")
    index = torch.from_numpy(rng.integers(0, len(here), 24))
    symmetry = torch.from_numpy(rng.integers(0, 8, 24))
    shift = torch.from_numpy(rng.integers(-8, 9, (24, 2)))
    expected = cut(here, index, size, offset_px=shift, symmetry=symmetry)
    there = here.to(torch.device("cuda"))
    found = cut(there, index.cuda(), size, offset_px=shift, symmetry=symmetry)
    assert torch.equal(found.units.cpu(), expected.units)
    assert torch.equal(found.known.cpu(), expected.known)
    assert found.mask is not None and expected.mask is not None
    at = expected.known > 0
    assert torch.equal(found.mask.cpu()[at], expected.mask[at])


@pytest.mark.parametrize(("optimiser", "rtol"), [("adamw", 1e-3), ("muon", 2e-2)])
def test_float32_trains_as_on_a_cpu(optimiser: str, rtol: float) -> None:
    """Muon evens its steps in bfloat16 on a GPU."""
    config = tiny(shift_px=8, epochs=2, optimiser=optimiser)
    here, there = trained(cpu(), config), trained(gpu(), config)
    here.run()
    there.run()
    losses = [[e["loss"] for e in t.epochs] for t in (here, there)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=rtol)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_bfloat16_learns(optimiser: str) -> None:
    config = tiny(epochs=20, lr=1e-2, precision="bfloat16", optimiser=optimiser)
    job = trained(gpu("bfloat16"), config)
    job.run()
    assert job.epochs[-1]["loss"] < 0.95 * job.epochs[0]["loss"]
    assert all(e["seconds_network"] > 0 for e in job.epochs)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_kill_and_resume_go_on(optimiser: str, tmp_path: Path) -> None:
    config = tiny(epochs=3, optimiser=optimiser)
    whole = trained(gpu(), config)
    whole.run()
    killed = trained(gpu(), config)

    def stop(at: FoldTrainer) -> None:
        at.save(tmp_path / "checkpoint.pt")
        if len(at.epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.run(stop)
    again = trained(gpu(), config)
    assert again.resume(tmp_path / "checkpoint.pt")
    again.run()
    # Sums on a GPU have no fixed order: equal within rounding, not bit for bit.
    assert again.epochs[-1]["loss"] == pytest.approx(whole.epochs[-1]["loss"], rel=1e-3)


@pytest.mark.slow
def test_compiled_training_is_the_training() -> None:
    plain, fast = (trained(gpu(), tiny(epochs=4, compile=c)) for c in (False, True))
    plain.run()
    fast.run()
    np.testing.assert_allclose(
        [e["loss"] for e in fast.epochs], [e["loss"] for e in plain.epochs], rtol=5e-3
    )


@pytest.mark.parametrize("halo", [0, 8])
def test_logits_are_those_of_a_cpu(halo: int) -> None:
    model = trained(cpu(), tiny(epochs=1)).run()
    here = Predictor(model, cpu(), tta=True, halo_px=halo)(tiles(), [0, 5, 15])
    hardware = gpu()
    there = Predictor(model, hardware, tta=True, halo_px=halo)
    np.testing.assert_allclose(there(tiles().to(hardware.device), [0, 5, 15]), here, atol=1e-3)


def test_the_stage_fits_on_a_gpu(tmp_path: Path) -> None:
    from dataclasses import replace

    from l4s_ensemble.unet import train

    config = fold_config(epochs=1)
    run = prepare(tmp_path, config)
    told = train.stage(replace(stage_context(run, "unet", config), device="cuda"))
    assert told["device"].startswith("cuda")
