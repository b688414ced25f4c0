"""Draws of the augmentation, and the symmetries of the square."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.inputs import augment

SPECTRAL = np.array([True, True, True, False])


def drawn(
    ids: object, *, epoch: int = 0, key: tuple[int, int] = (0, 0), **settings: float
) -> tuple[np.ndarray, np.ndarray]:
    config = UNetConfig(**settings)  # type: ignore[arg-type]
    return augment.draw(key, epoch, np.array(ids), SPECTRAL, config)


def test_draws_depend_on_their_key_alone() -> None:
    a, b = drawn([3, 9, 12]), drawn([12, 3])
    for all_three, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(all_three[[2, 0]], two)
    others = [
        drawn([3, 9, 12], **more) for more in ({"epoch": 1}, {"key": (1, 0)}, {"key": (0, 1)})
    ]
    for i, one in enumerate((a, *others)):
        assert not any(np.array_equal(one[1], more[1]) for more in others[i:])


def test_draws_have_the_sizes_that_are_set() -> None:
    symmetry, gain = drawn(range(800), symmetries=True, jitter_gain=0.3, jitter_band=0.2)
    assert (gain[:, 3] == 1).all()  # no reflectance
    assert np.bincount(symmetry, minlength=8).min() > 60
    assert np.log(gain[:, 0]).std() == pytest.approx(np.hypot(0.3, 0.2), rel=0.1)
    assert np.log(gain[:, 0] / gain[:, 1]).std() == pytest.approx(0.2 * 2**0.5, rel=0.1)
    assert not drawn(range(50))[0].any()


def test_symmetries_are_a_group_of_eight_and_can_be_undone() -> None:
    x = torch.arange(9.0).reshape(1, 3, 3)
    every = [augment.apply_symmetry(x, k) for k in range(8)]
    seen = {tuple(t.flatten().tolist()) for t in every}
    assert len(seen) == 8
    for k, turned in enumerate(every):
        assert torch.equal(augment.undo_symmetry(turned, k), x)
        for again in range(8):
            assert tuple(augment.apply_symmetry(turned, again).flatten().tolist()) in seen


def test_mask_turns_with_the_image_and_in_both_ways(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.integers(0, 999, (16, 3, 8, 8)).astype(np.int16))
    mask = (image[:, 0] > 500).to(torch.uint8)
    numbers = rng.integers(0, 8, 16)
    turned = augment.apply_symmetries(image, numbers)
    for i, k in enumerate(numbers):
        assert torch.equal(turned[i], augment.apply_symmetry(image[i], int(k)))
    # A GPU looks pixels up, a CPU copies: here both are tried.
    assert torch.equal(augment.gathered(image, numbers), turned)
    wanted = (turned[:, 0] > 500).to(torch.uint8)
    assert torch.equal(augment.gathered(mask, numbers), wanted)
    assert torch.equal(augment.apply_symmetries(mask, numbers), wanted)
