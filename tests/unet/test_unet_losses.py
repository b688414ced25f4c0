"""Losses against plain numpy, and the optimiser's schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from unet_world import tiny

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.training.losses import loss_by_name
from l4s_ensemble.unet.training.schedule import learning_rate, optimiser_of

Array = NDArray[np.float64]
SHAPE = (3, 1, 6, 5)


@pytest.fixture
def pixels(rng: np.random.Generator) -> tuple[Array, Array]:
    """Logit, target."""
    return rng.normal(0, 3, SHAPE), (rng.random(SHAPE) < 0.3).astype(float)


def tensors(*arrays: Array) -> list[torch.Tensor]:
    return [torch.tensor(a, dtype=torch.float32) for a in arrays]


def probability(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def plain_bce(z: Array, t: Array) -> float:
    p = probability(z)
    return float(-np.log(np.where(t > 0, p, 1 - p)).mean())


def plain_dice(z: Array, t: Array) -> float:
    p = probability(z)
    return float(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))


def plain_focal(z: Array, t: Array) -> float:
    """Lin et al. 2017, gamma 2: what segmentation-models-pytorch takes too."""
    p = probability(z)
    right = np.where(t > 0, p, 1 - p)
    return float((-((1 - right) ** 2) * np.log(right)).mean())


ORACLES: dict[str, Callable[[Array, Array], float]] = {
    "bce": plain_bce, "dice": plain_dice, "smp:FocalLoss": plain_focal,
}  # fmt: skip
NAMES = [*ORACLES, "smp:LovaszLoss", "smp:TverskyLoss"]


@pytest.mark.parametrize("name", ORACLES)
def test_against_numpy(name: str, pixels: tuple[Array, Array]) -> None:
    found = float(loss_by_name(name)(*tensors(*pixels)))
    assert found == pytest.approx(ORACLES[name](*pixels), rel=2e-5)


def test_sums_and_factors(pixels: tuple[Array, Array]) -> None:
    spec = " bce + 0.5*dice+2 * smp:FocalLoss"
    found = float(loss_by_name(spec)(*tensors(*pixels)))
    wanted = plain_bce(*pixels) + 0.5 * plain_dice(*pixels) + 2 * plain_focal(*pixels)
    assert found == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_defined_where_nothing_is_a_landslide_and_point_downhill(name: str) -> None:
    z = torch.tensor([50.0, -50.0, 50.0, -50.0]).reshape(1, 1, 2, 2).requires_grad_()
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    loss_by_name(name)(z, target).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None and (z.grad * (1 - 2 * target) >= 0).all()
    none = torch.zeros(SHAPE, requires_grad=True)
    loss = loss_by_name(name)(none, torch.zeros(SHAPE))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss) and none.grad is not None and torch.isfinite(none.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_float32_inside_autocast(name: str, pixels: tuple[Array, Array]) -> None:
    z, t = tensors(*pixels)
    loss, rough = loss_by_name(name), z.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(rough, t)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(rough.float(), t))


@pytest.mark.parametrize(
    "spec", ["", "hinge", "bce+", "x*bce", "-1*bce", "nan*dice", "0*bce", "bce dice", "bce*2"]
)
def test_what_is_no_loss_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="bce, dice") as error:
        loss_by_name(spec)
    assert error.value.found == spec


def test_losses_of_the_library_by_name_and_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="smp:LovaszLoss"):
        loss_by_name("bce+smp:HingeLoss")
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(ConfigError, match=r"pip install 'l4s_ensemble\[encoders\]'") as error:
        loss_by_name("smp:LovaszLoss")
    assert error.value.where == "unet.loss"


def test_learning_rate_rises_and_falls() -> None:
    lr = np.array([learning_rate(s, 100, 2.0) for s in range(100)])
    assert lr.argmax() == 30
    assert lr.max() == pytest.approx(2.0)
    assert lr[0] == pytest.approx(0.08)
    assert lr[-1] == pytest.approx(0.002)
    assert (np.diff(lr[:31]) > 0).all()
    assert (np.diff(lr[30:]) < 0).all()
    assert np.isfinite(learning_rate(0, 1, 1.0))
    assert {learning_rate(s, 100, 2.0, "constant") for s in range(100)} == {2.0}


def test_adam_is_torchs_with_decay_of_every_value() -> None:
    config = tiny(optimiser="adam", lr=1e-2, weight_decay=0.1)
    ours, theirs = (build(tiny(), "ab", seed=1) for _ in range(2))
    peer = torch.optim.Adam(theirs.parameters(), lr=1e-2, weight_decay=0.1)
    mine = optimiser_of(ours, config)
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for network, optimiser in ((ours, mine), (theirs, peer)):
        for _ in range(3):
            optimiser.zero_grad()
            network(x).square().mean().backward()
            optimiser.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_adamw_decays_neither_norms_nor_biases() -> None:
    network = build(tiny(), "ab", seed=1)
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1.0)
    optimiser = optimiser_of(network, tiny(lr=0.1, weight_decay=0.5))
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            torch.testing.assert_close(module.weight, torch.full_like(module.weight, 0.95))
            assert module.bias is None or (module.bias == 1).all()
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 1).all()
