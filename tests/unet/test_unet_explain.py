"""What the networks look at: on networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from unet_world import cpu, f1, synthetic, tiny

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.unet.explain import ALL_SPECTRAL, channel_groups, draw_tiles, occlusion
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.inputs.tileset import TileSet, load
from l4s_ensemble.unet.predictor import Predictor


class OneBand(nn.Module):
    """Reads the first band of each pixel, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * self.weight * x[:, :1] - 3


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return load(synthetic())


def predictor(tiles: TileSet) -> Predictor:
    return Predictor([OneBand()], Normalisation.fit(tiles, tiny()), cpu())


def test_bands_are_grouped_by_what_they_measure() -> None:
    groups = channel_groups(L4S.band_names, L4S)
    names = {name: [L4S.band_names[i] for i in at] for name, at in groups.items()}
    assert names["visible"] == ["B2", "B3", "B4"] and names["red edge"] == ["B5", "B6", "B7"]
    assert names["slope"] == ["slope"] and names["dem"] == ["dem"]
    assert len(names[ALL_SPECTRAL]) == 12
    parts = (at for name, at in groups.items() if name != ALL_SPECTRAL)
    assert sorted(i for at in parts for i in at) == list(range(14))
    kept = tuple(b for b in L4S.bands if b.name in {"B4", "B3", "B2", "dem"})
    colour = L4S.model_copy(update={"bands": kept})
    assert list(channel_groups(colour.band_names, colour)) == [
        "B2",
        "B3",
        "B4",
        "dem",
        ALL_SPECTRAL,
    ]


def test_a_draw_is_seeded_and_favours_landslides() -> None:
    landslide = np.arange(200) % 2 == 0
    chosen = draw_tiles(landslide, 60, seed=1)
    assert landslide[chosen].sum() == 45 and len(set(chosen.tolist())) == 60
    np.testing.assert_array_equal(chosen, draw_tiles(landslide, 60, seed=1))
    assert not np.array_equal(chosen, draw_tiles(landslide, 60, seed=2))
    assert draw_tiles(landslide, 500, seed=1).tolist() == list(range(200))
    few = draw_tiles(np.arange(200) < 10, 60, seed=1)
    assert len(few) == 60 and (few < 10).sum() == 10


def test_only_the_band_that_is_read_costs_anything(tiles: TileSet) -> None:
    both = [predictor(tiles)] * 2
    found = occlusion(tiles, np.arange(16) % 2, both, 0.5, np.arange(16), seed=0, resamples=200)
    wanted = f1(both[0](tiles), tiles.mask)
    assert found.f1 == pytest.approx(wanted) and wanted > 0.8
    assert (found.tiles, found.landslide_tiles, found.blocks) == (16, 16, 16)
    rows = {r.group: r for r in found.groups}
    assert rows["visible"].channels == ("B4",) and rows[ALL_SPECTRAL].whole
    for name, row in rows.items():
        assert row.loss == pytest.approx(found.f1 - row.f1)
        if name in {"visible", ALL_SPECTRAL}:
            assert row.f1 == 0 and row.low is not None and row.low > 0.3
        else:
            assert row.loss == row.low == row.high == 0
