"""Settings: presets from any folder, overrides, and messages that help."""

from __future__ import annotations

import pytest

from l4s_ensemble import config
from l4s_ensemble.data.sensor import L4S, load_sensor
from l4s_ensemble.errors import ConfigError


def test_every_preset_loads_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"default", "demo", "l4s-rgb"} <= set(config.presets())
    for name in config.presets():
        loaded = config.load(name)
        assert loaded.name == name
        assert load_sensor(loaded.data.sensor).band_names


def test_overrides_reach_nested_settings_and_are_typed():
    loaded = config.load("demo", ["unet.epochs=2", "data.holdout={scene: 1, columns: [2, 3]}"])
    assert loaded.unet.epochs == 2
    assert loaded.data.holdout is not None and loaded.data.holdout.columns == (2, 3)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("unet.epoch=3", "did you mean epochs"),
        ("unet.epochs=many", "unet.epochs"),
        ("unet.epochs=0", "greater than or equal to 1"),
        ("unet.epochs", "section.key=value"),
        ("nothing.at.all=1", "no such setting"),
        ("unet.epochs=[", "not YAML"),
        ("name=a/b", "file name"),
    ],
)
def test_a_bad_override_is_explained(override, says):
    with pytest.raises(ConfigError, match=says) as caught:
        config.load("default", [override])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [("a: [", "not YAML"), ("- 1", "mapping of sections"), ("unet: 3", "unet"), ("\xff", "YAML")],
)
def test_a_bad_file_is_explained(tmp_path, content, says):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=says):
        config.load(str(path))


def test_a_missing_preset_lists_those_that_exist():
    with pytest.raises(ConfigError, match="l4s-rgb"):
        config.load("l4srgb")
    with pytest.raises(ConfigError, match="no such config file"):
        config.load("nowhere.yaml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        config.Config().unet.epochs = 3  # type: ignore[misc]


def test_the_sensor_of_the_release_is_the_band_table():
    assert L4S.band_names[:4] == ("B1", "B2", "B3", "B4")
    assert L4S.band_names[-2:] == ("slope", "dem")
    assert "B8A" not in L4S.band_names
    assert len(L4S.spectral) == 12


def test_a_sensor_file_describes_another_camera(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nbands: [{name: B4, stored_to_count: 10}]\n")
    assert load_sensor(path).stored_to_count.tolist() == [10]
    path.write_text("name: mine\nbands: [{name: B4}, {name: B4}]\n")
    with pytest.raises(ConfigError, match="unique"):
        load_sensor(path)
    with pytest.raises(ConfigError, match="l4s-rgb"):
        load_sensor("sentinel-9")
