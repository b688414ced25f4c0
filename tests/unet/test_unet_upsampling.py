"""Upsampling in its two forms, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from l4s_ensemble.unet.networks.upsampling import shifted_sums, twice

SIZES = [(1, 1), (1, 5), (8, 8), (7, 16)]


def reference(x: torch.Tensor, align_corners: bool) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_shifted_sums_are_bilinear(size: tuple[int, int], align_corners: bool) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.manual_seed(1))
    mine, theirs = (x.clone().requires_grad_() for _ in range(2))
    found, expected = (
        shifted_sums(mine, align_corners=align_corners),
        reference(theirs, align_corners),
    )
    torch.testing.assert_close(found, expected)
    pull = torch.randn_like(expected)
    (found * pull).sum().backward()
    (expected * pull).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("align_corners", [False, True])
def test_called_one_by_one_it_is_torchs_own(align_corners: bool) -> None:
    x = torch.randn(2, 3, 6, 4, generator=torch.manual_seed(2))
    assert torch.equal(
        twice(x, align_corners=align_corners), reference(x, align_corners=align_corners)
    )
    assert twice(x.bfloat16(), align_corners=align_corners).dtype == torch.bfloat16
