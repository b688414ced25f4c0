"""Networks and averaged weights."""

from __future__ import annotations

import copy

import pytest
import torch
from unet_world import tiny

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.networks.network import LANDSLIDE_PRIOR, build
from l4s_ensemble.unet.training.average import follow, recalibrate


@pytest.mark.parametrize(("width", "depth"), [(5, 2), (7, 3), (9, 5)])
@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_one_logit_a_pixel(width: int, depth: int, size: tuple[int, int]) -> None:
    network = build(UNetConfig(width=width, depth=depth), "abc").eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("name", ["unet", "smp:unet/tu-mobilenetv3_small_050"])
def test_seed_makes_the_weights_and_leaves_the_global_generator_alone(name: str) -> None:
    config = tiny(network=name)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build(config, "abc", seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_unknown_network_and_weights() -> None:
    with pytest.raises(ConfigError, match="baseline, unet, smp:"):
        build(tiny(network="vnet"), "abc")
    with pytest.raises(ConfigError, match="no pretrained weights"):
        build(tiny(weights="imagenet"), "abc")


def test_fresh_network_expects_the_share_of_landslides() -> None:
    network = build(UNetConfig(width=8, depth=3), "abc").eval()
    with torch.inference_mode():
        z = network(torch.randn(1, 3, 32, 32))
    assert float(torch.sigmoid(z).mean()) == pytest.approx(LANDSLIDE_PRIOR, rel=0.2)


def test_average_follows_the_recursion() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average, wanted = copy.deepcopy(network).requires_grad_(False), 0.0
    for step in range(1, 8):
        torch.nn.init.constant_(network.weight, float(step))
        follow(average, network, 0.5, step)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
    assert float(average.weight) == pytest.approx(wanted, rel=1e-6)


def test_recalibration_is_the_plain_mean_of_the_batches() -> None:
    norm = torch.nn.BatchNorm2d(2)
    norm.running_mean.fill_(99)  # type: ignore[union-attr]
    batches = [torch.randn(4, 2, 8, 8) + i for i in range(3)]
    assert recalibrate(norm, batches)
    wanted = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    assert torch.allclose(norm.running_mean, wanted, atol=1e-6)  # type: ignore[arg-type]
    assert not norm.training
    assert norm.momentum == 0.1
    assert not recalibrate(torch.nn.Conv2d(2, 2, 1), batches)
