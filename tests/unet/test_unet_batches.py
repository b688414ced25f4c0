"""Batches: who is seen, and that a sample depends on its key alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from unet_world import synthetic, tiny

from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.batches import Batches, plain_batches
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.inputs.tileset import TileSet, load

EVERYTHING = {"jitter_gain": 0.3, "jitter_band": 0.2}


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return load(synthetic())


def batches(tiles: TileSet, **settings: object) -> Batches:
    config = tiny(**settings)
    return Batches(tiles, Normalisation.fit(tiles, config), config, (3, 1))


def test_an_epoch_shows_every_training_tile_once_in_a_keyed_order(tiles: TileSet) -> None:
    made = batches(tiles)
    assert sorted(made.order(0)) == list(range(16))
    assert not np.array_equal(made.order(0), made.order(1))
    np.testing.assert_array_equal(made.order(1), batches(tiles).order(1))


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_a_sample_is_the_same_in_any_batch_and_after_a_restart(
    tiles: TileSet, settings: dict[str, object]
) -> None:
    first, again = (batches(tiles, **settings) for _ in range(2))
    where = first.order(5)
    whole = first.make(5, where)
    for some in np.array_split(np.arange(len(where))[::-1], 3):
        part = again.make(5, where[some])
        for found, wanted in zip(part, whole, strict=True):
            assert torch.equal(found, wanted[some.copy()])
    assert not torch.equal(first.make(6, where)[0], whole[0])


def test_a_batch_is_its_tiles_turned_and_jittered(tiles: TileSet) -> None:
    made = batches(tiles)
    where = made.order(0)[:5]
    x, target = made.make(0, where)
    symmetry, gain = augment.draw((3, 1), 0, tiles.patch[where], tiles.spectral, made.config)
    assert tiles.mask is not None
    for i, at in enumerate(where):
        lit = tiles.units(torch.tensor([at])) * torch.from_numpy(gain[i])[:, None, None]
        turned = augment.apply_symmetry(made.normalisation.apply(lit), int(symmetry[i]))
        assert torch.allclose(x[i], turned[0], atol=1e-4)
        mask = augment.apply_symmetry(tiles.mask[at], int(symmetry[i]))
        assert torch.equal(target[i, 0], mask.float())


def test_plain_batches_are_inputs_as_they_are_predicted(tiles: TileSet) -> None:
    kept = Normalisation.fit(tiles, tiny())
    parts = list(plain_batches(tiles, kept, most=9, batch=4))
    assert [len(p) for p in parts] == [4, 4]
    at = torch.from_numpy(np.linspace(0, 15, 8).round().astype(np.int64))
    assert torch.equal(torch.cat(parts), kept.inputs(tiles, at))
