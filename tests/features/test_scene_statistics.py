from __future__ import annotations

import json

import numpy as np
import pytest
from feature_world import RGB, compute, context_of, plan_of, scene
from scipy import stats

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import DataError, ModelError
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.tile_context import sample_tile

FIELDS = ("ndvi", "bright", "slope")


def ranks(image: np.ndarray, statistics: SceneStatistics | None = None) -> np.ndarray:
    plan = plan_of(RGB).only(["bright_scene_rank"])
    return compute(image, RGB, plan, statistics=statistics)[0]


def test_quantiles_are_those_of_numpy():
    image = scene(60, 50)
    context = context_of(image)
    for name in FIELDS:
        expected = np.quantile(context.value(name), np.linspace(0, 1, 101))
        np.testing.assert_allclose(context.quantiles(name), expected, rtol=1e-4, atol=1e-6)


def test_a_sample_is_every_eighth_pixel_and_a_scene_all_of_its_samples():
    contexts = [context_of(scene(64, 40, L4S, seed)) for seed in range(3)]
    samples = [sample_tile(c, FIELDS) for c in contexts]
    np.testing.assert_array_equal(samples[0]["ndvi"], contexts[0].value("ndvi")[4::8, 4::8].ravel())
    found = measure(samples)
    everything = np.concatenate([s["bright"] for s in samples])
    assert found.tiles == 3 and set(found.quantiles) == set(FIELDS)
    assert found.of("bright")[50] == pytest.approx(np.median(everything), abs=1e-5)


def test_a_rank_is_that_of_scipy_within_a_percent():
    image = scene(64, 64, RGB)
    value = context_of(image, RGB).value("bright").ravel()
    expected = stats.percentileofscore(value, value, "strict") / 100
    assert np.abs(ranks(image).ravel() - expected).max() <= 0.011


def test_a_rank_is_that_in_the_scene_where_it_is_known():
    """A bright tile of a dark scene: ranks in the tile spread out, those in the scene are high."""
    dark, bright = scene(64, 64, RGB), 3 * scene(64, 64, RGB, seed=1)
    statistics = measure([sample_tile(context_of(dark, RGB), ("bright",))])
    assert np.median(ranks(bright)) == pytest.approx(0.5, abs=0.02)
    assert np.median(ranks(bright, statistics)) > 0.9


def test_ties_share_the_rank_of_the_lowest():
    image = np.full((3, 10, 10), 500, np.float32)
    image[:, :, 5:] = 900
    rank = ranks(image)
    assert (rank[:, :5] == 0).all()
    np.testing.assert_allclose(rank[:, 5:], 0.5, atol=0.011)


def test_statistics_survive_a_file():
    found = measure([sample_tile(context_of(scene(40, 40)), FIELDS)])
    again = SceneStatistics.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again.as_dict() == found.as_dict()
    np.testing.assert_array_equal(again.of("ndvi"), found.of("ndvi"))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("quantiles"),
        lambda v: v.update(quantiles=[1, 2]),
        lambda v: v.update(tiles=None),
        lambda v: v["quantiles"].update(ndvi=[0.0] * 100),
        lambda v: v["quantiles"].update(ndvi=[1.0] + [0.0] * 100),
        lambda v: v["quantiles"].update(ndvi=[float("nan")] * 101),
        lambda v: v["quantiles"].update(ndvi=["a"] * 101),
        lambda v: v["quantiles"].update(ndvi=None),
    ],
)
def test_damaged_statistics_are_refused(change):
    value = measure([sample_tile(context_of(scene(24, 24)), FIELDS)]).as_dict()
    change(value)
    for wrong in (value, list(value)):
        with pytest.raises(ModelError, match="not the statistics of a scene"):
            SceneStatistics.from_dict(wrong, "features.json")


def test_a_field_that_was_not_measured_is_named():
    with pytest.raises(ModelError, match="ndvi"):
        measure([{"bright": np.zeros(3, np.float32)}]).of("ndvi")
    with pytest.raises(DataError, match="no tile"):
        measure([])
