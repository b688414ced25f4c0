"""What is declared of features: that it holds in data, and that no name decides anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from feature_world import RGB, compute, context_of, moving_plan, plan_of, scene

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features import registry
from l4s_ensemble.features.registry import all_fields, catalogue
from l4s_ensemble.features.tile_context import FeatureFunction
from l4s_ensemble.pixel.landslide_words import feature_word, weighed_words

SENSORS = [pytest.param(L4S, id="l4s"), pytest.param(RGB, id="l4s-rgb")]


@pytest.mark.parametrize("sensor", SENSORS)
def test_renaming_all_features_changes_nothing_but_names(sensor, monkeypatch):
    image = scene(40, 40, sensor)
    plan = plan_of(sensor)
    made = compute(image, sensor, plan)
    added, values = np.linspace(-1, 1, len(plan.names)), np.zeros(len(plan.names))
    words = [w["word"] for w in weighed_words(added, plan.names, values, values)]

    new = {name: f"f{i}" for i, name in enumerate(catalogue())}
    renamed = {
        new[n]: FeatureFunction(replace(f.feature, name=new[n]), f.image)
        for n, f in catalogue().items()
    }
    for module in ("features.registry", "pixel.landslide_words"):
        monkeypatch.setattr(f"l4s_ensemble.{module}.catalogue", lambda: renamed)
    again = plan_of(sensor)
    assert again.names == tuple(new[n] for n in plan.names)
    for one, other in zip(plan.features, again.features, strict=True):
        assert replace(other, name=one.name) == one
    np.testing.assert_array_equal(compute(image, sensor, again), made)
    assert [w["word"] for w in weighed_words(added, again.names, values, values)] == words
    assert registry.plan_from_dict(again.as_dict()) == again


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_landslide_moves_features_as_declared(sensor):
    """The same tile with a square of bare ground: no feature moves against its direction.

    Segments of a rough square compare its parts with each other; they have a test of their own.
    """
    image = scene(64, 64, sensor, seed=3)
    bare = image.copy()
    gains = {"B4": 3.0, "B3": 1.6, "B2": 1.5, "B8": 0.8, "B11": 1.9, "B12": 2.6, "B5": 1.8}
    for i, band in enumerate(sensor.band_names):
        bare[i, 24:40, 24:40] *= gains.get(band, 1.0)
    plan = moving_plan(sensor)
    # What compares a pixel with the next 8 does not feel a square of 16 px from its middle.
    wide = [f.name for f in plan.features if f.expected and not (f.relational and f.support_px < 9)]
    plan = plan.only(wide)
    before, after = (compute(im, sensor, plan)[:, 30:34, 30:34] for im in (image, bare))
    wrong, moved = {}, 0
    for feature, b, a in zip(plan.features, before, after, strict=True):
        step = float(np.median(a - b)) * feature.expected
        least = 1e-4 + 0.02 * float(np.abs(b).max())
        moved += step > least
        if step < -least and "dog_1" not in feature.name and "dog_2" not in feature.name:
            wrong[feature.name] = step
    assert not wrong
    assert moved > 0.6 * len(plan.features)


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_level_of_a_field_cancels_where_it_is_declared(sensor):
    """Fields with a constant added, or all multiplied by one: either must change nothing."""
    image = scene(96, 96, sensor, seed=4)
    plain, indices = all_fields(), {f.name for f in all_fields().values() if f.compared}
    names = [f.name for f in plan_of(sensor).features if f.group in ("context", "relative")]
    names = [n for n in names if not n.startswith("slope_")]  # no light in it: nothing to cancel

    def pictures(change) -> list[np.ndarray]:
        fields = {
            n: replace(f, image=lambda c, f=f: change(f.image(c))) if n in indices else f
            for n, f in plain.items()
        }
        context = context_of(image, sensor, 36, fields=fields)
        return [catalogue()[n].image(context) for n in names]

    before = pictures(lambda v: v)
    added = pictures(lambda v: v + np.float32(0.25))
    scaled = pictures(lambda v: v * np.float32(1.5))
    wrong = []
    for name, b, *others in zip(names, before, added, scaled, strict=True):
        size = float(np.abs(b).max())
        same = any(np.allclose(b, o, rtol=2e-3, atol=2e-3 * size) for o in others)
        if same != catalogue()[name].feature.relational:
            wrong.append(name)
    assert not wrong


def test_words_say_high_and_low_and_how_far_around():
    assert feature_word("ndvi", 0.1, 0.6) == "vegetation missing"
    assert feature_word("ndvi", 0.7, 0.6) == "vegetation"
    assert feature_word("ndvi_minus_mean_33", -0.1, 0.0) == "barer than 160 m around"
    assert feature_word("ri_scene_rank", 0.9, 0.5) == "barer than most of the scene"
    assert feature_word("my_own", 1.0, 0.0) == "my_own"
    for name, function in catalogue().items():
        words = function.feature.words
        assert all(words) and words.high != words.low, name
