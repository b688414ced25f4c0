"""The linear learners' inputs, the stage, and what the ledger says of the gain."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack import agreement, inputs, ledger
from l4s_ensemble.stack.inputs import Seen

WINDOWS = (3, 9)


def pair(rng: np.random.Generator, edge: int = 32) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(-3, 2, (edge, edge)), rng.normal(-3, 2, (edge, edge))


def test_inputs_are_what_their_names_say(rng):
    pixel, unet = pair(rng)
    found = inputs.compute(Seen(pixel, unet), WINDOWS)
    layers = dict(zip(inputs.names(WINDOWS), found, strict=True))
    np.testing.assert_allclose(layers["logit_pixel"], pixel, rtol=1e-6)
    np.testing.assert_allclose(layers["lower_logit"], np.minimum(pixel, unet), rtol=1e-6)
    inner = pixel[10 - 4 : 10 + 5, 20 - 4 : 20 + 5].mean()
    assert layers["mean9_logit_pixel"][10, 20] == pytest.approx(inner, rel=1e-4)


def test_inputs_turn_with_the_tile(rng):
    pixel, unet = pair(rng)
    straight = inputs.compute(Seen(pixel, unet), WINDOWS)
    turned = inputs.compute(Seen(np.rot90(pixel), np.rot90(unet)), WINDOWS)
    np.testing.assert_allclose(np.rot90(straight, axes=(1, 2)), turned, atol=1e-4)


def test_inputs_stay_finite_at_extremes():
    wild = np.full((8, 8), 1e9)
    assert np.isfinite(inputs.compute(Seen(wild, -wild), WINDOWS)).all()


def test_ledger_gain_is_over_the_better_base(rng):
    truth = rng.random((6, 16, 16)) < 0.2
    noise = {"pixel": 1.5, "unet": 1.1, "mean": 0.9, "stack": 0.2}
    tiles = {name: TileHistograms.empty(range(6), 100) for name in ledger.MODELS}
    for name, scored in tiles.items():
        for i in range(6):
            p = np.clip(truth[i] * 0.6 + rng.random((16, 16)) * noise[name], 0, 1)
            scored.add(i, p, truth[i])
    table = ledger.rows(tiles, np.arange(6), resamples=200)
    found = ledger.gain(tiles, table, np.arange(6), resamples=200)
    by_name = {row["model"]: row for row in table}
    assert found["over"] == "unet"
    assert found["value"] == pytest.approx(by_name["stack"]["f1"] - by_name["unet"]["f1"])
    assert found["shown"]


def test_agreement_counts_each_pixel_of_interest_once(rng):
    p, u, t = (rng.random((20, 20)) < 0.3 for _ in range(3))
    counted = agreement._Tallies()
    agreement.count(counted, t, p, u)
    found = agreement.total(agreement.rows_of(counted))
    assert sum(found.values()) == int((p | u | t).sum())
    assert found["only_pixel"] == int(((p == t) & (u != t) & (p | u | t)).sum())
