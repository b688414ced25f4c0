from __future__ import annotations

import json

import numpy as np
import pytest
from feature_world import RGB, scene
from scipy.stats import median_abs_deviation

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import DataError, ModelError
from l4s_ensemble.features.canvas import Canvas, continued
from l4s_ensemble.features.facts import (
    TELLING,
    SceneFacts,
    measure,
    sample_tile,
    telling,
)  # fmt: skip
from l4s_ensemble.features.registry import all_fields

MARGIN = 8


def canvas_of(image: np.ndarray, sensor=L4S, facts=None) -> Canvas:
    return Canvas(continued(image, sensor, MARGIN), sensor, MARGIN, all_fields(), facts)


def test_a_sensor_has_the_facts_it_has_the_bands_for():
    assert telling(L4S) == TELLING
    assert telling(RGB) == ("bright", "ri", "gli", "ikaw")


def test_facts_of_a_tile_are_its_robust_statistics():
    canvas = canvas_of(scene(60, 50))
    for name in TELLING:
        value = canvas.value(name)
        facts = canvas.facts.field(name)
        assert facts.median == pytest.approx(np.median(value), rel=1e-5, abs=1e-6)
        assert facts.spread == pytest.approx(
            median_abs_deviation(value, axis=None, scale="normal"), rel=1e-3, abs=1e-5
        )
        np.testing.assert_allclose(
            facts.quantiles, np.quantile(value, np.linspace(0, 1, 101)), rtol=1e-4, atol=1e-6
        )
        assert facts.quantiles.dtype == np.float32
        assert canvas.facts.field(name) is facts


@pytest.mark.parametrize("value", [0, 40, 1e30, -3])
@pytest.mark.parametrize("shape", [(24, 24), (8, 8), (1, 1)])
def test_a_constant_tile_has_no_spread(value, shape):
    canvas = canvas_of(np.full((14, *shape), value, np.float32))
    for name in TELLING:
        facts = canvas.facts.field(name)
        assert np.isfinite(facts.quantiles).all() and facts.spread == 0


def test_a_sample_is_every_eighth_pixel():
    canvas = canvas_of(scene(64, 40))
    sample = sample_tile(canvas)
    assert set(sample) == set(TELLING)
    np.testing.assert_array_equal(sample["ndvi"], canvas.value("ndvi")[4::8, 4::8].ravel())


def test_facts_of_many_tiles_are_those_of_all_their_pixels():
    samples = [sample_tile(canvas_of(scene(64, 64, L4S, s))) for s in range(3)]
    facts = measure(samples)
    everything = np.concatenate([s["bsi"] for s in samples])
    assert facts.tiles == 3
    assert facts.field("bsi").median == pytest.approx(np.median(everything), abs=1e-5)
    assert set(facts.fields) == set(TELLING)


def test_known_facts_are_used_instead_of_those_of_the_tile():
    facts = measure([sample_tile(canvas_of(scene(32, 32, L4S, 5)))])
    assert canvas_of(scene(32, 32), facts=facts).facts is facts


def test_facts_survive_a_file():
    facts = measure([sample_tile(canvas_of(scene(40, 40)))])
    again = SceneFacts.from_dict(json.loads(json.dumps(facts.as_dict())))
    assert again.as_dict() == facts.as_dict()
    np.testing.assert_array_equal(again.field("ndvi").quantiles, facts.field("ndvi").quantiles)


def damaged(change) -> dict:
    value = measure([sample_tile(canvas_of(scene(24, 24)))]).as_dict()
    change(value)
    return value


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("fields"),
        lambda v: v.update(fields=[1, 2]),
        lambda v: v.update(tiles=None),
        lambda v: v["fields"]["ndvi"].pop("median"),
        lambda v: v["fields"]["ndvi"].update(spread=-1),
        lambda v: v["fields"]["ndvi"].update(median=float("inf")),
        lambda v: v["fields"]["ndvi"].update(quantiles=[0.0] * 100),
        lambda v: v["fields"]["ndvi"].update(quantiles=[1.0] + [0.0] * 100),
        lambda v: v["fields"]["ndvi"].update(quantiles=["a"] * 101),
        lambda v: v["fields"].update(ndvi=None),
    ],
)
def test_damaged_facts_are_refused(change):
    with pytest.raises(ModelError, match="not the facts of a scene"):
        SceneFacts.from_dict(damaged(change), "features.json")


@pytest.mark.parametrize("value", [None, 3, [], "facts"])
def test_what_is_no_dict_is_refused(value):
    with pytest.raises(ModelError, match="not the facts of a scene"):
        SceneFacts.from_dict(value)


def test_a_field_that_was_not_measured_is_named():
    facts = measure([sample_tile(canvas_of(scene(24, 24, RGB), RGB))])
    with pytest.raises(ModelError, match="ndvi"):
        facts.field("ndvi")


def test_samples_that_do_not_fit_are_refused():
    one = sample_tile(canvas_of(scene(24, 24)))
    with pytest.raises(DataError, match="no tile"):
        measure([])
    with pytest.raises(DataError, match="same fields"):
        measure([one, {k: v for k, v in one.items() if k != "ndvi"}])
