"""What the networks look at: on networks whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from unet_world import NEEDS, config_of, context, cpu, made_up, prepare, put_stage, tiny

from l4s_ensemble.config import load as load_settings
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.run import fingerprint
from l4s_ensemble.stages import OCCLUSION, fit_stages
from l4s_ensemble.unet import explain, train
from l4s_ensemble.unet.explain import ALL_SPECTRAL, channel_groups, draw_tiles, occlusion
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.model import FoldModel


class OneBand(nn.Module):
    """Reads the first band of each pixel, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * self.weight * x[:, :1] - 3


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return load(made_up())


def predictor(tiles: TileSet) -> Predictor:
    model = FoldModel(OneBand().eval(), {}, Normalisation.fit(tiles, range(16), tiny()), 0)
    return Predictor(model, cpu(), tta=False)


def test_bands_are_grouped_by_what_they_measure() -> None:
    groups = channel_groups(L4S.band_names, L4S)
    names = {g.name: [L4S.band_names[i] for i in g.at] for g in groups}
    assert names["visible"] == ["B2", "B3", "B4"] and names["red edge"] == ["B5", "B6", "B7"]
    assert names["slope"] == ["slope"] and names["dem"] == ["dem"]
    assert len(names[ALL_SPECTRAL]) == 12
    assert sorted(i for g in groups if not g.whole for i in g.at) == list(range(14))
    kept = tuple(b for b in L4S.bands if b.name in {"B4", "B3", "B2", "dem"})
    colour = L4S.model_copy(update={"bands": kept})
    named = [g.name for g in channel_groups(colour.band_names, colour)]
    assert named == ["B2", "B3", "B4", "dem", ALL_SPECTRAL]


def test_a_draw_is_seeded_and_favours_landslides() -> None:
    slide = np.arange(200) % 2 == 0
    chosen = draw_tiles(slide, 60, seed=1)
    assert slide[chosen].sum() == 45 and len(set(chosen.tolist())) == 60
    np.testing.assert_array_equal(chosen, draw_tiles(slide, 60, seed=1))
    assert not np.array_equal(chosen, draw_tiles(slide, 60, seed=2))
    assert draw_tiles(slide, 500, seed=1).tolist() == list(range(200))
    few = draw_tiles(np.arange(200) < 10, 60, seed=1)
    assert len(few) == 60 and (few < 10).sum() == 10


def test_only_the_band_that_is_read_costs_anything(tiles: TileSet) -> None:
    both = [predictor(tiles)] * 2
    told = occlusion(tiles, np.arange(16) % 2, both, 0.5, np.arange(16), seed=0, resamples=200)
    assert tiles.mask is not None
    reference = tiles.mask.numpy() > 0
    predicted = both[0](tiles, range(16)) >= 0
    f1 = 2 * (predicted & reference).sum() / (predicted.sum() + reference.sum())
    assert told["f1"] == pytest.approx(f1) and f1 > 0.8
    assert (told["tiles"], told["landslide_tiles"], told["blocks"]) == (16, 16, 16)
    rows = {r["group"]: r for r in told["groups"]}
    assert rows["visible"]["channels"] == ["B4"] and rows[ALL_SPECTRAL]["whole"]
    for name, row in rows.items():
        assert row["loss"] == pytest.approx(told["f1"] - row["f1"])
        if name in {"visible", ALL_SPECTRAL}:
            assert row["f1"] == 0 and row["low"] > 0.3
        else:
            assert row["loss"] == row["low"] == row["high"] == 0
    with pytest.raises(ValueError, match="masks"):
        occlusion(replace(tiles, mask=None), [0] * 16, both[:1], 0.5, np.arange(16), seed=0)


def test_the_stage_measures_a_fitted_run(tmp_path: Path) -> None:
    config = config_of(epochs=1, seeds=2)
    run = prepare(tmp_path, config)
    put_stage(run, "unet", train.stage(context(run, "unet", config)))
    told = explain.stage(context(run, OCCLUSION, config, (*NEEDS, "unet")))["occlusion"]
    assert told["tiles"] == 15  # all but the holdout
    assert {r["group"] for r in told["groups"]} >= {"visible", "dem", ALL_SPECTRAL}


def test_no_setting_of_the_report_is_an_ingredient_of_a_fit(tmp_path: Path) -> None:
    """Whether occlusion is measured trains nothing again."""
    for kind, name in (("img", "image_1.h5"), ("mask", "mask_1.h5")):
        (tmp_path / "TrainData" / kind).mkdir(parents=True)
        (tmp_path / "TrainData" / kind / name).touch()
    made = [
        {s.name: fingerprint.ingredients(s, config, {}, {}) for s in fit_stages(config, tmp_path)}
        for config in (load_settings("demo", [f"report.occlusion={v}"]) for v in ("true", "false"))
    ]
    assert made[0] == made[1] and OCCLUSION in made[0]
