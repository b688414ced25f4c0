"""Networks and averaged weights."""

from __future__ import annotations

import json

import pytest
import torch

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.networks.network import LANDSLIDE_PRIOR, arguments_of, build
from l4s_ensemble.unet.training.average import Average, recalibrate


@pytest.mark.parametrize(("width", "depth"), [(5, 2), (7, 3), (9, 5)])
@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_one_logit_a_pixel(width: int, depth: int, size: tuple[int, int]) -> None:
    network = build("unet", 3, width=width, depth=depth).eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("name", ["unet", "smp:unet/tu-mobilenetv3_small_050"])
def test_seed_makes_the_weights_and_leaves_the_global_generator_alone(name: str) -> None:
    settings = {"width": 4, "depth": 2} if name == "unet" else {}
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build(name, 3, **settings, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_unknown_network_and_weights() -> None:
    with pytest.raises(ConfigError, match="baseline, unet, smp:"):
        build("vnet", 3)
    with pytest.raises(ConfigError, match="no pretrained weights"):
        build("unet", 3, width=4, depth=2, weights="imagenet")


def test_fresh_network_expects_the_share_of_landslides() -> None:
    network = build("unet", 3, width=8, depth=3).eval()
    with torch.inference_mode():
        z = network(torch.randn(1, 3, 32, 32))
    assert float(torch.sigmoid(z).mean()) == pytest.approx(LANDSLIDE_PRIOR, rel=0.2)


@pytest.mark.parametrize(
    "config", [UNetConfig(width=5, depth=2), UNetConfig(network="baseline", width=5)]
)
def test_saved_arguments_build_the_network_again(config: UNetConfig) -> None:
    arguments = json.loads(json.dumps(arguments_of(config, 3)))
    first, again = build(**arguments, seed=1), build(**arguments, seed=2)
    again.load_state_dict(first.state_dict())


def test_encoders_without_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ConfigError, match=r"pip install 'l4s_ensemble\[encoders\]'"):
        build("smp:unet/resnet18", 3)


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
