"""Muon against a singular value decomposition, torch's own, and AdamW for what is no kernel."""

import numpy as np
import pytest
import torch
from torch import nn
from unet_world import tiny

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.training.muon import RMS, Muon, evened, is_kernel


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("rows", "columns"), [(8, 40), (40, 8), (16, 16), (4, 4)])
def test_singular_values_come_near_one_and_their_vectors_stay(rows: int, columns: int) -> None:
    matrices = draw(3, rows, columns) * torch.tensor([1e-6, 1.0, 1e4])[:, None, None]
    even = evened(matrices)
    assert even.shape == matrices.shape and even.dtype == matrices.dtype
    u, s, vt = np.linalg.svd(matrices.double().numpy(), full_matrices=False)
    inside = u.swapaxes(1, 2) @ even.double().numpy() @ vt.swapaxes(1, 2)
    values = np.diagonal(inside, axis1=1, axis2=2)
    off = inside - values[..., None] * np.eye(min(rows, columns))
    large = s > 0.05 * s[:, :1]
    assert (values[large] > 0.6).all() and (values[large] < 1.3).all()
    assert np.abs(off).max() < 1e-3


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not evened(torch.zeros(1, 4, 9)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has had Muon since 2.9")
def test_steps_are_torchs() -> None:
    """Which rounds to bfloat16 on the way, so that they agree to about a hundredth."""
    first = draw(8, 3, 3, 3)
    ours = nn.Parameter(first.clone())
    theirs = nn.Parameter(first.clone().reshape(8, 27))
    mine = Muon([ours], lr=0.01, weight_decay=0.1)
    peer = torch.optim.Muon(
        [theirs],
        lr=0.01 * RMS / 0.2,
        weight_decay=0.1 * 0.2 / RMS,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",
    )
    for i in range(4):
        gradient = draw(8, 3, 3, 3 + i)[..., :3]
        ours.grad, theirs.grad = gradient.clone(), gradient.reshape(8, 27).clone()
        mine.step()
        peer.step()
    moved = theirs.detach() - first.reshape(8, 27)
    gap = ours.detach().reshape(8, 27) - theirs.detach()
    assert float(gap.norm() / moved.norm()) < 0.02


def test_a_step_has_the_size_that_the_rate_says() -> None:
    for shape in ((16, 8, 3, 3), (64, 4, 1, 1)):
        p = nn.Parameter(torch.zeros(shape))
        p.grad = draw(*shape)
        Muon([p], lr=0.5).step()
        size = float(p.detach().square().mean().sqrt())
        assert size == pytest.approx(0.5 * RMS, rel=0.25)


def test_kernels_of_one_shape_do_not_mix() -> None:
    together = [nn.Parameter(draw(8, 2 + i, 3, 3)[:, :2].clone()) for i in range(3)]
    alone = [nn.Parameter(p.detach().clone()) for p in together]
    optimisers = [Muon(together, lr=0.1), *(Muon([p], lr=0.1) for p in alone)]
    for p, q in zip(together, alone, strict=True):
        p.grad = p.detach().roll(1, 0)
        q.grad = p.grad.clone()
    for optimiser in optimisers:
        optimiser.step()
    for p, q in zip(together, alone, strict=True):
        torch.testing.assert_close(p, q)


def test_the_layout_in_memory_changes_nothing() -> None:
    plain = nn.Parameter(draw(8, 4, 3, 3))
    last = nn.Parameter(plain.detach().clone().contiguous(memory_format=torch.channels_last))
    for p in (plain, last):
        optimiser = Muon([p], lr=0.1, weight_decay=0.1)
        for i in range(2):
            p.grad = draw(8, 4, 3, 3 + i)[..., :3].contiguous()
            optimiser.step()
    torch.testing.assert_close(plain, last)


def test_what_is_no_kernel_goes_as_with_adamw() -> None:
    ours, theirs = (build(tiny(), "ab", seed=1) for _ in range(2))
    mine = Muon(ours.parameters(), lr=1e-2, weight_decay=0.1)
    rest = [p for p in theirs.parameters() if not is_kernel(p)]
    peer = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=1e-2,
    )
    for i in range(3):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = draw(p.numel() + i)[: p.numel()].reshape(p.shape)
            q.grad = p.grad.clone()
        mine.step()
        peer.step()
    moved = 0
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        if is_kernel(p):
            moved += 1
            assert not torch.equal(p, q)
        else:
            torch.testing.assert_close(p, q)
    assert moved


def test_last_layers_and_depthwise_kernels_are_no_matrices_of_features() -> None:
    network = build(tiny(network="baseline"), L4S.band_names)
    names = {n for n, p in network.named_parameters() if is_kernel(p)}
    assert "outc.conv.weight" not in names and "inc.double_conv.0.weight" in names
    assert is_kernel(nn.Conv2d(8, 8, 3).weight)
    assert not is_kernel(nn.Conv2d(8, 8, 3, groups=8).weight)
    assert not is_kernel(nn.Linear(8, 8).weight)
