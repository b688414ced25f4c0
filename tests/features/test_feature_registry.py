from __future__ import annotations

import json

import pytest
from feature_world import RGB, plan_of

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.errors import ConfigError, ModelError, RunError
from l4s_ensemble.features.registry import (
    GROUPS,
    SUPPORT_LIMIT_PX,
    VERSION,
    catalogue,
    plan_from_dict,
    plan_from_file,
    select,
)  # fmt: skip
from l4s_ensemble.run.files import write_json


def test_every_feature_is_described():
    for name, function in catalogue().items():
        feature = function.feature
        assert feature.name == name
        assert feature.group in GROUPS
        assert feature.unit and feature.formula and feature.source, name
        assert feature.needs, name
        assert 0 <= feature.support_px <= SUPPORT_LIMIT_PX


def test_names_are_unique_and_groups_stand_together():
    for sensor in (L4S, RGB):
        plan = plan_of(sensor)
        assert len(set(plan.names)) == len(plan.names)
        places = [GROUPS.index(f.group) for f in plan.features]
        assert places == sorted(places)


@pytest.mark.parametrize("sensor", [L4S, RGB], ids=["l4s", "l4s-rgb"])
def test_features_are_few_and_of_every_group_that_the_bands_allow(sensor):
    plan = plan_of(sensor)
    without = {"terrain"} if sensor is RGB else set()
    assert {f.group for f in plan.features} == set(GROUPS) - without
    assert 40 <= len(plan.features) <= 60
    assert plan.support_px == max(f.support_px for f in plan.features)


def test_true_colour_leaves_out_what_it_cannot_have_and_says_why():
    plan = plan_of(RGB)
    assert all(set(f.needs) <= {"B2", "B3", "B4"} for f in plan.features)
    reasons = {item.name: item.reason for item in plan.left_out}
    assert "B8" in reasons["ndvi"]
    assert "dem" in reasons["tpi_7_m"]
    assert set(plan.names) | set(reasons) == set(catalogue())


def test_full_sensor_drops_what_is_said_better():
    reasons = {item.name: item.reason for item in plan_of(L4S).left_out}
    assert "B8" in reasons["gli_mean_9"]


def test_groups_and_single_features_can_be_switched_off():
    plan = select(L4S, FeaturesConfig(groups=("terrain", "indices"), exclude=("ndvi",)))
    assert {f.group for f in plan.features} == {"terrain", "indices"}
    reasons = {item.name: item.reason for item in plan.left_out}
    assert "exclude" in reasons["ndvi"]
    assert "groups" in reasons["ndvi_scene_rank"]


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (FeaturesConfig(groups=("terain",)), "terrain"),
        (FeaturesConfig(exclude=("ndvii",)), "ndvi"),
    ],
)
def test_a_typing_mistake_is_named(config, hint):
    with pytest.raises(ConfigError, match=f"did you mean {hint}"):
        select(L4S, config)


def test_nothing_left_is_an_error():
    with pytest.raises(ConfigError, match="no feature is left"):
        select(RGB, FeaturesConfig(groups=("terrain",)))


def test_a_sensor_without_known_bands_is_an_error():
    sensor = Sensor.model_validate({"name": "radar", "bands": [{"name": "VV"}]})
    with pytest.raises(ConfigError, match="no feature is left"):
        select(sensor, FeaturesConfig())


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
