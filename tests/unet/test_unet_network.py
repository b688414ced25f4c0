"""Networks, losses, hardware."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.average import Average, recalibrate
from l4s_ensemble.unet.hardware import choose
from l4s_ensemble.unet.losses import bce_dice, dice
from l4s_ensemble.unet.network import build, count_parameters


@pytest.mark.parametrize(("width", "depth"), [(5, 2), (7, 3), (9, 5)])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_one_logit_a_pixel(width: int, depth: int, norm: str, size: tuple[int, int]) -> None:
    network = build("unet", 3, width=width, depth=depth, norm=norm).eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 3, *size)).shape == (2, 1, *size)


def test_seed_makes_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build("unet", 3, width=4, depth=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_width_and_depth_make_it_larger() -> None:
    shapes = [(4, 2), (8, 2), (8, 3)]
    sizes = [count_parameters(build("unet", 3, width=w, depth=d)) for w, d in shapes]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_unknown_network_and_setting() -> None:
    with pytest.raises(ConfigError, match="no network of that name"):
        build("vnet", 3)
    with pytest.raises(ConfigError, match="does not take"):
        build("unet", 3, wide=4)


def test_loss_equals_numpy(rng: np.random.Generator) -> None:
    z = rng.normal(0, 3, (3, 1, 5, 7))
    t = (rng.random(z.shape) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-z))
    s = t * 0.8 + 0.1
    entropy = -(s * np.log(p) + (1 - s) * np.log(1 - p)).mean()
    overlap = (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    wanted = entropy + 0.7 * (1 - overlap)
    found = bce_dice(torch.tensor(z), torch.tensor(t), dice_weight=0.7, label_smoothing=0.1)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_loss_is_float32_inside_autocast() -> None:
    z = torch.randn(1, 1, 64, 64).bfloat16()
    t = (torch.rand(1, 1, 64, 64) < 0.1).to(torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        found = bce_dice(z, t)
    assert found.dtype == torch.float32
    assert torch.equal(found, bce_dice(z.float(), t.float()))


def test_limits_of_dice() -> None:
    t = torch.zeros(2, 1, 16, 16)
    t[0, :, :8] = 1
    sure = 60 * (2 * t - 1)
    assert float(dice(sure, t)) == pytest.approx(0, abs=1e-5)
    assert float(dice(-sure, t)) == pytest.approx(1, abs=0.01)
    nothing = torch.zeros_like(t)
    assert float(dice(torch.full_like(t, -60), nothing)) == pytest.approx(0, abs=1e-5)


def test_dice_is_pooled_over_the_batch() -> None:
    """A tile without landslide, predicted right, changes nothing."""
    t = torch.zeros(1, 1, 16, 16)
    t[..., :4, :4] = 1
    z = torch.full_like(t, -60)
    z[..., :4, :2] = 60
    alone = float(dice(z, t))
    both = float(dice(torch.cat([z, torch.full_like(z, -60)]), torch.cat([t, torch.zeros_like(t)])))
    assert both == pytest.approx(alone, abs=1e-6)


def test_cuda_without_cuda_says_what_to_do() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match="--device auto"):
        choose("cuda")
    assert choose("auto").device.type == "cpu"


def test_unknown_device() -> None:
    with pytest.raises(ConfigError, match="no such device"):
        choose("tpu")


def test_precision_can_be_forced() -> None:
    assert choose("cpu", "bfloat16").precision == "bfloat16"
    assert choose("cpu", "float32").precision == "float32"


def test_average_of_a_resting_network_is_the_network() -> None:
    network = build("unet", 3, width=4, depth=2)
    average = Average(network, 0.9)
    for step in range(1, 5):
        average.update(network, step)
    pairs = zip(average.network.parameters(), network.parameters(), strict=True)
    assert all(torch.allclose(p, q) for p, q in pairs)


def test_average_follows_the_recursion() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average, wanted = Average(network, 0.5), 0.0
    for step in range(1, 8):
        torch.nn.init.constant_(network.weight, float(step))
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
    assert float(average.network.weight.detach()) == pytest.approx(wanted, rel=1e-6)


def test_recalibration_is_the_plain_mean_of_the_batches() -> None:
    norm = torch.nn.BatchNorm2d(2)
    norm.running_mean.fill_(99)  # type: ignore[union-attr]
    batches = [torch.randn(4, 2, 8, 8) + i for i in range(3)]
    recalibrate(norm, batches)
    wanted = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    assert torch.allclose(norm.running_mean, wanted, atol=1e-6)  # type: ignore[arg-type]
    assert not norm.training
    assert norm.momentum == 0.1
