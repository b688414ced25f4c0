"""Edited code runs again what depends on it, and nothing else."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest

from l4s_ensemble.config import Config
from l4s_ensemble.run import execute
from l4s_ensemble.run.code import CodeHashes
from l4s_ensemble.run.execute import Executor, read_manifest
from l4s_ensemble.run.stage import Stage

FILES = {
    "__init__.py": "",
    "pixel/__init__.py": "",
    "pixel/train.py": """
        from typing import TYPE_CHECKING
        from pack.shared import PLAIN
        if TYPE_CHECKING:
            from pack.report import page
        def stage(ctx):
            from pack.config import sections
            return {"value": PLAIN}
        """,
    "unet/__init__.py": "",
    "unet/loss.py": '''
        """Losses."""
        FACTOR = 2
        """How much."""
        def loss(a):
            """Twice."""
            return FACTOR * a  # a comment
        ''',
    "unet/train.py": """
        import pack.shared
        def stage(ctx):
            from pack.unet import loss
            return {"value": loss.loss(1)}
        """,
    "stack/__init__.py": "",
    "stack/learners/__init__.py": "",
    "stack/learners/mean.py": "A = 1",
    "stack/meta.py": """
        from importlib import import_module
        def stage(ctx, kind="mean"):
            return {"value": import_module(f"pack.stack.learners.{kind}").A}
        """,
    "shared.py": "PLAIN = 1\ndef circle():\n    import pack.unet.train",
    "report/__init__.py": "",
    "report/page.py": "TEXT = 'red'",
    "config/__init__.py": "",
    "config/sections.py": "A = 1",
}
TARGETS = {"pixel": "pack.pixel.train:stage", "unet": "pack.unet.train:stage",
           "stack": "pack.stack.meta:stage"}  # fmt: skip


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package ``pack`` whose stages import each other's modules in every way."""
    root = tmp_path / "pack"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(re.sub(r"^        ", "", text, flags=re.M))
    return root


def hashes(package: Path) -> dict[str, dict[str, str]]:
    found = CodeHashes(package, package.parent / "code.json")
    return {name: found.of(target) for name, target in TARGETS.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "reruns"),
    [
        ("unet/loss.py", "FACTOR * a", "FACTOR + a", {"pixel", "unet"}),  # shared imports unet
        ("unet/loss.py", "FACTOR = 2", "FACTOR = 3", {"pixel", "unet"}),
        ("stack/learners/mean.py", "A = 1", "A = 2", {"stack"}),
        ("pixel/train.py", "PLAIN}", "PLAIN + 1}", {"pixel"}),
        ("pixel/__init__.py", "", "A = 1", {"pixel"}),
        ("unet/loss.py", "# a comment", "# another", set()),
        ("unet/loss.py", '"""Twice."""', '"""Two times."""', set()),
        ("unet/loss.py", '"""Twice."""', "", set()),
        ("unet/loss.py", '"""How much."""', '"""How much it is."""', set()),
        ("unet/loss.py", "FACTOR * a", "(\n        FACTOR\n        * a\n    )", set()),
        ("report/page.py", "red", "blue", set()),
        ("config/sections.py", "A = 1", "A = 2", set()),
        ("__init__.py", "", "A = 1", set()),
    ],
)
def test_what_an_edit_runs_again(package: Path, file: str, old: str, new: str, reruns: set[str]):
    before = hashes(package)
    assert hashes(package) == before
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new) if old else new)
    after = hashes(package)
    assert {name for name in TARGETS if after[name] != before[name]} == reruns


def test_a_damaged_memory_of_what_was_parsed_is_made_again(package: Path):
    before = hashes(package)
    (package.parent / "code.json").write_text("[1")
    assert hashes(package) == before


def test_an_edited_loss_runs_the_stage_again_and_says_so(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(execute, "CodeHashes", lambda cache: CodeHashes(package, cache))
    graph = [Stage("unet", TARGETS["unet"]), Stage("stack", TARGETS["stack"], needs=("unet",))]
    run = Executor(tmp_path / "run", Config())
    assert run.execute(graph) == {"unet": True, "stack": True}
    assert run.execute(graph) == {"unet": False, "stack": False}
    loss = package / "unet/loss.py"
    loss.write_text(loss.read_text().replace("FACTOR = 2", "FACTOR = 5"))
    with caplog.at_level(logging.INFO, "l4s_ensemble"):
        assert run.execute(graph) == {"unet": True, "stack": True}
    assert "code.pack.unet.loss" in caplog.text
    assert set(read_manifest(tmp_path / "run/unet")["ingredients"]["code"]) > {"pack.unet.loss"}


def test_the_stages_of_this_package_depend_on_their_own_code_only(tmp_path: Path):
    found = CodeHashes(cache=tmp_path / "code.json")
    modules = {
        name: {m.split(".")[1] for m in found.of(f"l4s_ensemble.{name}:stage")}
        for name in ("data.stage", "scenes.folds", "features.stage", "pixel.train", "unet.train",
                     "stack.meta")
    }  # fmt: skip
    assert "unet" in modules["unet.train"] and "features" in modules["pixel.train"]
    for name, own in modules.items():
        assert not own & {"report", "cli", "config", "predict"}, name
        assert not own & ({"pixel", "unet", "stack"} - {name.split(".")[0]}), name
    started = time.process_time()
    again = CodeHashes(cache=tmp_path / "code.json")
    assert again.of("l4s_ensemble.unet.train:stage") == found.of("l4s_ensemble.unet.train:stage")
    assert time.process_time() - started < 0.5  # 0.02 s; parsing all takes a second
