"""Edited code runs again what depends on it, and nothing else."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from l4s_ensemble.config import Config
from l4s_ensemble.run import execute
from l4s_ensemble.run.code import code_of
from l4s_ensemble.run.execute import Executor, read_manifest
from l4s_ensemble.run.stage import Stage
from l4s_ensemble.stages import fit_stages

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
        def stage(ctx):
            import pack.stack.learners.mean as mean
            return {"value": mean.A}
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
    return {name: code_of(target, package) for name, target in TARGETS.items()}


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


def test_an_edited_loss_runs_the_stage_again_and_says_so(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(execute, "code_of", lambda target: code_of(target, package))
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


def test_a_stage_depends_on_no_other_model_and_no_report(tiny_root: Path):
    models = {"pixel", "unet", "stack"}
    for stage in fit_stages(Config(), tiny_root):
        packages = {module.split(".")[1] for module in code_of(stage.target)}
        own = stage.target.split(".")[1]
        assert own in packages
        # The stack scores the simple rules beside the models; they are a module of `pixel`.
        known = {own, "pixel"} if own == "stack" else {own}
        assert not packages & ({"report", "cli", "config", "predict", *models} - known), stage.name
