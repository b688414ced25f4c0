"""Settings: presets from any folder, overrides, and messages that help."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from l4s_ensemble import config
from l4s_ensemble.config.removed import REMOVED
from l4s_ensemble.data.sensor import load_sensor
from l4s_ensemble.errors import ConfigError, RunError
from l4s_ensemble.pipeline import load_run, open_run
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.settings import save_settings


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


def test_a_sensor_file_describes_another_camera(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nbands: [{name: B4, stored_to_count: 10}]\n")
    assert load_sensor(path).stored_to_count.tolist() == [10]


def test_a_removed_setting_says_what_replaced_it_wherever_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(REMOVED, "unet.old", "gone: it gained nothing")
    monkeypatch.setitem(REMOVED, "stack.section", "replaced by stack.l2")
    path = tmp_path / "old.yaml"
    path.write_text("unet: {old: 1}\nstack: {section: {key: 2}}\nname: mine\n")
    both = r"unet\.old \(gone: it gained nothing\); stack\.section \(replaced by stack\.l2\)"
    with pytest.raises(ConfigError, match=both):
        config.load(str(path))
    with pytest.raises(ConfigError, match=both):
        config.load("default", ["unet.old=1", "stack.section.key=2"])
    save_settings(tmp_path, config.Config())
    values = read_json(tmp_path / "config.json")
    values["unet"]["old"] = 1
    write_json(tmp_path / "config.json", values)
    for opened in (load_run, open_run):
        with pytest.raises(ConfigError, match=r"config\.json\n.*unet\.old \(gone"):
            opened(tmp_path)


@pytest.mark.parametrize("name", REMOVED)
def test_no_setting_is_both_there_and_removed(name):
    assert REMOVED[name]
    value = config.Config().model_dump()
    for part in name.split("."):
        value = value.get(part, {})
    assert value == {}


def test_a_run_of_version_1_is_refused_with_the_command_that_fits_it_again(tmp_path):
    run = tmp_path / "my run"
    values = config.load("demo").model_dump(mode="json")
    del values["format"]
    values["data"]["root"] = "/a b/c"
    values["unet"]["what_is_gone"] = "log"
    write_json(run / "config.json", values)
    before = (run / "config.json").read_bytes()
    for opened in (load_run, open_run, lambda f: open_run(f, source="default")):
        with pytest.raises(RunError, match="older version") as caught:
            opened(run)
    words = shlex.split((caught.value.fix or "").splitlines()[-1])
    assert words[:2] == ["l4s-ensemble", "fit-all"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given["--config"] == "demo" and given["--data"] == "/a b/c"
    assert Path(given["--run"]).parent == tmp_path and not Path(given["--run"]).exists()
    assert len(given) == 3
    assert (run / "config.json").read_bytes() == before


def test_a_run_of_a_newer_version_is_refused(tmp_path):
    write_json(tmp_path / "config.json", {"format": 99})
    with pytest.raises(RunError, match="newer version"):
        load_run(tmp_path)
