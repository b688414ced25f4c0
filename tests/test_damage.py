"""Damaged input of every kind: a message that helps, no traceback, nothing lost or overwritten.

Each row of `damage_rows` damages a small working place, does what a user would do, and says what
the message must name. Everything that lay there before must lie there after, byte by byte.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from damage_place import (
    CHECK,
    EDGE,
    FIT,
    SENSOR,
    Action,
    Case,
    Place,
    build,
    copy_result,
    folds,
    read_store,
    scenes,
    stack_model,
    two_masks,
    use_sensor,
)
from damage_rows import CASES

from l4s_ensemble import config
from l4s_ensemble.data.build import build_store
from l4s_ensemble.data.patches import find_patches, write_mask, write_patch
from l4s_ensemble.data.places import read_manifest
from l4s_ensemble.errors import L4SError
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place before anything is damaged."""
    from l4s_ensemble.scenes.stage import stage as make_scenes
    from l4s_ensemble.stack.classifier import Stack

    place = Place(tmp_path_factory.mktemp("sound"))
    rng = np.random.default_rng(3)
    for split, tiles in (("TrainData", 12), ("ValidData", 2)):
        for n in range(1, tiles + 1):
            counts = rng.integers(200, 3000, (EDGE, EDGE, 3)).astype(float)
            write_patch(
                place.data / split / f"img/image_{n}.h5", counts / SENSOR.stored_to_count, SENSOR
            )
            write_mask(
                place.data / split / f"mask/mask_{n}.h5", np.eye(EDGE, k=n % 5, dtype=np.uint8)
            )
    place.write("sensor.yaml", yaml.safe_dump(SENSOR.model_dump(mode="json")))
    rows = "".join(f"train,{n},1,{n % 3},{n // 3}\n" for n in range(1, 13))
    place.write("data/scenes.csv", "split,patch,scene,row,col\n" + rows)
    overrides = [f"data.root={place.data}", f"data.sensor={place.sensor}", "scenes.folds=2"]
    settings = config.load("default", [*overrides, "scenes.block_tiles=1"])
    write_json(place.run / "config.json", settings.model_dump(mode="json"))
    for name in ("data/train", "scenes", "pixel", "unet", "stack"):
        manifest = {"fingerprint": name, "digest": name, "ingredients": {}}
        write_json(place.run / name / "manifest.json", manifest)
    files = find_patches(place.data, "train", SENSOR)
    places = read_manifest(place.data, "train")
    build_store(files, SENSOR, place.store, root=place.data, places=places)
    scenes = place.run / "scenes"
    context = StageContext(place.run, scenes, settings, {}, ("data/train",))
    write_json(scenes / "summary.json", make_scenes(context))
    y = np.eye(EDGE)[np.newaxis]
    Stack(learner="plain").fit(y, y, y, [0]).save(place.run / "stack")
    return place.root


@pytest.fixture
def place(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy of it to damage, which is also the working folder."""
    root = tmp_path / "place"
    shutil.copytree(sound, root)
    saved = root / "run/config.json"
    saved.write_text(saved.read_text().replace(str(sound), str(root)))
    monkeypatch.chdir(root)
    for name in ("L4S_DATA", "L4S_RUN"):
        monkeypatch.delenv(name, raising=False)
    # The log belongs to the test runner; a handler on its stream would outlive it.
    monkeypatch.setattr("l4s_ensemble.run.log.start_logging", lambda *_: None)
    return Place(root)


def content(root: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder, byte by byte."""
    return {
        str(p.relative_to(root)): str(p.readlink()) if p.is_symlink() else p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


def attempt(act: Action, place: Place, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and all that was said. Anything but our own errors fails the test."""
    code, told = 0, ""
    try:
        act(place)
    except SystemExit as left:
        code = int(left.code or 0)
    except L4SError as error:
        code, told = error.exit_code, str(error)
    out = capsys.readouterr()
    return code, told + out.out + out.err


@pytest.mark.parametrize(
    ("group", "case"), CASES, ids=[f"{g}-{c.name.replace(' ', '_')}" for g, c in CASES]
)
def test_damage_is_named_and_nothing_is_lost(
    place: Place, capsys: pytest.CaptureFixture[str], group: str, case: Case
) -> None:
    case.damage(place)
    before = content(place.root)
    code, told = attempt(case.action, place, capsys)
    told = told.encode().decode("unicode_escape") if told.startswith("{") else told
    assert code == case.code, told
    for words in case.says:
        assert words in told, told
    assert "Traceback" not in told
    after = content(place.root)
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if "partial" in name]


def test_a_place_without_damage_is_sound(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """What the rows do works where nothing is damaged: they fail for the damage alone."""
    for act in (CHECK, build, scenes(), read_store, folds, stack_model, use_sensor):
        code, told = attempt(act, place, capsys)
        assert code == 0, told
    two_masks(place, None)
    assert attempt(copy_result, place, capsys)[0] == 0


def test_damage_that_only_a_stage_finds_comes_back_from_its_process(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.image(4).write_bytes(b"no")
    place.mask(7).write_bytes(b"")
    before = content(place.root)
    code, told = attempt(FIT, place, capsys)
    assert code == 1 and "Traceback" not in told
    assert all(word in told for word in ("2 of 12", "image_4.h5", "mask_7.h5", "data check"))
    after = content(place.root)
    assert {name: after.get(name) for name in before} == before
    assert not (place.root / "new/data").exists()


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "does not allow this")]
)
def test_what_the_system_refuses_is_said(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    says: str,
) -> None:
    def refuse(path: Path, _: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("l4s_ensemble.run.settings.write_json", refuse)
    code, told = attempt(FIT, place, capsys)
    assert code == 1 and says in told and "config.json" in told
