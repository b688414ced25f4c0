"""Batches: what is shown, and that a sample depends on its key alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from unet_world import synthetic, tiny, trainer

from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.normalisation import Normalisation, plain_batches
from l4s_ensemble.unet.inputs.tileset import load


def test_an_epoch_shows_every_training_tile_once_in_a_keyed_order() -> None:
    job = trainer(tiny(), 13)
    assert sorted(job.order(0)) == list(range(13))
    assert not np.array_equal(job.order(0), job.order(1))
    np.testing.assert_array_equal(job.order(1), trainer(tiny(), 13).order(1))


@pytest.mark.parametrize("settings", [{}, {"jitter_gain": 0.3, "jitter_band": 0.2}])
def test_a_sample_is_the_same_in_any_batch_and_after_a_restart(settings: dict[str, float]) -> None:
    first, again = (trainer(tiny(**settings), 13) for _ in range(2))
    where = first.order(5)
    whole = first.make_batch(5, where)
    for some in np.array_split(np.arange(len(where))[::-1], 3):
        part = again.make_batch(5, where[some])
        for found, wanted in zip(part, whole, strict=True):
            assert torch.equal(found, wanted[some.copy()])
    assert not torch.equal(first.make_batch(6, where)[0], whole[0])


def test_a_batch_is_its_tiles_turned_and_jittered() -> None:
    job = trainer(tiny(), fold=1)
    tiles, where = job.tiles, job.order(0)[:5]
    x, target = job.make_batch(0, where)
    symmetry, gain = augment.draw((3, 1), 0, tiles.patch[where], tiles.spectral, job.config)
    assert tiles.mask is not None
    for i, at in enumerate(where):
        lit = tiles.units(torch.tensor([at])) * torch.from_numpy(gain[i])[:, None, None]
        turned = augment.apply_symmetry(job.normalisation.apply(lit), int(symmetry[i]))
        assert torch.allclose(x[i], turned[0], atol=1e-4)
        mask = augment.apply_symmetry(tiles.mask[at], int(symmetry[i]))
        assert torch.equal(target[i, 0], mask.float())


def test_making_batches_leaves_tiles_that_are_no_counts_as_they_are() -> None:
    job = trainer(tiny())
    counts = job.tiles.counts.float()
    job.tiles = replace(job.tiles, counts=counts)
    before = counts.clone()
    job.make_batch(0, np.arange(16))
    Normalisation.fit(job.tiles, tiny())
    assert torch.equal(counts, before)


def test_plain_batches_are_inputs_as_they_are_predicted() -> None:
    tiles = load(synthetic())
    kept = Normalisation.fit(tiles, tiny())
    parts = list(plain_batches(tiles, kept, most=9, batch=4))
    assert [len(p) for p in parts] == [4, 4]
    at = torch.from_numpy(np.linspace(0, 15, 8).round().astype(np.int64))
    assert torch.equal(torch.cat(parts), kept.inputs(tiles, at))
