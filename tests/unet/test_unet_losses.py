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
from l4s_ensemble.unet.training.losses import LOSSES, loss_by_name
from l4s_ensemble.unet.training.schedule import learning_rate, optimiser_of

Array = NDArray[np.float64]
SHAPE = (3, 1, 6, 5)


@pytest.fixture
def pixels(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Logit, target, weight; a fifth of the pixels do not count."""
    logit = rng.normal(0, 3, SHAPE)
    target = (rng.random(SHAPE) < 0.3).astype(float)
    return logit, target, (rng.random(SHAPE) < 0.8).astype(float)


def tensors(*arrays: Array) -> list[torch.Tensor]:
    return [torch.tensor(a, dtype=torch.float32) for a in arrays]


def probability(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def entropy(z: Array, t: Array) -> Array:
    p = probability(z)
    return np.asarray(-t * np.log(p) - (1 - t) * np.log(1 - p))


def plain_bce(z: Array, t: Array, w: Array, smooth: float = 0.0) -> float:
    return float((w * entropy(z, np.where(t > 0, 1 - smooth, smooth))).sum() / w.sum())


def plain_dice(z: Array, t: Array, w: Array) -> float:
    p = probability(z)
    return float(1 - (2 * (w * p * t).sum() + 1) / ((w * p).sum() + (w * t).sum() + 1))


def plain_tversky(z: Array, t: Array, w: Array) -> float:
    p = probability(z)
    hit, false, missed = ((w * a).sum() for a in (p * t, p * (1 - t), (1 - p) * t))
    return float(1 - (hit + 1) / (hit + 0.3 * false + 0.7 * missed + 1))


def plain_focal(z: Array, t: Array, w: Array) -> float:
    p = probability(z)
    right = np.where(t > 0, p, 1 - p)
    return float((w * -((1 - right) ** 2) * np.log(right)).sum() / w.sum())


def plain_lovasz(z: Array, t: Array, w: Array) -> float:
    """Errors from the largest on, each times the rise of 1 - IoU when its pixel turns wrong."""
    keep = w.ravel() > 0
    z, t = z.ravel()[keep], t.ravel()[keep]
    error = 1 - z * np.where(t > 0, 1, -1)
    total, before, wrong = 0.0, 0.0, np.zeros(len(z), bool)
    for i in np.argsort(-error):
        wrong[i] = True
        hit = int(((t > 0) & ~wrong).sum())
        union = int((t > 0).sum() + ((t == 0) & wrong).sum())
        total += max(error[i], 0.0) * (1 - hit / union - before)
        before = 1 - hit / union
    return total


ORACLES: dict[str, Callable[[Array, Array, Array], float]] = {
    "bce": plain_bce,
    "ce": plain_bce,
    "dice": plain_dice,
    "tversky": plain_tversky,
    "focal": plain_focal,
    "lovasz": plain_lovasz,
}


def test_every_loss_has_an_oracle() -> None:
    assert set(ORACLES) == set(LOSSES)


@pytest.mark.parametrize("name", ORACLES)
def test_against_numpy(name: str, pixels: tuple[Array, Array, Array]) -> None:
    found = float(loss_by_name(name)(*tensors(*pixels)))
    assert found == pytest.approx(ORACLES[name](*pixels), rel=2e-5)


def test_sums_and_factors(pixels: tuple[Array, Array, Array]) -> None:
    found = float(loss_by_name(" bce + 0.5*dice+2 * lovasz")(*tensors(*pixels)))
    wanted = plain_bce(*pixels) + 0.5 * plain_dice(*pixels) + 2 * plain_lovasz(*pixels)
    assert found == pytest.approx(wanted, rel=2e-5)


def test_smoothing_moves_the_targets_of_the_cross_entropy_alone(
    pixels: tuple[Array, Array, Array],
) -> None:
    found = float(loss_by_name("bce+dice", label_smoothing=0.1)(*tensors(*pixels)))
    wanted = plain_bce(*pixels, smooth=0.1) + plain_dice(*pixels)
    assert found == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("name", ORACLES)
def test_gradients_are_finite_and_point_downhill_at_large_logits(name: str) -> None:
    z = torch.tensor([50.0, -50.0, 50.0, -50.0]).reshape(1, 1, 2, 2).requires_grad_()
    t = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    loss = loss_by_name(name)(z, t, torch.ones_like(t))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert z.grad is not None and torch.isfinite(z.grad).all()
    assert (z.grad * (1 - 2 * t) >= 0).all()


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("wild", [40.0, float("nan"), float("inf")])
def test_pixels_of_weight_0_have_no_influence(
    name: str, wild: float, pixels: tuple[Array, Array, Array]
) -> None:
    found = []
    for value in (0.0, wild):
        z, t, w = tensors(*pixels)
        z, t = torch.where(w > 0, z, value).requires_grad_(), torch.where(w > 0, t, value > 1)
        loss = loss_by_name(name)(z, t, w)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((loss.detach(), z.grad))
        assert z.grad is not None and not z.grad[w == 0].any()
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ORACLES)
def test_float32_inside_autocast(name: str, pixels: tuple[Array, Array, Array]) -> None:
    z, t, w = tensors(*pixels)
    loss = loss_by_name(name)
    rough = z.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(rough, t, w)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(rough.float(), t, w))


@pytest.mark.parametrize("name", ORACLES)
def test_a_batch_without_landslide_or_without_pixels_is_defined(name: str) -> None:
    z = torch.zeros(SHAPE, requires_grad=True)
    for weight in (torch.ones(SHAPE), torch.zeros(SHAPE)):
        loss = loss_by_name(name)(z, torch.zeros(SHAPE), weight)
        loss.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(loss)
        assert z.grad is not None and torch.isfinite(z.grad).all()


@pytest.mark.parametrize(
    "spec", ["", "hinge", "bce+", "x*bce", "-1*bce", "nan*dice", "0*bce", "bce dice", "bce*2"]
)
def test_what_is_no_loss_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"tversky") as error:
        loss_by_name(spec)
    assert error.value.found == spec


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
    ours, theirs = (build("unet", 2, width=4, depth=2, seed=1) for _ in range(2))
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
    network = build("unet", 2, width=4, depth=2, seed=1)
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
