from __future__ import annotations

import json

import pytest
from feature_world import RGB, plan_of

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.bands import PATCH_PIXELS
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.errors import ConfigError, ModelError, RunError
from l4s_ensemble.features.registry import (
    VERSION,
    catalogue,
    groups,
    plan_from_dict,
    plan_from_file,
    select,
)
from l4s_ensemble.run.files import write_json


def test_every_feature_is_described():
    for name, function in catalogue().items():
        feature = function.feature
        assert feature.name == name and feature.group in groups()
        assert feature.unit and feature.formula and feature.source and feature.needs, name
        assert 0 <= feature.support_px < PATCH_PIXELS


@pytest.mark.parametrize("sensor", [L4S, RGB], ids=["l4s", "l4s-rgb"])
def test_features_are_few_and_of_every_group_that_the_bands_allow(sensor):
    plan = plan_of(sensor)
    assert 40 <= len(plan.features) <= 75 and len(set(plan.names)) == len(plan.names)
    own = [f.group for f in plan.features]
    assert list(dict.fromkeys(own)) == [g for g in groups() if sensor is L4S or g != "terrain"]
    assert own == sorted(own, key=groups().index)
    assert all(set(f.needs) <= set(sensor.band_names) for f in plan.features)
    assert set(plan.names) | {item.name for item in plan.left_out} == set(catalogue())


def test_what_is_left_out_says_why():
    config = FeaturesConfig(groups=("terrain", "indices"), exclude=("ndvi",))
    for plan, reasons in (
        (plan_of(RGB), {"ndvi": "B8", "tpi_7_m": "dem"}),
        (plan_of(L4S), {"gli_mean_9": "B8"}),
        (select(L4S, config), {"ndvi": "exclude", "ndvi_scene_rank": "groups"}),
    ):
        told = {item.name: item.reason for item in plan.left_out}
        for name, why in reasons.items():
            assert why in told[name]


@pytest.mark.parametrize(
    ("config", "hint"),
    [(FeaturesConfig(groups=("terain",)), "terrain"), (FeaturesConfig(exclude=("ndvii",)), "ndvi")],
)
def test_a_typing_mistake_is_named(config, hint):
    with pytest.raises(ConfigError, match=f"did you mean {hint}"):
        select(L4S, config)


def test_nothing_left_is_an_error():
    unknown = Sensor.model_validate({"name": "radar", "bands": [{"name": "VV"}]})
    for sensor, chosen in ((RGB, ("terrain",)), (unknown, ())):
        with pytest.raises(ConfigError, match="no feature is left"):
            select(sensor, FeaturesConfig(groups=chosen))


def test_plan_survives_a_file(tmp_path):
    plan = plan_of(RGB)
    write_json(tmp_path / "features.json", plan.as_dict())
    assert plan_from_file(tmp_path / "features.json") == plan


def test_plan_refuses_another_version_and_unknown_features(tmp_path):
    value = json.loads(json.dumps(plan_of(RGB).as_dict()))
    with pytest.raises(ModelError, match="another version"):
        plan_from_dict({**value, "version": VERSION + 1})
    value["features"][0]["name"] = "nonsense"
    with pytest.raises(ModelError, match="nonsense"):
        plan_from_dict(value)
    with pytest.raises(ModelError, match="not a plan"):
        plan_from_dict({"version": VERSION})
    with pytest.raises(RunError, match="missing"):
        plan_from_file(tmp_path / "absent.json")


def test_part_of_a_plan_keeps_the_order_asked_for():
    plan = plan_of(L4S).only(["slope_deg", "ndvi"])
    assert plan.names == ("slope_deg", "ndvi")
    assert plan.support_px == 0
    with pytest.raises(ConfigError, match=r"gli \(other features"):
        plan_of(L4S).only(["gli"])
