"""What the networks look at: on networks whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from unet_world import config_of, context, cpu, made_up, prepare, tiny

from l4s_ensemble.data.bands import L4S_BANDS
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.unet import train
from l4s_ensemble.unet.explain import logits_by_class
from l4s_ensemble.unet.explaining.attribution import attribution, choose_tiles, integrated_gradients
from l4s_ensemble.unet.explaining.channel_groups import ALL_LIGHT, channel_groups
from l4s_ensemble.unet.explaining.occlusion import draw_tiles, middle, occlusion
from l4s_ensemble.unet.explaining.receptive import receptive_field
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.networks.network import build


class OneBand(nn.Module):
    """Reads the first band of each pixel, and nothing else."""

    def __init__(self, reach: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1, 2 * reach + 1, 2 * reach + 1))
        self.reach = reach

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = torch.nn.functional.conv2d(x[:, :1], self.weight, padding=self.reach)
        return 3 * seen / self.weight.numel() - 3


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return load(made_up())


def predictor(tiles: TileSet, network: nn.Module, halo_px: int = 0) -> Predictor:
    model = FoldModel(network.eval(), {}, Normalisation.fit(tiles, range(16), tiny()), 0)
    return Predictor(model, cpu(), tta=False, halo_px=halo_px)


def test_bands_are_grouped_by_what_they_measure() -> None:
    groups = channel_groups([b.name for b in L4S_BANDS] + ["B8/B4"], L4S)
    names = {g.name: [L4S.band_names[i] for i in g.at if i < 14] for g in groups}
    assert names["visible"] == ["B2", "B3", "B4"]
    assert names["red edge"] == ["B5", "B6", "B7"] and names["near infrared"] == ["B8"]
    assert names["short-wave infrared"] == ["B11", "B12"]
    assert names["aerosol, vapour, cirrus"] == ["B1", "B9", "B10"]
    assert names["slope"] == ["slope"] and names["elevation"] == ["dem"]
    assert len(names[ALL_LIGHT]) == 12
    parts = sorted(i for g in groups if not g.whole for i in g.at)
    assert parts == list(range(15))
    colour = L4S.model_copy(update={"bands": tuple(b for b in L4S.bands if b.name in
                            {"B4", "B3", "B2", "dem"})})  # fmt: skip
    named = [g.name for g in channel_groups(colour.band_names, colour)]
    assert named == ["B2", "B3", "B4", "elevation", ALL_LIGHT]
    alone = [g.name for g in channel_groups(colour.band_names, colour, whole=False)]
    assert ALL_LIGHT not in alone


def test_a_draw_is_seeded_and_even_over_folds() -> None:
    slide, fold = np.arange(200) % 2 == 0, np.arange(200) % 5 // 2
    chosen = draw_tiles(slide, fold, 60, seed=1)
    assert slide[chosen].sum() == 45 and len(set(chosen.tolist())) == 60
    np.testing.assert_allclose(np.bincount(fold[chosen]) / 60, np.bincount(fold) / 200, atol=0.02)
    np.testing.assert_array_equal(chosen, draw_tiles(slide, fold, 60, seed=1))
    assert not np.array_equal(chosen, draw_tiles(slide, fold, 60, seed=2))
    assert draw_tiles(slide, fold, 500, seed=1).tolist() == list(range(200))
    few = draw_tiles(np.arange(200) < 10, fold, 60, seed=1)
    assert len(few) == 60 and (few < 10).sum() == 10


def test_only_the_band_that_is_read_costs_anything(tiles: TileSet) -> None:
    fold = np.arange(16) % 2
    both = [predictor(tiles, OneBand())] * 2
    told = occlusion(tiles, fold, both, 0.5, np.arange(16) // 2, seed=0, resamples=200)
    truth = tiles.mask.numpy() > 0  # type: ignore[union-attr]
    called = both[0](tiles, range(16)) >= 0
    f1 = 2 * (called & truth).sum() / (called.sum() + truth.sum())
    assert told["f1"] == pytest.approx(f1) and f1 > 0.8
    assert (told["tiles"], told["landslide_tiles"], told["blocks"]) == (16, 16, 8)
    rows = {r["group"]: r for r in told["groups"]}
    # B4 is the only visible band: B8 and B10 are each a group of their own.
    assert rows["visible"]["channels"] == ["B4"] and rows[ALL_LIGHT]["whole"]
    for name, row in rows.items():
        for way in ("mean", "swap"):
            assert row[way]["loss"] == pytest.approx(told["f1"] - row[way]["f1"])
            if name in {"visible", ALL_LIGHT}:
                assert row[way]["low"] > 0.3
            else:
                assert row[way]["loss"] == row[way]["low"] == row[way]["high"] == 0
    assert rows["visible"]["mean"]["f1"] == 0
    again = occlusion(tiles, fold, both, 0.5, np.arange(16) // 2, seed=0, resamples=200)
    assert again == told


def test_attributions_sum_to_the_difference_of_logits(tiles: TileSet) -> None:
    network = build("unet", 4, width=8, depth=3, norm="batch", seed=2).eval()
    torch.manual_seed(0)
    for p in network.parameters():
        p.data += 0.05 * torch.randn_like(p)
    x = predictor(tiles, network).inputs(tiles, torch.tensor([3]))[0].clone()
    region = torch.zeros(32, 32, dtype=torch.bool)
    region[5:12, 8:20] = True

    def logit(inputs: torch.Tensor) -> torch.Tensor:
        return network(inputs)[:, 0]

    gaps = []
    for steps in (4, 64):
        made, start, end = integrated_gradients(logit, x, region, steps)
        gaps.append(abs(float(made.sum()) - (end - start)))
    assert made.shape == x.shape
    with torch.no_grad():
        assert end == pytest.approx(float(logit(x[None])[0][region].mean()), rel=1e-4)
    size = float(made.abs().sum())
    assert size > 0 and gaps[1] < 0.02 * size and gaps[1] <= gaps[0]
    with pytest.raises(ValueError, match="no pixel"):
        integrated_gradients(logit, x, torch.zeros_like(region))


def test_a_linear_network_gives_its_exact_shares(tiles: TileSet) -> None:
    x = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(0))
    region = torch.zeros(32, 32, dtype=torch.bool)
    region[4, 4:8] = True
    network = OneBand()
    made, start, end = integrated_gradients(lambda v: network(v)[:, 0], x, region, 8)
    wanted = torch.zeros_like(x)
    wanted[0, 4, 4:8] = 3 * x[0, 4, 4:8] / 4
    torch.testing.assert_close(made, wanted)
    assert start == pytest.approx(-3)
    assert end == pytest.approx(-3 + float(wanted.sum()), abs=1e-5)


def test_telling_tiles_are_told_apart() -> None:
    rows = np.array([[60, 20, 25], [80, 5, 5], [40, 45, 45], [0, 99, 0], [1, 0, 70], [0, 0, 0]])
    chosen = choose_tiles(Counts(*rows.T, np.zeros(6, np.int64)))
    assert {c.kind: c.at for c in chosen} == {"median": 0, "best": 1, "false": 3, "missed": 4}
    nothing = np.zeros(3, np.int64)
    assert choose_tiles(Counts(nothing, nothing, nothing, nothing)) == []
    assert [c.kind for c in choose_tiles(Counts(nothing, nothing, nothing + 4, nothing))] == [
        "missed"
    ]


@pytest.mark.parametrize("halo_px", [0, 4])
def test_maps_are_those_of_the_tile(tiles: TileSet, tmp_path: Path, halo_px: int) -> None:
    some = predictor(tiles, OneBand(), halo_px)
    logit = some(tiles, range(16))
    truth, called = tiles.mask.numpy() > 0, sigmoid(logit) >= 0.5  # type: ignore[union-attr]
    counts = Counts(*(
        (k).sum(axis=(1, 2)) for k in (called & truth, called & ~truth, ~called & truth,
                                       ~called & ~truth)
    ))  # fmt: skip
    path = tmp_path / "maps.npz"
    told = attribution(tiles, np.zeros(16, int), [some], logit, 0.5, counts, path)
    with np.load(path) as found:
        assert found["groups"].tolist() == [
            "visible", "near infrared", "aerosol, vapour, cirrus", "elevation",
        ]  # fmt: skip
        assert found["by_group"].shape == (len(told["tiles"]), 4, 32, 32)
        for n, row in enumerate(told["tiles"]):
            maps, region = found["by_group"][n], found["region"][n]
            assert found["patch"][n] == row["patch"] and row["region_px"] == region.sum()
            assert abs(row["gap"]) < 1e-3
            assert (maps[1:] == 0).all() and (maps[0][~region] == 0).all()
            mean = logit[row["patch"] - 1][region].mean()
            assert row["logit"] == pytest.approx(mean, abs=1e-3)
            assert maps.sum() + row["start"] == pytest.approx(mean, abs=1e-3)
            assert row["groups"][0]["inside"] == pytest.approx(1, abs=1e-6)
            assert row["groups"][1] == {"group": "near infrared", "sum": 0.0, "inside": None}


@pytest.mark.parametrize("reach", [0, 3])
def test_the_field_of_a_box_is_its_box(tiles: TileSet, reach: int) -> None:
    told = receptive_field(tiles, np.zeros(16, int), [predictor(tiles, OneBand(reach))], most=4)
    assert told["tiles"] == 4 and told["reach_px"] == 15
    away = np.arange(-reach, reach + 1)
    radius = np.ceil(np.hypot(away[:, None], away)).ravel()
    wanted = [(radius <= r).mean() for r in told["radius_px"]]
    np.testing.assert_allclose(told["share"], wanted, atol=1e-9)
    assert told["radius_50_px"] == pytest.approx(np.interp(0.5, wanted, told["radius_px"]))
    assert told["radius_50_px"] <= told["radius_90_px"] <= np.hypot(reach, reach) + 1


def test_the_middle_is_the_tile() -> None:
    window = torch.arange(100).reshape(1, 10, 10)
    assert middle(window, 4).shape == (1, 4, 4) and int(middle(window, 4)[0, 0, 0]) == 33
    assert middle(window, 10) is not None and torch.equal(middle(window, 10), window)


def test_logits_are_counted_by_class() -> None:
    logit = np.array([[[-50.0, -0.1], [0.1, 50.0]]], np.float32)
    told = logits_by_class(logit, np.array([[[0, 1], [1, 0]]], np.uint8))
    edges = np.array(told["edges"])
    assert sum(told["other"]) == sum(told["landslide"]) == 2
    assert told["other"][0] == told["other"][-1] == 1
    at = np.flatnonzero(told["landslide"])
    assert edges[at].tolist() == [-0.25, 0.0]


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_stage_explains_what_it_fitted(tmp_path: Path, seeds: int) -> None:
    config = config_of(epochs=1, seeds=seeds)
    run = prepare(tmp_path / "run", config)
    told: dict[str, Any] = train.stage(context(run, "unet", config))
    assert {
        "occlusion", "attribution", "receptive_field", "failures", "calibration", "logits",
        "memory", "seconds_explain",
    } <= told.keys()  # fmt: skip
    assert told["occlusion"]["networks"] == seeds
    assert told["memory"]["networks"] == 2 * seeds
    assert sum(told["logits"]["landslide"]) == sum(told["histogram"]["positive"])
    assert told["failures"]["threshold"] == told["oof"]["threshold"]
    assert ("seeds_alone" in told) == (seeds > 1)
    if seeds > 1:
        assert len(told["seeds_alone"]["f1"]) == 2
    assert (run / "unet" / "attribution_maps.npz").is_file()
    assert (run / "unet" / "progress.html").is_file()


def test_the_explanation_can_be_left_out(tmp_path: Path) -> None:
    config = config_of(epochs=1, explain=False)
    run = prepare(tmp_path / "run", config)
    told = train.stage(context(run, "unet", config))
    assert "occlusion" not in told and not (run / "unet" / "attribution_maps.npz").exists()


def test_masks_are_wanted(tiles: TileSet) -> None:
    blind = replace(tiles, mask=None)
    with pytest.raises(ValueError, match="masks"):
        occlusion(
            blind, np.zeros(16, int), [predictor(tiles, OneBand())], 0.5, np.arange(16), seed=0
        )
