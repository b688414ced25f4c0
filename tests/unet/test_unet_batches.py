"""Batches: who is seen, what counts, and that a sample depends on its key alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from unet_world import SENSOR, SIZE, made_up, tiny

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.batches import Batch, Batches
from l4s_ensemble.unet.inputs.channels import Channels
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load

ROWS = COLS = 4
QUIET = {"jitter_gain": 0.0, "jitter_band": 0.0}
EVERYTHING = {
    "shift_px": 20, "cut_mix": 0.5, "band_dropout": 0.2, "jitter_scene": 0.1, "light": "log",
    "level": "scene", "indices": ("B8/B4",), "landslide_share": 0.7,
}  # fmt: skip


def around() -> torch.Tensor:
    """Neighbours in a grid of tiles."""
    number = np.full((ROWS + 2, COLS + 2), -1)
    number[1:-1, 1:-1] = np.arange(ROWS * COLS).reshape(ROWS, COLS)
    near = [[number[r : r + 3, c : c + 3] for c in range(COLS)] for r in range(ROWS)]
    return torch.from_numpy(np.array(near).reshape(-1, 3, 3))


def grid() -> TileSet:
    """Tiles that adjoin, of two scenes, some without a landslide."""
    ds = made_up(ROWS, COLS)
    ds["mask"].values[::3] = 0
    return replace(load(ds), around=around(), scene=np.repeat([1, 2], 8))


def told() -> TileSet:
    """Tiles whose first band says, in every pixel, which tile it is of and what its mask is.

    The second one says where it lies.
    """
    tiles = grid()
    assert tiles.mask is not None
    counts = torch.zeros_like(tiles.counts)
    counts[:, 0] = (10 * torch.arange(16)[:, None, None] + tiles.mask).to(torch.int16)
    counts[:, 1] = torch.arange(SIZE * SIZE).reshape(SIZE, SIZE).to(torch.int16)
    return replace(tiles, counts=counts, scale=torch.ones(16, 4), centre=torch.zeros(16, 4))


def batches(tiles: TileSet, positions: object, **settings: object) -> Batches:
    config = tiny(**settings)
    at = np.asarray(positions)
    kept = Normalisation.fit(tiles, at, config)
    return Batches(tiles, at, kept, config, (3, 1))


def open_batches(tiles: TileSet, positions: object, **settings: object) -> Batches:
    """Batches whose inputs are the units themselves."""
    config = tiny(**QUIET, **settings)
    plain = Normalisation(Channels.choose(SENSOR, config), (0.0,) * 4, (1.0,) * 4)
    return Batches(tiles, np.asarray(positions), plain, config, (3, 1))


def read(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which tile every pixel is of, what its mask is, and its place: as `told` says."""
    said = batch.x[:, 0].numpy().round().astype(np.int64)
    return said // 10, said % 10, batch.x[:, 1].numpy().round().astype(np.int64)


@pytest.mark.parametrize("settings", [{}, {"shift_px": SIZE}, {"shift_px": 20, "cut_mix": 0.7}])
def test_no_mask_of_a_held_or_buffer_tile_ever_counts(settings: dict[str, object]) -> None:
    """Train on the left, hold the right column, and leave the one between as a buffer."""
    tiles = told()
    train = np.flatnonzero(np.arange(16) % COLS < 2)
    made = open_batches(tiles, train, **settings)
    for truth in (0, 1):  # as if someone had spoilt the masks of the others
        spoilt = torch.full_like(tiles.mask, truth)  # type: ignore[arg-type]
        spoilt[train] = tiles.mask[train]  # type: ignore[index]
        other = open_batches(replace(tiles, mask=spoilt), train, **settings)
        foreign_seen = 0
        for epoch in range(12):
            where = made.order(epoch)
            batch, same = made.make(epoch, where), other.make(epoch, where)
            tile, mask, _ = read(batch)
            counts = batch.weight[:, 0].numpy() > 0
            assert np.isin(tile[counts], train).all()
            foreign_seen += int((~np.isin(tile, train)).sum())
            np.testing.assert_array_equal(mask[counts], batch.target[:, 0].numpy()[counts])
            assert torch.equal(batch.weight, same.weight)
            assert torch.equal(batch.target * batch.weight, same.target * same.weight)
        # The test is about something: windows do reach into tiles that are not learnt from.
        assert (foreign_seen > 0) == ("shift_px" in settings)


def test_a_sample_must_be_a_training_tile() -> None:
    made = batches(grid(), range(8))
    with pytest.raises(ValueError, match="training tile"):
        made.make(0, np.array([3, 9]))


def test_pixels_that_are_not_known_do_not_count() -> None:
    tiles = told()
    known = torch.ones(16, SIZE, SIZE, dtype=torch.uint8)
    known[:, :, :7] = 0
    made = open_batches(replace(tiles, known=known), range(16), shift_px=20, cut_mix=0.5)
    for epoch in range(3):
        batch = made.make(epoch, made.order(epoch))
        _, _, place = read(batch)
        counts = batch.weight[:, 0].numpy() > 0
        assert (place[counts] % SIZE >= 7).all()
        assert counts.any()


def test_windows_shift_into_neighbours_and_alone_they_do_not() -> None:
    tiles = told()
    for drop, moved in ((0.0, True), (1.0, False)):
        made = open_batches(tiles, range(16), shift_px=10, drop_neighbours=drop)
        where = made.order(0)
        tile, _, place = read(made.make(0, where))
        assert (tile != where[:, None, None]).any() == moved
        if not moved:
            assert (np.sort(place.reshape(16, -1)) == np.arange(SIZE * SIZE)).all()
        # Ten of 32 pixels at most on each side are not its own: at least (22 / 32)^2 are.
        own = (tile == where[:, None, None]).mean(axis=(1, 2))
        assert own.min() >= (22 / 32) ** 2


@pytest.mark.parametrize("settings", [QUIET, {**EVERYTHING}, {"shift_px": 9, "cut_mix": 1.0}])
def test_a_sample_is_the_same_in_any_batch_and_after_a_restart(
    settings: dict[str, object],
) -> None:
    tiles, train = grid(), np.arange(3, 16)
    first = batches(tiles, train, **settings)
    where = first.order(5)
    whole = first.make(5, where)
    again = batches(tiles, train, **settings)  # as after a kill: nothing came before
    np.testing.assert_array_equal(again.order(5), where)
    backwards = np.arange(len(where))[::-1]
    for some in np.array_split(backwards, 3):
        part = again.make(5, where[some])
        for name in ("x", "target", "weight"):
            wanted = getattr(whole, name)[some.copy()]
            assert torch.equal(getattr(part, name), wanted), name
    assert not torch.equal(first.make(6, where).x, whole.x)


def test_without_settings_a_batch_is_its_tiles_turned_and_lit() -> None:
    tiles = grid()
    made = batches(tiles, range(16))
    where = made.order(0)[:5]
    batch = made.make(0, where)
    draw = made._draw(0, where, np.zeros(5, np.int64))
    for i, at in enumerate(where):
        lit = tiles.units(torch.tensor([at])) * torch.from_numpy(draw.gain[i])[:, None, None]
        turned = augment.apply_symmetry(made.normalisation.apply(lit), int(draw.symmetry[i]))
        assert torch.allclose(batch.x[i], turned[0], atol=1e-4)
        assert tiles.mask is not None
        mask = augment.apply_symmetry(tiles.mask[at], int(draw.symmetry[i]))
        assert torch.equal(batch.target[i, 0], mask.float())
    assert (batch.weight == 1).all()


def test_cut_mix_keeps_pixels_and_labels_together() -> None:
    tiles = told()
    mixed, alone = (open_batches(tiles, range(16), cut_mix=p) for p in (1.0, 0.0))
    where = mixed.order(0)
    batch, before = mixed.make(0, where), alone.make(0, where)
    tile, mask, _ = read(batch)
    np.testing.assert_array_equal(mask, batch.target[:, 0].numpy())
    pasted = tile != where[:, None, None]
    assert 0.3 < pasted.mean() < 0.7
    # What is pasted is one square of one other tile; the rest is as it was.
    kept = torch.from_numpy(~pasted)[:, None]
    assert torch.equal(batch.x * kept, before.x * kept)
    for i in range(16):
        rows, columns = np.nonzero(pasted[i])
        if len(rows):
            assert len(np.unique(tile[i][pasted[i]])) == 1
            assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_the_other_tile_is_another() -> None:
    made = open_batches(told(), [4, 9], cut_mix=1.0)
    where = np.array([4, 9])
    tiles = [read(made.make(epoch, where))[0] for epoch in range(12)]
    seen = np.array([[len(np.unique(t)) > 1 or t.flat[0] != w
                      for t, w in zip(of, where, strict=True)] for of in tiles])  # fmt: skip
    assert seen.mean() > 0.9  # but for squares too small to hold a pixel


def test_one_tile_cannot_be_mixed() -> None:
    made = open_batches(told(), [4], cut_mix=1.0)
    assert (read(made.make(0, made.order(0)))[0] == 4).all()


def test_dropped_channels_are_zero_and_one_is_left() -> None:
    tiles = grid()
    config = {"band_dropout": 0.8, "indices": ("B8/B4",)}
    x = torch.cat([batches(tiles, range(16), **config).make(e, np.arange(16)).x for e in range(4)])
    dropped = (x == 0).flatten(2).all(dim=2)
    assert dropped.float().mean() > 0.5
    assert not dropped.all(dim=1).any()
    none = batches(tiles, range(16), indices=("B8/B4",)).make(0, np.arange(16)).x
    whole = batches(tiles, range(16), **config).make(0, np.arange(16)).x
    assert torch.equal(whole[~dropped[:16]], none[~dropped[:16]])


def test_an_epoch_shows_its_share_of_landslides_each_time_otherwise() -> None:
    tiles = grid()
    assert tiles.mask is not None
    has = tiles.mask.flatten(1).any(dim=1).numpy()
    assert has.sum() == 10
    made = batches(tiles, range(16), landslide_share=0.9)
    where = made.order(0)
    assert len(where) == 16
    assert has[where % 16].sum() == round(0.9 * 16)
    twice = where[np.isin(where % 16, where[where >= 16] % 16)]
    assert len(twice) >= 8
    first = twice[twice < 16][0]
    pair = made.make(0, np.array([first, first + 16]))
    assert not torch.equal(pair.x[0], pair.x[1])


def test_a_landslide_that_is_not_known_is_none() -> None:
    tiles = grid()
    known = torch.ones(16, SIZE, SIZE, dtype=torch.uint8)
    known[1] = 0
    made = batches(replace(tiles, known=known), range(16), landslide_share=0.5)
    assert made.landslide is not None
    assert made.landslide.sum() == 9
    assert not made.landslide[1]


def test_a_shift_beyond_the_neighbours_is_refused() -> None:
    with pytest.raises(ConfigError, match="shift_px"):
        batches(grid(), range(16), shift_px=SIZE + 1)


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_plain_batches_are_inputs_as_they_are_predicted(settings: dict[str, object]) -> None:
    tiles = grid()
    made = batches(tiles, range(16), **settings)
    parts = list(made.plain(8, 4))
    assert [len(p) for p in parts] == [4, 4]
    at = torch.from_numpy(np.linspace(0, 15, 8).round().astype(np.int64))
    wanted = made.normalisation.inputs(tiles, at)
    assert torch.equal(torch.cat(parts), wanted)


def test_neighbours_are_seen_at_the_level_of_the_windows_own_tile() -> None:
    """Levels of tiles, taken away, do not show at a seam: a scene of one colour stays one."""
    tiles = grid()
    counts = torch.full_like(tiles.counts, 100)
    own = torch.linspace(0.5, 2.0, 16)
    config = {"shift_px": 20, "drop_neighbours": 0.0, "level": "tile", **QUIET}
    one = replace(tiles, counts=counts, own=own)
    train = batches(grid(), range(16), **config)
    made = Batches(one, np.arange(16), train.normalisation, train.config, (0, 0))
    x = made.make(0, np.arange(16)).x
    assert torch.allclose(x[:, :2], x[:, :2, :1, :1].expand(-1, -1, SIZE, SIZE), atol=1e-4)
