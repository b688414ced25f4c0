"""Draws of the augmentation, and the symmetries of the square."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.unet.inputs import augment, sampling

LIGHT = np.array([True, True, True, False])


def samples(
    ids: Sequence[int], *, repeat: int = 0, scene: Sequence[int] | int = -1, near: bool = True
) -> augment.Samples:
    n = len(ids)
    return augment.Samples(
        np.array(ids), np.full(n, repeat), np.full(n, scene), np.full((n, 3, 3), near), LIGHT, 5
    )


def drawn(
    ids: Sequence[int],
    *,
    epoch: int = 0,
    key: tuple[int, int] = (0, 0),
    repeat: int = 0,
    scene: Sequence[int] | int = -1,
    near: bool = True,
    **settings: float,
) -> augment.Draw:
    of = samples(ids, repeat=repeat, scene=scene, near=near)
    return augment.draw(key, epoch, of, UNetConfig(**settings))  # type: ignore[arg-type]


ALL = {"shift_px": 9, "band_dropout": 0.4, "cut_mix": 0.5, "jitter_scene": 0.2}


def test_draws_depend_on_their_key_alone() -> None:
    a, b = drawn([3, 9, 12], **ALL), drawn([12, 3], **ALL)
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name)[[2, 0]], getattr(b, name))
    others = (
        drawn([3, 9, 12], epoch=1, **ALL),
        drawn([3, 9, 12], key=(1, 0), **ALL),
        drawn([3, 9, 12], key=(0, 1), **ALL),
        drawn([3, 9, 12], repeat=1, **ALL),
    )
    for i, other in enumerate((a, *others)):
        for more in others[i:]:
            assert not np.array_equal(other.gain, more.gain)
            assert not np.array_equal(other.rectangle, more.rectangle)


def test_draws_have_the_sizes_that_are_set() -> None:
    many = drawn(list(range(800)), drop_neighbours=0.3, **{**ALL, "jitter_scene": 0.0})
    assert (many.gain[:, 3] == 1).all()
    assert np.bincount(many.symmetry, minlength=8).min() > 60
    assert np.log(many.gain[:, 0]).std() == pytest.approx(np.hypot(0.1, 0.03), rel=0.1)
    assert many.alone.mean() == pytest.approx(0.3, abs=0.05)
    assert many.mixed.mean() == pytest.approx(0.5, abs=0.05)
    assert many.shown.mean() == pytest.approx(0.6, abs=0.03)
    assert (many.offset_px[many.alone] == 0).all()
    free = many.offset_px[~many.alone]
    assert set(np.unique(free)) == set(range(-9, 10))
    assert free.mean() == pytest.approx(0, abs=0.5)


def test_without_settings_only_symmetry_and_light_change() -> None:
    plain = drawn(list(range(50)))
    assert not plain.offset_px.any()
    assert not plain.mixed.any()
    assert plain.shown.all()


def test_one_setting_does_not_change_what_another_draws() -> None:
    a, b = drawn([1, 2, 3], cut_mix=0.5), drawn([1, 2, 3], shift_px=30, cut_mix=0.5)
    for name in ("symmetry", "gain", "alone", "mixed", "partner", "rectangle"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert b.offset_px.any()


def test_a_scene_has_one_light() -> None:
    only = {"jitter_gain": 0.0, "jitter_band": 0.0, "jitter_scene": 0.3}
    gain = drawn([1, 2, 3, 4, 5], scene=[1, 2, 1, -1, -1], **only).gain
    np.testing.assert_array_equal(gain[0], gain[2])
    for other in (1, 3, 4):
        assert not np.isclose(gain[0, :3], gain[other, :3]).any()
    assert not np.isclose(gain[3, :3], gain[4, :3]).any()  # unknown: each by itself
    assert (gain[:, 3] == 1).all()
    later = drawn([1], scene=[1], epoch=1, **only).gain
    assert not np.isclose(gain[0, :3], later[0, :3]).any()
    many = np.log(drawn(list(range(500)), scene=list(range(500)), **only).gain[:, :3])
    assert many.std() == pytest.approx(0.3, rel=0.1)


def test_some_channel_is_always_shown() -> None:
    few = drawn(list(range(300)), band_dropout=0.95).shown
    assert few.any(axis=1).all()
    assert few.sum(axis=1).mean() < 1.5


def test_windows_move_only_to_where_a_neighbour_is() -> None:
    of = samples(range(200), near=False)
    of.near[:100, 2, 1] = True  # below
    of.near[100:, 1, :] = True  # left and right
    offset = augment.draw((0, 0), 0, of, UNetConfig(shift_px=20, drop_neighbours=0)).offset_px
    assert (offset[:100, 1] == 0).all()
    assert offset[:100, 0].min() >= 0
    assert offset[:100, 0].max() == 20
    assert (offset[100:, 0] == 0).all()
    assert offset[100:, 1].min() < -10 < 10 < offset[100:, 1].max()
    assert not drawn(range(50), near=False, shift_px=20).offset_px.any()
    assert not drawn(range(50), neighbours=False, shift_px=20).offset_px.any()


def test_pasted_squares_lie_inside_and_have_their_area() -> None:
    share = np.random.default_rng(0).random((400, 3))
    spans = [augment.rectangle(s, 32) for s in share]
    for rows, columns in spans:
        assert 0 <= rows.start <= rows.stop <= 32
        assert 0 <= columns.start <= columns.stop <= 32
    area = [(r.stop - r.start) * (c.stop - c.start) / 1024 for r, c in spans]
    np.testing.assert_allclose(area, share[:, 0], atol=0.035)


def test_order_is_a_keyed_permutation() -> None:
    a, b = sampling.order((0, 1), 0, 50), sampling.order((0, 1), 1, 50)
    assert sorted(a) == list(range(50))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, sampling.order((0, 1), 0, 50))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_epoch_has_its_share_of_landslides(share: float) -> None:
    landslide = np.arange(60) % 3 == 0
    chosen = sampling.balanced((0, 1), 0, landslide, share)
    assert len(chosen) == 60
    assert landslide[chosen].sum() == round(60 * share)
    for kind in (landslide, ~landslide):
        shown = np.bincount(chosen, minlength=60)[kind]
        assert shown.max() - shown.min() <= 1
    assert not np.array_equal(chosen, sampling.balanced((0, 1), 1, landslide, share))
    np.testing.assert_array_equal(chosen, sampling.balanced((0, 1), 0, landslide, share))


@pytest.mark.parametrize("every", [True, False])
def test_tiles_of_one_kind_stay_as_they_are(every: bool) -> None:
    chosen = sampling.balanced((0, 1), 0, np.full(9, every), 0.5)
    assert sorted(chosen) == list(range(9))


def test_tickets_number_the_repeats() -> None:
    numbers = sampling.tickets([4, 2, 4, 0, 4, 2], 10)
    assert numbers.tolist() == [4, 2, 14, 0, 24, 12]
    position, repeat = sampling.read_tickets(numbers, 10)
    assert position.tolist() == [4, 2, 4, 0, 4, 2]
    assert repeat.tolist() == [0, 0, 1, 0, 2, 1]


def test_symmetries_are_eight_and_can_be_undone() -> None:
    x = torch.arange(9.0).reshape(1, 3, 3)
    seen = {tuple(augment.apply_symmetry(x, k).flatten().tolist()) for k in range(8)}
    assert len(seen) == 8
    for k in range(8):
        assert torch.equal(augment.undo_symmetry(augment.apply_symmetry(x, k), k), x)


def test_two_symmetries_in_a_row_are_one_of_the_eight() -> None:
    x = torch.arange(9.0).reshape(1, 3, 3)
    seen = {tuple(augment.apply_symmetry(x, k).flatten().tolist()) for k in range(8)}
    for a in range(8):
        for b in range(8):
            both = augment.apply_symmetry(augment.apply_symmetry(x, a), b)
            assert tuple(both.flatten().tolist()) in seen


def test_mask_turns_with_the_image(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.integers(0, 999, (16, 3, 8, 8)).astype(np.int16))
    mask = (image[:, 0] > 500).to(torch.uint8)
    numbers = rng.integers(0, 8, 16)
    turned = augment.apply_symmetries(image, numbers)
    assert not torch.equal(turned, image)
    wanted = (turned[:, 0] > 500).to(torch.uint8)
    assert torch.equal(augment.apply_symmetries(mask, numbers), wanted)
    for i, k in enumerate(numbers):
        assert torch.equal(turned[i], augment.apply_symmetry(image[i], int(k)))
