"""What `doctor` finds: the machine, the packages, the data folder, the run folder."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from l4s_ensemble.cli.app import app


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("L4S_DATA", "L4S_RUN"):
        monkeypatch.delenv(name, raising=False)


def doctor(*words: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, words)])


def line_of(result: Result, what: str) -> str:
    return next(line for line in result.output.splitlines() if line[7:].startswith(what))


def folder_of(root: Path, images: int, masks: int) -> Path:
    for kind, n in (("image", images), ("mask", masks)):
        place = root / "TrainData" / {"image": "img"}.get(kind, kind)
        place.mkdir(parents=True)
        for i in range(1, n + 1):
            (place / f"{kind}_{i}.h5").touch()
    return root


def test_a_new_machine_is_told_what_to_do_next() -> None:
    found = doctor()
    assert found.exit_code == 0
    assert line_of(found, "run").startswith("note")
    assert "l4s-ensemble fit-all --run runs/default" in found.output
    assert "l4s-ensemble data fetch" in found.output
    assert line_of(found, "packages").startswith("well")


def test_patches_are_counted(tmp_path: Path) -> None:
    found = doctor("--data", folder_of(tmp_path / "patches", 3, 3))
    assert found.exit_code == 0
    assert "train: 3 images, 3 masks" in line_of(found, "data")


@pytest.mark.parametrize("made", [True, False])
def test_data_that_would_stop_a_fit_are_a_fault(tmp_path: Path, made: bool) -> None:
    folder = folder_of(tmp_path / "patches", 3, 2) if made else tmp_path / "none"
    found = doctor("--data", folder)
    assert found.exit_code == 1
    assert line_of(found, "data").startswith("fault")
    assert f"l4s-ensemble data {'check --data' if made else 'fetch'} {folder}" in found.output


@pytest.mark.parametrize("needs", ["no-such-package>=1", "numpy>=999"])
def test_a_package_that_is_missing_or_too_old_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, needs: str
) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _: [needs, 'optuna>=999; extra == "tune"'])
    found = doctor()
    assert found.exit_code == 1
    assert needs.partition(">")[0] in line_of(found, "packages")
    assert "pip install '.[tune]'" in found.output


def test_a_device_that_is_not_there_is_a_fault() -> None:
    found = doctor("--device", "cuda:99")
    assert found.exit_code == 1
    assert line_of(found, "device").startswith("fault")


def test_a_damaged_run_is_a_fault_and_a_fitted_one_is_not(tiny_run: Path, tmp_path: Path) -> None:
    assert line_of(doctor("--run", tiny_run), "run").startswith("well")
    (tmp_path / "broken/scenes").mkdir(parents=True)
    (tmp_path / "broken/scenes/summary.json").write_text("{}")
    found = doctor("--run", tmp_path / "broken")
    assert found.exit_code == 1
    assert line_of(found, "run").startswith("fault")
